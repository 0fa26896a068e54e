import keras
import numpy as np
import pytest

import keras_bt


def reference(images, encoder):
    """The features of conv4 with the stem "small", in NumPy float64."""
    x = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for conv, bn in [("conv1", "bn1"), *((f"stage{i}_conv", f"stage{i}_bn") for i in (1, 2, 3))]:
        kernel = encoder.get_layer(conv).kernel.numpy().astype(np.float64)
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        height, width = x.shape[1:3]
        shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = np.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
        if conv != "conv1":
            odd = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
            x = np.pad(x, odd, constant_values=-np.inf)
            x = np.maximum.reduce([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        gamma, beta, mean, variance = encoder.get_layer(bn).get_weights()
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0.0)
    return x.mean((1, 2))


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (1, 3)])
def test_features_equal_a_reference_in_float64(rng, shape):
    encoder = keras_bt.conv4((None, None, 3), width=4)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2.0, 4 * 2**k) for k in [layer_stage(layer)] * 4])
    images = rng.uniform(size=(3, *shape, 3))
    expected = reference(images, encoder)
    np.testing.assert_allclose(encoder(images.astype("float32")), expected, rtol=1e-4, atol=1e-5)


def layer_stage(layer):
    return int(layer.name.removeprefix("stage")[0]) if layer.name.startswith("stage") else 0


@pytest.mark.parametrize(("stem", "side"), [("small", 8), ("imagenet", 2)])
def test_stem_determines_size_of_last_map(stem, side):
    encoder = keras_bt.conv4((64, 64, 3), width=4, stem=stem)
    assert encoder.get_layer("avgpool").input.shape[1:] == (side, side, 32)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"stem": "tall"}, "stem must be 'imagenet' or 'small', got 'tall'"),
        ({"normalization": ((0.5,), (0.5,))}, "1 means and 1 standard deviations"),
    ],
)
def test_wrong_arguments(argument, message):
    with pytest.raises(ValueError, match=message):
        keras_bt.conv4((8, 8, 3), **argument)


def test_a_recipe_trains_it():
    recipe = keras_bt.Recipe.for_images(count=100, image_size=8)
    encoder = recipe.override(encoder="conv4", width=4, stem="small").build_encoder()
    assert (encoder.name, encoder.output_shape) == ("conv4", (None, 32))

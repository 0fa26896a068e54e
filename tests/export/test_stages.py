import keras
import numpy as np
import pytest

import keras_bt
from keras_bt.export.stages import stages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "stem", "expected"),
    [
        ((64, 64, 3), "imagenet", {2: 32, 4: 16, 8: 8, 16: 4, 32: 2}),
        ((None, None, 3), "imagenet", {2: None, 4: None, 8: None, 16: None, 32: None}),
        ((28, 28, 3), "small", {1: 28, 2: 14, 4: 7, 8: 4}),
    ],
)
def test_finds_one_map_per_resolution(shape, stem, expected):
    encoder = keras_bt.resnet18(shape, width=2, stem=stem)
    maps = stages(encoder)
    assert {name: map_.shape[1] for name, map_ in maps.items()} == {
        f"stride_{stride}": side for stride, side in expected.items()
    }


@pytest.mark.slow
def test_finds_the_last_map_of_each_resolution(rng):
    encoder = keras_bt.resnet18((32, 32, 3), width=2, stem="small")
    maps = keras.Model(encoder.input, stages(encoder))
    images = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    outputs = maps(images)
    for stride, name in ((1, "layer1_1_relu"), (2, "layer2_1_relu"), (8, "layer4_1_relu")):
        layer = keras.Model(encoder.input, encoder.get_layer(name).output)
        np.testing.assert_array_equal(outputs[f"stride_{stride}"], layer(images))
    np.testing.assert_allclose(
        np.mean(outputs["stride_8"], (1, 2)), encoder(images), rtol=1e-5, atol=1e-6
    )


def test_finds_no_maps_without_a_graph_of_layers():
    class Encoder(keras.Model):
        def call(self, images):
            return keras.ops.mean(images, (1, 2))

    assert stages(Encoder()) == {}
    assert stages(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])) == {}

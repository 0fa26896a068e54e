import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_bt


@pytest.mark.slow
def test_blocks_start_as_the_identity():
    encoder = keras_bt.resnet50((32, 32, 3), width=2)
    last = [layer for layer in encoder.layers if layer.name.endswith("_bn3")]
    assert len(last) == 16
    assert all(not layer.gamma.numpy().any() for layer in last)
    norms = [x for x in encoder.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert sum(not layer.gamma.numpy().any() for layer in norms) == 16
    assert all((layer.momentum, layer.epsilon) == (0.9, 1e-5) for layer in norms)


@pytest.mark.slow
def test_convolutions_start_as_in_torchvision():
    kernel = keras_bt.resnet18((32, 32, 3)).get_layer("layer4_1_conv2").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)
    kernel = keras_bt.projector(400, (900, 2)).get_layer("dense1").kernel.numpy()
    assert np.abs(kernel).max() == pytest.approx(1 / np.sqrt(400), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "side"), [("imagenet", 1), ("small", 4)])
def test_stem_determines_size_of_last_map(stem, side):
    encoder = keras_bt.resnet18((32, 32, 3), width=4, stem=stem)
    assert encoder.get_layer("avgpool").input.shape[1:3] == (side, side)
    assert encoder.output_shape == (None, 32)


@pytest.mark.slow
def test_normalization_is_inside_the_encoder(rng):
    images = rng.uniform(size=(2, 16, 16, 3)).astype("float32")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    inside = keras_bt.resnet18((16, 16, 3), 4, "small", normalization=(mean, std))
    outside = keras_bt.resnet18((16, 16, 3), 4, "small", normalization=None)
    outside.set_weights(inside.get_weights())
    normalized = (images - np.float32(mean)) / np.float32(std)
    np.testing.assert_allclose(inside(images), outside(normalized), rtol=1e-4, atol=1e-5)


GRADIENT_OF_SHORTCUT = """
import keras_bt, keras, numpy as np, tensorflow as tf

encoder = keras_bt.resnet18((8, 8, 3), width=2, stem="small")
shortcut = encoder.get_layer("layer2_0_downsample_0")
block_input = encoder.get_layer("layer1_1_relu").output
model = keras.Model(encoder.input, [block_input, shortcut.output])
random = np.random.default_rng(0)
upstream = random.normal(size=(32, 4, 4, 4)).astype("float32")
with tf.GradientTape() as tape:
    features, output = model(random.uniform(size=(32, 8, 8, 3)).astype("float32"))
    loss = tf.reduce_sum(output * upstream)
gradient = tape.gradient(loss, shortcut.kernel)[0, 0]
expected = np.einsum("nhwi,nhwo->io", features.numpy()[:, ::2, ::2], upstream)
np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
"""


@pytest.mark.slow
def test_gradient_of_narrow_shortcuts_is_right_without_avx512():
    # oneDNN reads the variable at its first use.
    subprocess.run(
        [sys.executable, "-c", GRADIENT_OF_SHORTCUT],
        check=True,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )


def test_projector_has_layers_of_the_paper():
    head = keras_bt.projector(16, (32, 24, 8))
    kinds = [type(layer).__name__ for layer in head.layers[1:]]
    assert kinds == ["Dense", "SyncBatchNormalization", "ReLU"] * 2 + ["Dense"]
    assert not any(layer.use_bias for layer in head.layers if isinstance(layer, keras.layers.Dense))
    assert head.output_shape == (None, 8)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keras_bt.resnet18(stem="tiny"), "stem must be 'imagenet' or 'small', got 'tiny'"),
        (lambda: keras_bt.resnet18(width=0), "width must be at least 1, got 0"),
        (
            lambda: keras_bt.resnet18((8, 8, 1)),
            "3 means and 3 standard deviations, but images have 1 channel",
        ),
        (lambda: keras_bt.projector(8, ()), "dims must hold one width of at least 1"),
        (lambda: keras_bt.projector(8, (8, 0)), r"dims must hold one width.*\(8, 0\)"),
    ],
)
def test_rejects_wrong_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()

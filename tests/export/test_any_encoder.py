"""Encoders from other packages: pretrained, synchronized, exported and loaded again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt

SIDE = 32


def pooled(backbone, sequential=False):
    """Wraps a backbone: pixels in [0, 1] to its range before it, pooling after it."""
    layers = keras.layers.Rescaling(2.0, -1.0), backbone, keras.layers.GlobalAveragePooling2D()
    if sequential:
        return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    x = inputs = keras.Input((SIDE, SIDE, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def keras_applications_encoder():
    shape = (SIDE, SIDE, 3)
    return pooled(
        keras.applications.MobileNetV2(shape, alpha=0.35, include_top=False, weights=None)
    )


def keras_hub_encoder():
    hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    shape = (SIDE, SIDE, 3)
    return pooled(hub.models.DenseNetBackbone([1, 2], image_shape=shape, growth_rate=4))


def keras_cv_encoder():
    import keras_cv

    backbone = keras_cv.models.DenseNetBackbone(
        stackwise_num_repeats=[1, 2],
        include_rescaling=False,
        input_shape=(SIDE, SIDE, 3),
        growth_rate=4,
    )
    return pooled(backbone, sequential=True)


@keras.saving.register_keras_serializable("tests")
class Encoder(keras.Model):
    """A subclassed model with its layers in attributes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(6, 3, strides=2)
        self.batch_norm = keras.layers.BatchNormalization()
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, images, training=False):
        x = self.batch_norm(self.convolution(images), training=training)
        return self.pool(keras.ops.relu(x))


def subclassed_encoder():
    encoder = Encoder()
    encoder(np.zeros((1, SIDE, SIDE, 3), "float32"))
    return encoder


# Keras warns of containers inside keras-hub's backbones; the weights are compared below.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize(
    "build", [keras_applications_encoder, keras_hub_encoder, keras_cv_encoder, subclassed_encoder]
)
def test_pretrains_and_exports_encoders_of_other_packages(build, tmp_path, rng):
    encoder = build()
    features = encoder(np.zeros((1, SIDE, SIDE, 3), "float32")).shape[-1]
    model = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(features, (16, 8)), keras_bt.small_image_views(SIDE, seed=0)
    )
    keras_bt.sync_batch_norm(model)
    norms = [
        layer
        for layer in encoder._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms and all(isinstance(x, keras_bt.SyncBatchNormalization) for x in norms)
    before = [weight.numpy().copy() for weight in encoder.trainable_weights]
    model.compile(keras_bt.LARS(0.1))
    images = rng.integers(0, 256, (16, SIDE, SIDE, 3)).astype("uint8")
    history = model.fit(images, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    changed = [
        (weight.numpy() != old).any()
        for weight, old in zip(encoder.trainable_weights, before, strict=True)
    ]
    assert np.mean(changed) > 0.9
    floats = images[:3] / np.float32(255)
    expected = encoder(floats, training=False)
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    scale = float(tf.reduce_max(tf.abs(expected)))
    for loaded in (tf.saved_model.load(path), keras_bt.load_encoder(path)):
        np.testing.assert_allclose(loaded(floats), expected, rtol=0, atol=1e-5 * scale)
    layer = keras_bt.load_encoder(path, trainable=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(floats, training=True) ** 2)
    assert all(g is not None for g in tape.gradient(loss, layer.trainable_variables))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(reloaded(floats), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
def test_keras_hub_backbone_still_saves_as_preset(tmp_path, rng):
    hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    encoder = keras_hub_encoder()
    (backbone,) = (x for x in encoder.layers if isinstance(x, hub.models.Backbone))
    backbone.save_to_preset(str(tmp_path / "preset"))
    reloaded = hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    images = rng.uniform(size=(2, SIDE, SIDE, 3)).astype("float32")
    np.testing.assert_allclose(reloaded(images), backbone(images), atol=1e-6)

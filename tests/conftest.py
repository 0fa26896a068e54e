"""Fixtures of all tests.

TensorFlow is imported where it is used: pytest loads this file also in the process that only hands
out tests.
"""

import functools
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

GOLDEN = Path(__file__).parent / "golden"

# Shells start jobs in the background with SIGINT ignored; some tests raise it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time; tracing and fitting may take longer than a deadline.
settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def golden_path():
    return GOLDEN


@pytest.fixture(scope="session")
def golden():
    return lambda name: np.load(GOLDEN / name)


@pytest.fixture
def images(rng):
    """Sixteen noisy uint8 images of 8x8 pixels, each with a mean of its own."""
    means = rng.uniform(60, 190, (16, 1, 1, 3))
    return np.clip(means + rng.normal(0, 40, (16, 8, 8, 3)), 0, 255).astype("uint8")


@functools.cache
def noisy_view_class():
    """A view that is traced in a tenth of the time of published ones, and draws numbers too."""
    import keras
    import tensorflow as tf

    from keras_bt.functional.image import as_unit_range

    @keras.saving.register_keras_serializable("tests")
    class NoisyView(keras.layers.Layer):
        def __init__(self, gain, seed, **kwargs):
            super().__init__(**kwargs)
            self.gain, self.seed = gain, seed
            self.calls = self.add_weight((), "zeros", "int32", trainable=False, name="calls")

        def call(self, images):
            self.calls.assign_add(1)
            seed = tf.stack([self.seed, tf.convert_to_tensor(self.calls)])
            # Integers, because floating-point draws differ under XLA.
            noise = tf.random.stateless_uniform(
                tf.shape(images), seed, -40, 40, tf.int32, alg="philox"
            )
            noisy = self.gain * as_unit_range(images) + tf.cast(noise, tf.float32) / 255.0
            return tf.clip_by_value(noisy, 0.0, 1.0)

        def get_config(self):
            return super().get_config() | {"gain": self.gain, "seed": self.seed}

    return NoisyView


@pytest.fixture
def tiny_model():
    """A `BarlowTwins` of a few hundred weights for images of 8x8 pixels, not compiled.

    Views "published" are those of `small_image_views`.
    """

    import keras

    import keras_bt

    def build(views="noisy", micro_batches=1):
        encoder = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, strides=2, activation="gelu"),
                keras.layers.BatchNormalization(),
                keras.layers.GlobalAveragePooling2D(),
            ],
            name="encoder",
        )
        if views == "noisy":
            views = noisy_view_class()(0.9, seed=1), noisy_view_class()(0.7, seed=2)
        if views == "published":
            views = keras_bt.small_image_views(8, seed=0)
        return keras_bt.BarlowTwins(encoder, keras_bt.projector(4, (8, 6)), views, micro_batches)

    return build

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import settings

import keras_bt

GOLDEN = Path(__file__).parent / "golden"

# The same examples every time; tracing and fitting may take longer than a deadline.
settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def seeded():
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


@pytest.fixture
def tiny_model():
    """A `BarlowTwins` of a few hundred weights for images of 8x8 pixels, not compiled."""

    def build(views="default", micro_batches=1):
        encoder = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, strides=2, activation="gelu"),
                keras.layers.BatchNormalization(),
                keras.layers.GlobalAveragePooling2D(),
            ],
            name="encoder",
        )
        if views == "default":
            views = keras_bt.small_image_views(8, seed=0)
        return keras_bt.BarlowTwins(encoder, keras_bt.projector(4, (8, 6)), views, micro_batches)

    return build

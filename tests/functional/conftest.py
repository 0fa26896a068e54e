"""Golden images of torchvision and Pillow, and their comparison with planar batches."""

import numpy as np
import pytest

from keras_bt.functional.image import as_unit_range

LEVEL = 1 / 255


@pytest.fixture(scope="session")
def augment(golden):
    return golden("augment.npz")


@pytest.fixture(scope="session")
def planar():
    def to_planar(image):
        """uint8 [height, width, 3] to a float batch [1, 3, height, width]."""
        return as_unit_range(image.transpose(2, 0, 1)[None])

    return to_planar


@pytest.fixture(scope="session")
def assert_close():
    def assert_close(images, expected, mean=1.0, largest=None):
        """Compares a batch of one image with a uint8 image; tolerances are in levels of 255."""
        difference = np.abs(images.numpy()[0].transpose(1, 2, 0) - expected / 255)
        assert difference.mean() < mean * LEVEL
        if largest is not None:
            assert difference.max() < largest * LEVEL

    return assert_close

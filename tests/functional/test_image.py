"""The pixel convention: uint8 in 0...255, or floating point in [0, 1]."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bt.functional.image import as_unit_range


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_accepts_floats_in_range(dtype):
    images = as_unit_range(tf.constant([0.0, 0.5, 1.0], dtype))
    assert images.dtype == tf.float32
    np.testing.assert_array_equal(images, [0, 0.5, 1])


@pytest.mark.slow
def test_rejects_pixels_out_of_range():
    wrong = tf.constant([-2.1, 0.0, 2.6])
    with pytest.raises(ValueError, match=r"in \[0, 1\].*got values in \[-2.1, 2.6\]"):
        as_unit_range(wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be RGB in \[0, 1\]"):
        tf.function(as_unit_range)(255.0 * tf.ones([3]))
    with pytest.raises(TypeError, match="uint8.*got dtype int32"):
        as_unit_range(tf.constant([3]))
    assert as_unit_range(tf.zeros([0, 8, 8, 3])).shape == (0, 8, 8, 3)

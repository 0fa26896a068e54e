"""Framings against Pillow, and what stays unchanged."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt.functional.framing import FRAMINGS, PADDING, fit_square, frame, letterbox

WIDE, TALL = (40, 64), (64, 40)


def photo(rng, height, width):
    coarse = rng.integers(0, 256, (8, 8, 3)).astype("uint8")
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def by_pillow(image, framing, size):
    """The same framing by Pillow, and where it is padded."""
    height, width = image.shape[:2]
    picture, padded = Image.fromarray(image), np.zeros((size, size), bool)
    if framing == "stretch":
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)), padded
    if framing == "pad":
        rows, columns = (round(size * side / max(height, width)) for side in (height, width))
        top, left = (size - rows) // 2, (size - columns) // 2
        out = np.full((size, size, 3), PADDING, "uint8")
        resized = picture.resize((columns, rows), Image.Resampling.BICUBIC)
        out[top : top + rows, left : left + columns] = resized
        padded[:] = True
        padded[top : top + rows, left : left + columns] = False
        return out, padded
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)), padded


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("shape", [WIDE, TALL, (33, 33)])
def test_frames_are_those_of_pillow(rng, framing, shape):
    image = photo(rng, *shape)
    expected, padded = by_pillow(image, framing, 24)
    framed = frame(tf.constant(image), 24, framing)
    assert framed.shape == (24, 24, 3) and framed.dtype == tf.uint8
    assert np.abs(framed.numpy().astype(int) - expected).max() <= 2
    np.testing.assert_array_equal(framed.numpy()[padded], PADDING)
    assert padded.any() == (framing == "pad" and shape != (33, 33))
    floats = frame(tf.constant(image / 255, tf.float32), 24, framing)
    np.testing.assert_allclose(floats, framed / 255, atol=0.51 / 255)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_images_of_the_size_stay_and_shapes_may_be_unknown(rng, framing):
    any_shape = tf.function(
        lambda image: frame(image, 12, framing), [tf.TensorSpec([None, None, 3], tf.uint8)]
    )
    for shape in ((12, 12), WIDE, (1, 40), (40, 1)):
        image = tf.constant(photo(rng, *shape))
        framed = any_shape(image)
        np.testing.assert_array_equal(framed, frame(image, 12, framing))
        if shape == (12, 12):
            np.testing.assert_array_equal(framed, image)


def test_whole_images_are_evaluated_by_their_central_square(rng):
    image = tf.constant(photo(rng, *WIDE))
    np.testing.assert_array_equal(frame(image, 12, "whole"), fit_square(image, 12))


def test_a_thin_image_keeps_a_row():
    framed = letterbox(tf.zeros([1, 100, 3], tf.uint8), 8).numpy()
    assert (framed == 0).all((1, 2)).sum() == 1


def test_unknown_framings_are_refused():
    with pytest.raises(ValueError, match="framing must be one of .*, got 'middle'"):
        frame(tf.zeros([4, 4, 3]), 4, "middle")

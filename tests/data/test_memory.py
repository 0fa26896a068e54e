import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from keras_bt import data
from keras_bt.functional.framing import FRAMINGS


def test_digits_have_uint8_images_and_balanced_classes():
    source = data.digits()
    assert (source.train.count, source.test.count, source.classes) == (1437, 360, 10)
    batch = next(iter(source.train.batches(1437, 8)))
    assert batch["image"].shape == (1437, 8, 8, 3) and batch["image"].dtype == tf.uint8
    assert batch["image"].numpy().max() == 255
    counts = np.bincount(next(iter(source.test.batches(360, 8)))["label"])
    assert counts.min() >= 34 and counts.max() <= 38


@pytest.mark.parametrize("shape", [(3, 6, 6, 3), (3, 6, 6, 1), (3, 6, 6)])
def test_accepts_color_and_gray_arrays(rng, shape):
    array = rng.integers(0, 256, shape).astype("uint8")
    batch = next(iter(data.from_arrays(array).batches(3, 6)))
    assert list(batch) == ["image"]
    expected = np.broadcast_to(array.reshape(3, 6, 6, -1), (3, 6, 6, 3))
    np.testing.assert_array_equal(batch["image"], expected)
    floats = next(iter(data.from_arrays(array / 255.0).batches(3, 6)))["image"]
    np.testing.assert_allclose(floats, expected / 255.0, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=10)
@given(drawn=st.data(), dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_converts_floats_in_range_to_float32(drawn, dtype):
    shape = drawn.draw(st.tuples(st.integers(1, 3), st.just(4), st.just(4), st.just(3)))
    array = drawn.draw(arrays.arrays(dtype, shape, elements=st.floats(0, 1, width=16)))
    image = next(iter(data.from_arrays(array).batches(3, 4)))["image"]
    assert image.dtype == tf.float32
    np.testing.assert_array_equal(image, array)


@pytest.mark.parametrize(
    ("array", "labels", "message"),
    [
        (np.zeros((2, 6, 6, 4), "uint8"), None, r"got shape \(2, 6, 6, 4\)"),
        (np.zeros((0, 6, 6, 3), "uint8"), None, r"got shape \(0, 6, 6, 3\)"),
        (np.zeros((2, 0, 6)), None, r"got shape \(2, 0, 6, 1\)"),
        (np.full((2, 6, 6), 255.0), None, r"in \[0, 1\].*\[255, 255\]"),
        (np.full((2, 6, 6), -1.0), None, r"in \[0, 1\].*\[-1, -1\]"),
        (np.full((2, 6, 6), np.nan), None, r"in \[0, 1\].*\[nan, nan\]"),
        (np.zeros((2, 6, 6), "uint8"), [0.9, 1.2], "labels must be integers, got float64"),
        (np.zeros((2, 6, 6), "int32"), None, "uint8 or floating point, got int32"),
        (np.zeros((2, 6, 6), "uint8"), [1, 2, 3], r"2 images, but labels of shape \(3,\)"),
    ],
)
def test_rejects_wrong_arrays(array, labels, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(array, labels, name="mine")


def test_images_in_memory_are_the_same_in_the_same_order(tmp_path, rng):
    for number in range(24):
        pixels = rng.integers(0, 256, (9 + number % 3, 12, 3)).astype("uint8")
        (tmp_path / f"class {number % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"class {number % 2}" / f"{number}.png")
    source = data.from_folder(tmp_path).train
    kept = data.in_memory(source, size=8)
    assert (kept.count, kept.labelled, kept.file_names) == (19, True, source.file_names)
    for first_step in (0, 3):
        pairs = zip(
            source.shuffled_batches(5, 8, seed=1, first_step=first_step).take(7),
            kept.shuffled_batches(5, 8, seed=1, first_step=first_step).take(7),
            strict=True,
        )
        for expected, found in pairs:
            np.testing.assert_array_equal(found["image"], expected["image"])
            np.testing.assert_array_equal(found["label"], expected["label"])


@pytest.mark.parametrize("framing", FRAMINGS)
def test_images_in_memory_are_framed_for_crops(rng, framing):
    pixels = rng.integers(0, 256, (7, 6, 10, 3)).astype("uint8")
    images = data.from_arrays(pixels, range(7)).framed(framing)
    kept = data.in_memory(images, size=8)
    for expected, found in zip(
        images.shuffled_batches(3, 8, seed=1).take(5),
        kept.shuffled_batches(3, 8, seed=1).take(5),
        strict=True,
    ):
        assert expected.keys() == found.keys()
        for key, values in expected.items():
            np.testing.assert_array_equal(found[key], values)
    assert (kept.framing, kept.squashed) == (framing, framing == "whole")
    if kept.squashed:
        with pytest.raises(ValueError, match="these images are squashed, for random crops only"):
            kept.batches(4, 8)
        with pytest.raises(ValueError, match="these images are squashed"):
            kept.framed("pad")


def test_squares_in_memory_are_not_squashed(rng):
    images = data.from_arrays(rng.integers(0, 256, (5, 8, 8, 3)).astype("uint8")).framed("whole")
    kept = data.in_memory(images, size=8)
    assert not kept.squashed
    np.testing.assert_array_equal(next(iter(kept.batches(5, 8)))["image"], kept_pixels(images))
    assert next(iter(kept.shuffled_batches(5, 8, seed=0)))["size"].numpy().tolist() == [[8, 8]] * 5


def kept_pixels(images):
    return next(iter(images.batches(images.count, 8)))["image"]


def test_images_in_memory_may_be_floats_without_labels(rng):
    array = rng.random((5, 6, 6, 3), dtype="float32")
    kept = data.in_memory(data.from_arrays(array), size=6)
    assert not kept.labelled
    (batch,) = kept.batches(8, 6)
    np.testing.assert_array_equal(batch["image"], array)

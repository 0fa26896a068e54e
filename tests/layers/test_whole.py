"""Views of squashed images: those of the images themselves, the same everywhere."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.functional.framing import stretch

SHAPES = [(240, 320), (180, 320), (90, 270), (270, 90), (160, 160)]
LOAD_SIZE = 128


@pytest.fixture
def photos(rng):
    """Smooth uint8 images of five shapes."""
    coarse = [tf.constant(rng.integers(0, 256, (1, 12, 12, 3)), tf.float32) for _ in SHAPES]
    smooth = [
        tf.image.resize(colors, shape, "bicubic")[0]
        for colors, shape in zip(coarse, SHAPES, strict=True)
    ]
    return [tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8) for image in smooth]


@pytest.fixture
def squashed(photos):
    images = tf.stack([stretch(photo, LOAD_SIZE) for photo in photos])
    return {"images": images, "sizes": tf.constant(SHAPES)}


def view(**arguments):
    return keras_bt.BarlowTwinsView(32, **{"crop_area": (0.2, 1.0), "seed": 0, **arguments})


def test_views_of_squashed_images_are_those_of_the_images(photos, squashed):
    """Each image has a batch of its own, because draws depend on the place in the batch."""
    options = {"jitter_rate": 0.0, "grayscale_rate": 0.0, "blur_rate": 0.0}
    for number, photo in enumerate(photos):
        whole, squeezed = view(**options), view(**options)
        inputs = {name: values[number : number + 1] for name, values in squashed.items()}
        for _ in range(4):
            expected, got = whole(photo[None]).numpy(), squeezed(inputs)["images"].numpy()
            assert np.abs(got - expected).mean() < 1 / 255, SHAPES[number]
            assert np.abs(got - expected).max() < 12 / 255, SHAPES[number]


def test_without_sizes_they_would_be_squashed(photos, squashed):
    one = {name: values[2:3] for name, values in squashed.items()}
    expected = view(jitter_rate=0.0)(photos[2][None]).numpy()
    assert np.abs(view(jitter_rate=0.0)(one["images"]) - expected).mean() > 0.02


def test_true_sizes_change_no_bit_of_images_that_have_them(rng):
    images = tf.constant(rng.integers(0, 256, (16, 40, 40, 3)), tf.uint8)
    plain, sized = view(), view()
    for dtype in (tf.int32, tf.int64):
        sizes = tf.fill([16, 2], tf.constant(40, dtype))
        got = sized({"images": images, "sizes": sizes})
        assert list(got) == ["images"]
        np.testing.assert_array_equal(got["images"], plain(images))


def test_other_keys_stay_and_one_image_needs_no_batch(squashed):
    got = view()({**squashed, "labels": tf.range(5), "id": tf.range(5)})
    assert sorted(got) == ["id", "images", "labels"]
    np.testing.assert_array_equal(got["labels"], np.arange(5))
    one = view()({name: values[0] for name, values in squashed.items()})
    assert one["images"].shape == (32, 32, 3)
    np.testing.assert_allclose(one["images"], got["images"][0], atol=1e-5)


@pytest.mark.slow
def test_the_same_eagerly_in_functions_in_tf_data_and_under_xla(squashed):
    eager = view()
    expected = [eager(squashed)["images"].numpy() for _ in range(2)]
    function = tf.function(view(), autograph=False)
    compiled = tf.function(view(), autograph=False, jit_compile=True)
    dataset = iter(tf.data.Dataset.from_tensors(squashed).repeat(2).map(view()))
    for reference in expected:
        for name, got in (
            ("function", function(squashed)),
            ("XLA", compiled(squashed)),
            ("tf.data", next(dataset)),
        ):
            difference = np.abs(got["images"].numpy() - reference)
            assert (difference > 1e-3).mean() < 1e-3, name


@pytest.mark.parametrize("sizes", [[4, 4], [[4, 4, 3]] * 2, 4, [[4.0, 4.0]] * 2])
def test_wrong_sizes_are_refused(sizes):
    images = tf.zeros([2, 8, 8, 3])
    with pytest.raises(
        ValueError, match=r"height and width of each image, integers \[batch, 2\], got"
    ):
        view()({"images": images, "sizes": tf.constant(sizes)})


@pytest.mark.parametrize("key", ["bounding_boxes", "keypoints", "segmentation_masks"])
def test_what_would_have_to_be_cropped_too_is_refused(squashed, key):
    for inputs in (squashed, {"images": squashed["images"]}):
        with pytest.raises(NotImplementedError, match=rf"crops images, but not their \['{key}'\]"):
            view()({**inputs, key: tf.zeros([5, 1, 4])})

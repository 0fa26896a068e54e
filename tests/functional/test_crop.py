"""Crops and resizes against golden numbers of torchvision and Pillow."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_images

from keras_bt.functional.crop import (
    CROP_UNIFORMS,
    apply_separable,
    random_crop_boxes,
    resize_weights,
    squash_boxes,
)
from keras_bt.functional.framing import stretch

SHAPES = {"4:3": (3024, 4032), "16:9": (1080, 1920), "1:3": (2700, 900)}
PAPER = (0.08, 1.0), (3 / 4, 4 / 3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_crop_and_resize_match_torchvision(augment, planar, assert_close, source, method):
    sources = {"cifar0": augment["cifar"][0], "china": load_sample_images().images[0]}
    images = planar(sources[source])
    height, width = images.shape[2:]
    for crop in ("crop0", "crop1", "crop2"):
        expected = augment[f"{source}/{crop}/{method}"]
        top, left, box_height, box_width = (
            tf.constant([edge], tf.float32)
            for edge in augment[f"{source}/{crop}/box_top_left_height_width"]
        )
        out_height, out_width = expected.shape[:2]
        rows = resize_weights(top, box_height, height, out_height, method=method)
        columns = resize_weights(left, box_width, width, out_width, method=method)
        resized = tf.clip_by_value(apply_separable(images, rows, columns), 0.0, 1.0)
        assert_close(resized, expected, largest=6)

        flip = tf.constant([True])
        columns = resize_weights(left, box_width, width, out_width, flip=flip, method=method)
        flipped = tf.clip_by_value(apply_separable(images, rows, columns), 0.0, 1.0)
        np.testing.assert_allclose(flipped, resized[..., ::-1], atol=1e-5)


@pytest.mark.parametrize("size", ["32x32", "427x640", "300x200"])
def test_crop_boxes_have_the_distribution_of_torchvision(size, golden_path):
    expected = json.loads((golden_path / "crop_distribution.json").read_text())[size]
    height, width = map(int, size.split("x"))
    uniform = tf.random.stateless_uniform([20000, CROP_UNIFORMS], seed=[1, 2])
    top, left, box_height, box_width = (
        edge.numpy()
        for edge in random_crop_boxes(uniform, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
    )
    for edge in (top, left, box_height, box_width):
        np.testing.assert_array_equal(edge, np.round(edge))
    assert (top >= 0).all() and (top + box_height <= height).all() and (box_height > 0).all()
    assert (left >= 0).all() and (left + box_width <= width).all() and (box_width > 0).all()

    area = box_height * box_width / (height * width)
    quantiles = np.quantile(area, (0.05, 0.25, 0.5, 0.75, 0.95))
    np.testing.assert_allclose(quantiles, expected["area_quantiles_05_25_50_75_95"], atol=0.015)
    assert area.mean() == pytest.approx(expected["area_mean"], abs=0.006)
    aspect = np.log(box_width / box_height)
    assert aspect.mean() == pytest.approx(expected["log_ratio_mean"], abs=0.006)
    assert aspect.std() == pytest.approx(expected["log_ratio_std"], abs=0.006)
    assert (top / height).mean() == pytest.approx(expected["top_frac_mean"], abs=0.006)
    assert (left / width).mean() == pytest.approx(expected["left_frac_mean"], abs=0.006)


def test_crop_falls_back_to_the_largest_central_box():
    uniform = tf.fill([1, CROP_UNIFORMS], 0.999)
    boxes = random_crop_boxes(uniform, 10, 100, (0.9, 1.0), (3 / 4, 4 / 3))
    assert [float(edge[0]) for edge in boxes] == [0.0, 43.0, 10.0, 13.0]


@pytest.mark.parametrize("aspect_range", [(3.0, 4.0), (0.1, 0.2)])
def test_fallback_box_of_a_tiny_image_keeps_a_pixel(aspect_range):
    uniform = tf.fill([1, CROP_UNIFORMS], 0.5)
    box = random_crop_boxes(uniform, 1, 1, (0.08, 1.0), aspect_range)
    assert [float(edge[0]) for edge in box] == [0.0, 0.0, 1.0, 1.0]


def torchvision_box(rng, height, width, area_range, aspect_range):
    """RandomResizedCrop.get_params of torchvision 0.29, in float64: top, left, height, width."""
    for _ in range(10):
        area = height * width * rng.uniform(*area_range)
        aspect = math.exp(rng.uniform(*map(math.log, aspect_range)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    h, w = height, width
    if width / height < min(aspect_range):
        h = round(width / min(aspect_range))
    elif width / height > max(aspect_range):
        w = round(height * max(aspect_range))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.fixture(scope="module")
def mixed_boxes():
    """Boxes of images of three shapes, drawn in one batch; those of each shape [boxes, 4]."""
    count = 6000
    uniform = tf.random.stateless_uniform([count * len(SHAPES), CROP_UNIFORMS], seed=[3, 4])
    height, width = np.tile(list(SHAPES.values()), (count, 1)).T
    boxes = np.stack(random_crop_boxes(uniform, tf.constant(height), tf.constant(width), *PAPER))
    return dict(zip(SHAPES, boxes.T.reshape(count, len(SHAPES), 4).swapaxes(0, 1), strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_in_photos_of_any_shape_follow_torchvision(shape, mixed_boxes):
    """Areas, aspects and centers, by a Kolmogorov-Smirnov test."""
    height, width = SHAPES[shape]
    rng = np.random.default_rng(5)
    expected = np.array([torchvision_box(rng, height, width, *PAPER) for _ in range(6000)])

    def figures(boxes):
        top, left, box_height, box_width = boxes.T
        return {
            "area": box_height * box_width,
            "aspect": box_width / box_height,
            "center row": top + box_height / 2,
            "center column": left + box_width / 2,
        }

    wanted = figures(expected)
    for name, values in figures(mixed_boxes[shape]).items():
        assert ks_2samp(values, wanted[name]).pvalue > 1e-3, name
    central = figures(np.stack(random_crop_boxes(*_central(shape), *PAPER), axis=1))
    assert ks_2samp(central["area"], wanted["area"]).pvalue < 1e-6, "the test sees the difference"


def _central(shape):
    """Arguments for boxes of the central square of a photo."""
    side = min(SHAPES[shape])
    return tf.random.stateless_uniform([6000, CROP_UNIFORMS], seed=[3, 4]), side, side


def test_one_size_for_all_gives_the_boxes_of_a_size_for_each():
    uniform = tf.random.stateless_uniform([500, CROP_UNIFORMS], seed=[1, 2])
    for height, width in ((32, 32), (30, 41), (7, 90)):
        alone = random_crop_boxes(uniform, height, width, *PAPER)
        each = random_crop_boxes(uniform, tf.fill([500], height), tf.fill([500], width), *PAPER)
        np.testing.assert_array_equal(alone, each)


def smooth_photo(rng, height, width):
    """uint8 [height, width, 3] with structures of a fortieth of its sides, and shading."""
    coarse = tf.constant(rng.integers(0, 256, (1, 40, 40, 3)), tf.float32)
    smooth = tf.image.resize(coarse, (height, width), "bicubic")[0]
    return np.clip(smooth, 0, 255).astype("uint8")


@pytest.mark.parametrize("shape", [(480, 640), (360, 640), (240, 720), (720, 240)])
def test_crops_of_a_squashed_photo_are_those_of_the_photo(rng, planar, shape):
    """Against Pillow on the whole photo, where 160 pixels resolve a crop of 64."""
    photo, load_size, size = smooth_photo(rng, *shape), 160, 64
    squashed = planar(stretch(tf.constant(photo), load_size).numpy())
    uniform = tf.random.stateless_uniform([12, CROP_UNIFORMS], seed=[5, 6])
    boxes = random_crop_boxes(uniform, *shape, (0.3, 1.0), (3 / 4, 4 / 3))
    heights, widths = tf.fill([12], shape[0]), tf.fill([12], shape[1])
    top, left, height, width = squash_boxes(boxes, heights, widths, load_size, load_size)
    rows = resize_weights(top, height, load_size, size)
    columns = resize_weights(left, width, load_size, size)
    views = apply_separable(tf.repeat(squashed, 12, axis=0), rows, columns)
    errors = []
    for view, box in zip(views.numpy().transpose(0, 2, 3, 1), np.stack(boxes, 1), strict=True):
        y, x, h, w = box
        crop = Image.fromarray(photo).crop((x, y, x + w, y + h))
        expected = np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))
        errors.append(np.abs(np.clip(view, 0, 1) * 255 - expected).mean())
    assert np.mean(errors) < 1, errors


@pytest.mark.parametrize(("start", "length"), [(4.3, 0.05), (0.0, 0.4), (8.9, 0.1), (3.98, 0.04)])
def test_a_crop_narrower_than_a_pixel_is_that_pixel(start, length):
    weights = resize_weights(tf.constant([start]), tf.constant([length]), 9, 6).numpy()[0]
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-5)
    covered = [int(start), int(start + length - 1e-3)]
    np.testing.assert_allclose(weights[:, sorted(set(covered))].sum(1), 1.0, rtol=1e-5)


def test_a_pixel_that_is_covered_in_part_counts_in_part():
    """The mean of a crop from 2.5 to 6.25 has half of pixel 2 and a quarter of pixel 6."""
    weights = resize_weights(
        tf.constant([2.5]), tf.constant([3.75]), 9, 1, method="bilinear"
    ).numpy()[0, 0]
    whole = resize_weights(tf.constant([2.0]), tf.constant([5.0]), 9, 1, method="bilinear")
    assert (np.flatnonzero(weights) == np.flatnonzero(whole[0, 0])).all()
    distance = np.abs(np.arange(2, 7) + 0.5 - 4.375) / 3.75
    expected = (1 - distance) * [0.5, 1, 1, 1, 0.25]
    np.testing.assert_allclose(weights[2:7], expected / expected.sum(), rtol=1e-5)


def test_resizing_keeps_a_constant_image():
    images = tf.fill([1, 3, 9, 9], 0.3)
    for size in (1, 4, 9, 30):
        weights = resize_weights(tf.zeros([1]), tf.fill([1], 9.0), 9, size)
        np.testing.assert_allclose(apply_separable(images, weights, weights), 0.3, rtol=1e-5)

"""Crops and resizes against golden numbers of torchvision and Pillow."""

import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_images

from keras_bt.functional.crop import (
    CROP_UNIFORMS,
    apply_separable,
    random_crop_boxes,
    resize_weights,
)


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


def test_resizing_keeps_a_constant_image():
    images = tf.fill([1, 3, 9, 9], 0.3)
    for size in (1, 4, 9, 30):
        weights = resize_weights(tf.zeros([1]), tf.fill([1], 9.0), 9, size)
        np.testing.assert_allclose(apply_separable(images, weights, weights), 0.3, rtol=1e-5)

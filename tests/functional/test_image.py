"""Augmentations by value against torchvision's and Pillow's, golden numbers of which are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from keras_bt.functional import image as ops

LEVEL = 1 / 255
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def augment():
    return np.load(GOLDEN / "augment.npz")


@pytest.fixture(scope="module")
def sources(augment):
    return {"cifar0": augment["cifar"][0], "china": load_sample_images().images[0]}


def planar(image):
    """uint8 [height, width, 3] to a float batch [1, 3, height, width]."""
    return ops.as_unit_range(image.transpose(2, 0, 1)[None])


def assert_close(images, expected, mean=LEVEL, most=None):
    difference = np.abs(images.numpy()[0].transpose(1, 2, 0) - expected / 255)
    assert difference.mean() < mean
    if most is not None:
        assert difference.max() < most


def jittered(images, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, order=(0, 1, 2, 3)):
    factors = (tf.constant([value], tf.float32) for value in (brightness, contrast, saturation))
    return ops.color_jitter(images, *factors, tf.constant([hue], tf.float32), tf.constant([order]))


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_crop_and_resize(augment, sources, source, method):
    images = planar(sources[source])
    height, width = images.shape[2:]
    for crop in ("crop0", "crop1", "crop2"):
        expected = augment[f"{source}/{crop}/{method}"]
        top, left, box_height, box_width = (
            tf.constant([edge], tf.float32)
            for edge in augment[f"{source}/{crop}/box_top_left_height_width"]
        )
        out_height, out_width = expected.shape[:2]
        rows = ops.resize_weights(top, box_height, height, out_height, method=method)
        columns = ops.resize_weights(left, box_width, width, out_width, method=method)
        resized = tf.clip_by_value(ops.apply_separable(images, rows, columns), 0.0, 1.0)
        assert_close(resized, expected, most=6 * LEVEL)

        flip = tf.constant([True])
        columns = ops.resize_weights(left, box_width, width, out_width, flip=flip, method=method)
        flipped = tf.clip_by_value(ops.apply_separable(images, rows, columns), 0.0, 1.0)
        np.testing.assert_allclose(flipped, resized[..., ::-1], atol=1e-5)


@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_color_operations(augment, source):
    small = planar(augment[f"{source}/small"])
    checked = 0
    for key in augment.files:
        name, operation, amount = (key + "//").split("/")[:3]
        if name == source and operation in ("brightness", "contrast", "saturation", "hue"):
            assert_close(jittered(small, **{operation: float(amount)}), augment[key])
            checked += 1
    assert checked >= 8
    gray = ops.grayscale(small)
    assert_close(tf.repeat(gray, 3, axis=1), augment[f"{source}/grayscale"])
    assert_close(ops.solarize(small), augment[f"{source}/solarize128"], mean=1e-6)


@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_blur_is_the_true_gaussian(augment, source):
    small = planar(augment[f"{source}/small"])
    checked = 0
    for key in augment.files:
        if key.startswith(f"{source}/true_gaussian_blur_k23/"):
            sigma = float(key.rsplit("/")[-1])
            for jit in (False, True):
                blur = tf.function(ops.gaussian_blur, jit_compile=jit)
                blurred = blur(small, tf.constant([sigma]), sigma)
                assert_close(blurred, augment[key], mean=0.02 * LEVEL, most=0.1 * LEVEL)
            checked += 1
    assert checked >= 2


def test_parameters_off_are_the_identity(augment):
    small = planar(augment["cifar0/small"])
    np.testing.assert_allclose(jittered(small), small, atol=1e-5)
    weights = ops.gaussian_blur_weights(tf.zeros([1]), 32)
    np.testing.assert_array_equal(ops.apply_separable(small, weights, weights), small)


def test_jitter_follows_the_order_of_each_image(augment):
    small = planar(augment["cifar0/small"])
    factors = {"brightness": 1.4, "contrast": 0.6, "saturation": 1.2, "hue": 0.1}
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)):
        by_hand = small
        for name in sorted(factors, key=lambda name: order[list(factors).index(name)]):
            by_hand = jittered(by_hand, **{name: factors[name]})
        together = jittered(small, **factors, order=order)
        np.testing.assert_allclose(together, by_hand, atol=2e-5)
    first, last = (jittered(small, **factors, order=o) for o in ((0, 1, 2, 3), (3, 2, 1, 0)))
    assert np.abs(first - last).mean() > LEVEL


@given(data=st.data())
def test_jitter_of_few_colors_stays_in_range(data):
    """Gray, black and white, where hue and saturation divide by nothing."""
    levels = st.sampled_from([0.0, 1e-30, 0.5, 1.0])
    pixels = data.draw(st.lists(st.tuples(levels, levels, levels), min_size=1, max_size=4))
    factors = {
        name: data.draw(st.floats(0, 3, width=32))
        for name in ("brightness", "contrast", "saturation")
    }
    hue = data.draw(st.floats(-0.5, 0.5, width=32))
    order = data.draw(st.permutations(range(4)))
    images = tf.transpose(tf.constant([[pixels]], tf.float32), [0, 3, 1, 2])
    out = jittered(images, **factors, hue=hue, order=order).numpy()
    assert 0 <= out.min() and out.max() <= 1


def test_jitter_without_hue_is_jitter_with_a_hue_of_zero(augment):
    small = planar(augment["cifar0/small"])
    factors = [tf.constant([factor]) for factor in (1.3, 0.7, 1.2)]
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        with_zero = ops.color_jitter(small, *factors, tf.zeros([1]), tf.constant([order]))
        without = ops.color_jitter(small, *factors, None, tf.constant([order]))
        np.testing.assert_allclose(with_zero, without, atol=1e-5)


@pytest.mark.parametrize("size", ["32x32", "427x640", "300x200"])
def test_crop_law(size):
    law = json.loads((GOLDEN / "crop_distribution.json").read_text())[size]
    height, width = map(int, size.split("x"))
    uniform = tf.random.stateless_uniform([20000, ops.CROP_UNIFORMS], seed=[1, 2])
    top, left, box_height, box_width = (
        edge.numpy()
        for edge in ops.random_crop_boxes(uniform, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
    )
    for edge in (top, left, box_height, box_width):
        np.testing.assert_array_equal(edge, np.round(edge))
    assert (top >= 0).all() and (top + box_height <= height).all() and (box_height > 0).all()
    assert (left >= 0).all() and (left + box_width <= width).all() and (box_width > 0).all()

    area = box_height * box_width / (height * width)
    quantiles = np.quantile(area, (0.05, 0.25, 0.5, 0.75, 0.95))
    np.testing.assert_allclose(quantiles, law["area_quantiles_05_25_50_75_95"], atol=0.015)
    assert area.mean() == pytest.approx(law["area_mean"], abs=0.006)
    aspect = np.log(box_width / box_height)
    assert aspect.mean() == pytest.approx(law["log_ratio_mean"], abs=0.006)
    assert aspect.std() == pytest.approx(law["log_ratio_std"], abs=0.006)
    assert (top / height).mean() == pytest.approx(law["top_frac_mean"], abs=0.006)
    assert (left / width).mean() == pytest.approx(law["left_frac_mean"], abs=0.006)


def test_crop_falls_back_to_the_largest_central_box():
    uniform = tf.fill([1, ops.CROP_UNIFORMS], 0.999)
    boxes = ops.random_crop_boxes(uniform, 10, 100, (0.9, 1.0), (3 / 4, 4 / 3))
    assert [float(edge[0]) for edge in boxes] == [0.0, 43.0, 10.0, 13.0]


@pytest.mark.parametrize("aspect_range", [(3.0, 4.0), (0.1, 0.2)])
def test_the_fallback_box_of_a_tiny_image_keeps_a_pixel(aspect_range):
    uniform = tf.fill([1, ops.CROP_UNIFORMS], 0.5)
    box = ops.random_crop_boxes(uniform, 1, 1, (0.08, 1.0), aspect_range)
    assert [float(edge[0]) for edge in box] == [0.0, 0.0, 1.0, 1.0]


def test_enlarging_and_shrinking_keep_a_constant_image():
    images = tf.fill([1, 3, 9, 9], 0.3)
    for size in (1, 4, 9, 30):
        weights = ops.resize_weights(tf.zeros([1]), tf.fill([1], 9.0), 9, size)
        np.testing.assert_allclose(ops.apply_separable(images, weights, weights), 0.3, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_in_range_pass(dtype):
    images = ops.as_unit_range(tf.constant([0.0, 0.5, 1.0], dtype))
    assert images.dtype == tf.float32
    np.testing.assert_array_equal(images, [0, 0.5, 1])


def test_pixels_out_of_range_are_named():
    wrong = tf.constant([-2.1, 0.0, 2.6])
    with pytest.raises(ValueError, match=r"in \[0, 1\].*got values in \[-2.1, 2.6\]"):
        ops.as_unit_range(wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be RGB in \[0, 1\]"):
        tf.function(ops.as_unit_range)(255.0 * tf.ones([3]))
    with pytest.raises(TypeError, match="uint8.*got dtype int32"):
        ops.as_unit_range(tf.constant([3]))
    assert ops.as_unit_range(tf.zeros([0, 8, 8, 3])).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("size", [8, 40])
def test_blur_is_the_same_in_both_forms(rng, size):
    """In the smaller image the kernel would be reflected twice, and XLA has the matrices too."""
    images = tf.constant(rng.uniform(size=(5, 3, size, size + 4)), tf.float32)
    sigma = tf.constant([0.0, 0.1, 0.7, 1.3, 2.0])
    blurs = [
        tf.function(lambda: ops.gaussian_blur(images, sigma, 2.0), jit_compile=jit)
        for jit in (False, True)
    ]
    np.testing.assert_allclose(blurs[0](), blurs[1](), atol=2e-5)
    np.testing.assert_allclose(blurs[1]()[0], images[0], atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 20])
def test_only_the_chosen_are_changed_and_all_of_them(rng, batch, jit_compile):
    images = tf.constant(rng.normal(size=(batch, 2)), tf.float32)

    @tf.function(jit_compile=jit_compile)
    def negate_chosen(chosen):
        def negate(rows, places):
            return tf.where(tf.gather(chosen, places)[:, None], -rows, rows)

        return ops.apply_to_chosen(negate, images, chosen)

    for count in range(batch + 1):
        chosen = rng.permutation(np.arange(batch) < count)
        expected = np.where(chosen[:, None], -images.numpy(), images)
        np.testing.assert_array_equal(negate_chosen(tf.constant(chosen)), expected)


def test_the_function_sees_about_as_many_images_as_are_chosen():
    seen = []

    def count_rows(rows, places):
        seen.append(len(rows))
        return rows

    for chosen in (0, 1, 8, 9):
        seen.clear()
        ops.apply_to_chosen(count_rows, tf.zeros([64, 1]), tf.range(64) < chosen)
        assert sum(seen) == -(-chosen // 8) * 8

"""The blur against the true Gaussian, and its application to some images of a batch."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bt.functional.blur import apply_to_chosen, gaussian_blur, gaussian_blur_weights
from keras_bt.functional.crop import apply_separable


@pytest.mark.slow
@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_blur_matches_the_true_gaussian(augment, planar, assert_close, source):
    small = planar(augment[f"{source}/small"])
    checked = 0
    for key in augment.files:
        if key.startswith(f"{source}/true_gaussian_blur_k23/"):
            sigma = float(key.rsplit("/")[-1])
            for jit in (False, True):
                blur = tf.function(gaussian_blur, jit_compile=jit)
                blurred = blur(small, tf.constant([sigma]), sigma)
                assert_close(blurred, augment[key], mean=0.02, largest=0.1)
            checked += 1
    assert checked >= 2


def test_sigma_of_zero_changes_nothing(augment, planar):
    small = planar(augment["cifar0/small"])
    weights = gaussian_blur_weights(tf.zeros([1]), 32)
    np.testing.assert_array_equal(apply_separable(small, weights, weights), small)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 40])
def test_matrices_and_shifts_give_the_same_blur(rng, size):
    """XLA uses matrices for the smaller image, where the kernel would be reflected twice."""
    images = tf.constant(rng.uniform(size=(5, 3, size, size + 4)), tf.float32)
    sigma = tf.constant([0.0, 0.1, 0.7, 1.3, 2.0])
    blurs = [
        tf.function(lambda: gaussian_blur(images, sigma, 2.0), jit_compile=jit)
        for jit in (False, True)
    ]
    np.testing.assert_allclose(blurs[0](), blurs[1](), atol=2e-5)
    np.testing.assert_allclose(blurs[1]()[0], images[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 20])
def test_applies_to_exactly_the_chosen_images(rng, batch, jit_compile):
    images = tf.constant(rng.normal(size=(batch, 2)), tf.float32)

    @tf.function(jit_compile=jit_compile)
    def negate_chosen(chosen):
        def negate(rows, indices):
            return tf.where(tf.gather(chosen, indices)[:, None], -rows, rows)

        return apply_to_chosen(negate, images, chosen)

    for count in range(batch + 1):
        chosen = rng.permutation(np.arange(batch) < count)
        expected = np.where(chosen[:, None], -images.numpy(), images)
        np.testing.assert_array_equal(negate_chosen(tf.constant(chosen)), expected)


def test_function_gets_at_most_seven_other_images():
    seen = []

    def count_rows(rows, indices):
        seen.append(len(rows))
        return rows

    for chosen in (0, 1, 8, 9):
        seen.clear()
        apply_to_chosen(count_rows, tf.zeros([64, 1]), tf.range(64) < chosen)
        assert sum(seen) == -(-chosen // 8) * 8

"""The log-determinant as redundancy, against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bt.functional.loss import invariance_and_redundancy
from keras_bt.functional.replicas import Replicas

LOG_DETERMINANT = {"redundancy": "log_determinant"}


def two_views(rng, batch, dim):
    """Correlated embeddings whose mean and scale differ by view and by dimension."""
    z = rng.normal(size=(batch, dim)) @ rng.normal(size=(dim, dim))
    z_a = z * rng.uniform(0.5, 2, dim) + rng.normal(size=dim)
    return z_a, (z + rng.normal(size=z.shape)) * rng.uniform(1, 3, dim) - 2 * rng.normal(size=dim)


def reference(z_a, z_b, centered=True, epsilon=1e-5, ridge=0.01):
    """Both terms by NumPy's covariance and log-determinant, in float64."""
    z_a, z_b = (z - z.mean(0) * centered for z in (z_a, z_b))
    a, b = (z / np.sqrt((z**2).mean(0) + epsilon) for z in (z_a, z_b))
    both = np.concatenate([a, b])
    correlation = both.T @ both / len(both)
    sign, value = np.linalg.slogdet((correlation + ridge * np.eye(a.shape[1])) / (1 + ridge))
    assert sign == 1
    return ((1 - (a * b).mean(0)) ** 2).sum(), -value


@pytest.mark.parametrize("batch", [2, 64])
def test_equal_dimensions_have_the_largest_redundancy(rng, batch):
    """As after a collapse, with a correlation matrix that float32 can hardly tell from singular."""
    z = np.tile(rng.normal(size=(batch, 1)).astype("float32"), (1, 1024))
    redundancy = invariance_and_redundancy(z, z, **LOG_DETERMINANT)[1]
    largest = 1024 * np.log(1.01) - np.log(1024.01) - 1023 * np.log(0.01)
    np.testing.assert_allclose(redundancy, largest, rtol=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients(z, z, (1.0, 1.0)))


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("form", ["auto", "matrix"])
def test_value_matches_float64(rng, form, centered):
    for batch, dim in ((2, 3), (9, 2), (5, 11), (64, 40)):
        views = two_views(rng, batch, dim)
        expected = reference(*views, centered)
        for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
            z_a, z_b = (z.astype(dtype) for z in views)
            terms = invariance_and_redundancy(
                z_a, z_b, form=form, centered=centered, **LOG_DETERMINANT
            )
            np.testing.assert_allclose(terms, expected, rtol=tolerance)


def gradients_of(z_a, z_b, weights=(1.0, 1.0), **options):
    with tf.GradientTape() as tape:
        tape.watch([z_a, z_b])
        terms = invariance_and_redundancy(z_a, z_b, **LOG_DETERMINANT, **options)
        loss = weights[0] * terms[0] + weights[1] * terms[1]
    return tape.gradient(loss, [z_a, z_b])


def gradients(z_a, z_b, weights, **options):
    views = tf.constant(z_a), tf.constant(z_b)
    return [gradient.numpy() for gradient in gradients_of(*views, weights, **options)]


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.7)])
@pytest.mark.parametrize("centered", [True, False])
def test_gradient_matches_finite_differences_of_numpy(rng, weights, centered):
    views = np.stack(two_views(rng, 6, 5))
    analytic = gradients(*views, weights, centered=centered)
    for index in np.ndindex(2, 6, 5):
        step = np.zeros_like(views)
        step[index] = 1e-6
        above, below = (
            np.dot(weights, reference(*(views + change), centered)) for change in (step, -step)
        )
        np.testing.assert_allclose(
            analytic[index[0]][index[1:]], (above - below) / 2e-6, rtol=1e-5, atol=1e-6
        )


def test_near_the_identity_it_is_half_the_sum_of_squares(rng):
    z = np.linalg.qr(rng.normal(size=(5000, 6)))[0] * np.sqrt(5000)
    z += 0.02 * z @ rng.normal(size=(6, 6))
    squares = invariance_and_redundancy(z, z)[1]
    information = invariance_and_redundancy(z, z, **LOG_DETERMINANT)[1]
    # The ridge divides each correlation by 1.01.
    np.testing.assert_allclose(information, squares / 2 / 1.01**2, rtol=0.05)


def test_constant_dimensions_and_extreme_scales_stay_finite(rng):
    z_a, z_b = (z.astype("float32") for z in two_views(rng, 8, 12))
    z_a[:, 3] = z_b[:, 3] = 1.0
    for scale in (1e-6, 1.0, 1e15):
        terms = invariance_and_redundancy(z_a * scale, z_b * scale, **LOG_DETERMINANT)
        assert np.isfinite(terms).all()
        for gradient in gradients(z_a * np.float32(scale), z_b * np.float32(scale), (1.0, 1.0)):
            assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_is_compiled_by_xla(rng):
    views = [z.astype("float32") for z in two_views(rng, 32, 12)]
    expected = gradients(*views, (1.0, 1.0))
    compiled = tf.function(lambda a, b: tuple(gradients_of(a, b)), jit_compile=True)(*views)
    for actual, gradient in zip(compiled, expected, strict=True):
        np.testing.assert_allclose(actual, gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())


def test_sums_over_replicas(rng):
    """Of two replicas that hold the same rows, each has the value of one with all rows."""
    z_a, z_b = two_views(rng, 12, 5)
    twice = Replicas(count=2, sum=lambda tensors: tf.nest.map_structure(lambda t: 2 * t, tensors))
    actual = invariance_and_redundancy(z_a, z_b, replicas=twice, **LOG_DETERMINANT)
    expected = invariance_and_redundancy(
        np.concatenate([z_a, z_a]), np.concatenate([z_b, z_b]), **LOG_DETERMINANT
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"redundancy": "entropy"}, "redundancy must be one of .*, got 'entropy'"),
        ({**LOG_DETERMINANT, "form": "gram"}, "'log_determinant' has no form 'gram'; use 'matrix'"),
        ({**LOG_DETERMINANT, "redundancy_target": -1.0}, "has the target 0, got .* -1.0"),
    ],
)
def test_wrong_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        invariance_and_redundancy(tf.ones([4, 2]), tf.ones([4, 2]), **options)

"""The penalty of mixed samples against its definition in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bt.functional.mixed_samples import mix, mixed_sample_penalty

FORMS = ["matrix", "gram", "auto"]


def reference(z_a, z_b, z_mixed, share, order, epsilon=1e-5, centered=True):
    def standardized(z):
        z = z.astype("float64")
        z = z - z.mean(0) if centered else z
        return z / np.sqrt((z**2).mean(0) + epsilon)

    def c(x, y):
        return x.T @ y / len(x)

    a, b, m = map(standardized, (z_a, z_b, z_mixed))
    with_a = c(m, a) - share * c(a, a) - (1 - share) * c(b[order], a)
    with_b = c(m, b) - share * c(a, b) - (1 - share) * c(b[order], b)
    return (with_a**2).sum() + (with_b**2).sum()


def embeddings(rng, batch, dim):
    """Embeddings of view A, view B and mixtures, with different means and scales."""
    scales, means = rng.uniform(0.5, 3, (3, 1, dim)), rng.normal(size=(3, 1, dim))
    return scales * rng.normal(size=(3, batch, dim)) + means


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("centered", [True, False])
def test_value_matches_the_definition(rng, form, centered):
    for batch, dim in ((2, 3), (7, 2), (5, 11)):
        z, order = embeddings(rng, batch, dim).astype("float32"), rng.permutation(batch)
        penalty = mixed_sample_penalty(*z, 0.3, order, centered=centered, form=form)
        expected = reference(*z, 0.3, order, centered=centered)
        np.testing.assert_allclose(penalty, expected, rtol=1e-4)


@pytest.mark.parametrize("form", ["matrix", "gram"])
def test_gradient_matches_finite_differences_of_the_definition(rng, form):
    z, order = embeddings(rng, 6, 4), rng.permutation(6)
    views = [tf.constant(each) for each in z]
    with tf.GradientTape() as tape:
        tape.watch(views)
        penalty = mixed_sample_penalty(*views, tf.constant(0.7, tf.float64), order, form=form)
    for view, gradient in enumerate(tape.gradient(penalty, views)):
        step = np.zeros_like(z)
        step[view, 2, 3] = 1e-5
        above, below = (reference(*(z + s), 0.7, order) for s in (step, -step))
        np.testing.assert_allclose(gradient[2, 3], (above - below) / 2e-5, rtol=1e-5)


def test_penalty_is_zero_if_embeddings_mix_like_the_images(rng):
    """As for an affine network whose mixtures have the variance of the views."""
    a = rng.normal(size=(8, 3))
    penalty = mixed_sample_penalty(a, a, 2 * a + 5, 0.4, np.arange(8), epsilon=1e-12)
    np.testing.assert_allclose(penalty, 0, atol=1e-12)


def test_mix_weights_each_image_with_its_partner(rng):
    a, b = rng.uniform(size=(2, 4, 2, 2, 3)).astype("float32")
    mixed = mix(tf.constant(a), b, 0.25, [2, 0, 3, 1])
    np.testing.assert_allclose(mixed[0], 0.25 * a[0] + 0.75 * b[2], rtol=1e-6)


def test_rejects_unknown_form():
    with pytest.raises(ValueError, match="form must be one of .*'fast'"):
        mixed_sample_penalty(*np.ones((3, 4, 2)), 0.5, [0, 1, 2, 3], form="fast")

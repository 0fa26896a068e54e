"""The loss against golden numbers of the official code, and against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_bt.functional.loss import invariance_and_redundancy, loss_floor

LAMBDA = 0.0051
FORMS = ["matrix", "gram", "auto"]


def reference(z_a, z_b, epsilon=1e-5, centered=True, target=0.0):
    """Invariance and redundancy by loops over dimensions, in float64."""

    def standardized(z):
        z = z.astype("float64")
        z = z - z.mean(0) if centered else z
        return z / np.sqrt((z**2).mean(0) + epsilon)

    z_a, z_b = standardized(z_a), standardized(z_b)
    invariance = redundancy = 0.0
    for i in range(z_a.shape[1]):
        for j in range(z_b.shape[1]):
            c = (z_a[:, i] * z_b[:, j]).mean()
            if i == j:
                invariance += (1 - c) ** 2
            else:
                redundancy += (c - target) ** 2
    return invariance, redundancy


def two_views(rng, batch, dim):
    """Correlated embeddings whose mean and scale differ by view and by dimension."""
    z = rng.normal(size=(batch, dim))
    z_a = z * rng.uniform(0.5, 2, dim) + rng.normal(size=dim)
    z_b = (z + 0.3 * rng.normal(size=(batch, dim))) * rng.uniform(1, 3, dim) - 2 * rng.normal(
        size=dim
    )
    return z_a.astype("float32"), z_b.astype("float32")


def loss_and_gradients(z_a, z_b, form, weight=LAMBDA, **options):
    z_a, z_b = tf.constant(z_a), tf.constant(z_b)
    with tf.GradientTape() as tape:
        tape.watch([z_a, z_b])
        invariance, redundancy = invariance_and_redundancy(z_a, z_b, form=form, **options)
        loss = invariance + weight * redundancy
    return float(loss), *(g.numpy() for g in tape.gradient(loss, [z_a, z_b]))


@st.composite
def embeddings(draw):
    """Two float32 views; dimensions have any scale, some are constant, some are duplicates."""
    batch, dim = draw(st.integers(2, 6)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    per_dimension = (2, 1, dim)  # a mean and a scale for each view
    exponent = draw(arrays.arrays(float, per_dimension, elements=st.floats(-20, 20)))
    mean = draw(arrays.arrays(float, per_dimension, elements=st.integers(0, 3)))
    varies = draw(arrays.arrays(bool, per_dimension))
    # Constants are small integers, because rounding of their mean would make them vary.
    scale = np.where(varies, 10.0**exponent, 1.0)
    z = rng.normal(size=(2, batch, dim))
    z[:, :, draw(st.integers(0, dim - 1))] = z[:, :, 0]
    return scale.astype("float32"), (scale * (z * varies + mean)).astype("float32")


@pytest.mark.parametrize("form", ["matrix", "gram"])
@pytest.mark.parametrize("centered", [True, False])
@given(drawn=embeddings())
def test_any_scale_gives_the_float64_loss(form, centered, drawn):
    scale, z = drawn
    options = {"form": form, "weight": 1.0, "centered": centered}
    loss, *gradients = loss_and_gradients(*z, **options)
    np.testing.assert_allclose(loss, sum(reference(*z, centered=centered)), rtol=1e-4, atol=1e-5)
    _, *expected = loss_and_gradients(*z.astype("float64"), **options)
    # Gradients are of order 1 / spread, and two images may have a small spread by chance.
    spread = z.std(axis=1, keepdims=True, dtype="float64")
    unit = np.where(spread > 0, np.minimum(spread, scale), scale)
    np.testing.assert_allclose(gradients * unit, expected * unit, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["matrix", "gram"])
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "bfloat16", "float64")),
    ],
)
@given(data=st.data())
def test_finite_embeddings_give_no_nan(form, dtype, data):
    largest = float(tf.as_dtype(dtype).max)
    elements = st.floats(-largest, largest)
    shape = data.draw(st.tuples(st.integers(2, 5), st.integers(1, 6)))
    z = [
        tf.constant(data.draw(arrays.arrays(float, shape, elements=elements)), dtype) for _ in "ab"
    ]
    for centered in (True, False):
        loss, *gradients = loss_and_gradients(*z, form, weight=1.0, centered=centered)
        assert np.isfinite(loss)
        for gradient in gradients:
            assert gradient.dtype == dtype and np.isfinite(gradient.astype("float64")).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [0, 1, 3])
def test_matches_golden_numbers_of_the_official_code(golden, case, form):
    numbers = golden("loss.npz")
    expected = {name: numbers[f"{case}/{name}"] for name in ("loss", "grad_a", "grad_b")}
    z_a, z_b = numbers[f"{case}/z_a"], numbers[f"{case}/z_b"]

    invariance, redundancy = invariance_and_redundancy(z_a, z_b, form=form)
    np.testing.assert_allclose(invariance, numbers[f"{case}/invariance"], rtol=1e-5)
    np.testing.assert_allclose(redundancy, numbers[f"{case}/redundancy"], rtol=1e-5)
    loss, *gradients = loss_and_gradients(z_a, z_b, form)
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-5)
    for gradient, name in zip(gradients, ("grad_a", "grad_b"), strict=True):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("centered", [True, False])
def test_value_matches_float64_loops(rng, form, centered):
    for batch, dim in ((2, 3), (7, 2), (5, 11)):
        z_a, z_b = two_views(rng, batch, dim)
        terms = invariance_and_redundancy(z_a, z_b, centered=centered, form=form)
        expected = reference(z_a, z_b, centered=centered)
        np.testing.assert_allclose(terms, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", [-1.0, 0.3])
def test_value_with_target_matches_float64_loops(rng, form, target):
    for batch, dim in ((2, 3), (7, 2), (5, 11)):
        z_a, z_b = two_views(rng, batch, dim)
        terms = invariance_and_redundancy(z_a, z_b, form=form, redundancy_target=target)
        np.testing.assert_allclose(terms, reference(z_a, z_b, target=target), rtol=1e-4)


def test_uncentered_loss_uses_cosines_between_dimensions(rng):
    z_a, z_b = two_views(rng, 9, 4)
    cosine = (z_a / np.linalg.norm(z_a, axis=0)).T @ (z_b / np.linalg.norm(z_b, axis=0))
    invariance, redundancy = invariance_and_redundancy(z_a, z_b, centered=False)
    np.testing.assert_allclose(invariance, ((1 - np.diag(cosine)) ** 2).sum(), rtol=1e-4)
    off_diagonal = cosine - np.diag(np.diag(cosine))
    np.testing.assert_allclose(redundancy, (off_diagonal**2).sum(), rtol=1e-4)


def test_both_forms_agree_on_random_shapes(rng):
    for _ in range(12):
        batch, dim = rng.integers(2, 60), rng.integers(1, 60)
        z_a, z_b = two_views(rng, batch, dim)
        matrix, gram = (loss_and_gradients(z_a, z_b, form) for form in ("matrix", "gram"))
        np.testing.assert_allclose(matrix[0], gram[0], rtol=1e-5, atol=1e-5)
        for by_matrix, by_gram in zip(matrix[1:], gram[1:], strict=True):
            scale = np.abs(by_matrix).max()
            np.testing.assert_allclose(by_matrix, by_gram, rtol=1e-4, atol=2e-5 * scale + 1e-7)


@pytest.mark.parametrize("target", [0.0, -1.0])
@pytest.mark.parametrize("form", ["matrix", "gram"])
def test_gradient_matches_finite_differences(rng, form, target):
    views = [z.astype("float64") for z in two_views(rng, 6, 5)]

    def value_and_gradients(views):
        return loss_and_gradients(*views, form, weight=0.1, redundancy_target=target)

    _, *gradients = value_and_gradients(views)
    for view, gradient in enumerate(gradients):
        step = np.zeros((2, 6, 5))
        step[view, 2, 3] = 1e-5
        above, below = (value_and_gradients(views + s)[0] for s in (step, -step))
        np.testing.assert_allclose(gradient[2, 3], (above - below) / 2e-5, rtol=1e-6)


def test_is_invariant_to_scale_and_shift_of_either_view(rng):
    z_a, z_b = two_views(rng, 16, 8)
    expected = invariance_and_redundancy(z_a, z_b)
    scaled_a = invariance_and_redundancy(3.0 * z_a - 5.0, z_b)
    scaled_b = invariance_and_redundancy(z_a, 0.5 * z_b + 4.0)
    np.testing.assert_allclose(scaled_a, expected, rtol=1e-3)
    np.testing.assert_allclose(scaled_b, expected, rtol=1e-3)


def test_is_invariant_to_batch_order_and_swapped_views(rng):
    z_a, z_b = two_views(rng, 16, 8)
    expected = invariance_and_redundancy(z_a, z_b)
    order = rng.permutation(16)
    np.testing.assert_allclose(
        invariance_and_redundancy(z_a[order], z_b[order]), expected, rtol=1e-5
    )
    np.testing.assert_allclose(invariance_and_redundancy(z_b, z_a), expected, rtol=1e-5)
    assert not np.allclose(invariance_and_redundancy(z_a[order], z_b), expected, rtol=1e-2)


def test_is_zero_for_identical_views_with_independent_dimensions():
    hadamard = np.float32([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    np.testing.assert_allclose(invariance_and_redundancy(hadamard, hadamard), (0, 0), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_is_finite_for_constant_and_duplicate_dimensions(rng, form):
    z_a, z_b = two_views(rng, 16, 6)
    z_a[:, 0] = 7.0
    z_b[:, 0] = -1.0
    z_a[:, 2] = z_a[:, 1]
    z_b[:, 2] = z_b[:, 1]
    for pair in ((z_a, z_b), (z_a, z_a), (np.zeros_like(z_a), np.zeros_like(z_a))):
        loss, *gradients = loss_and_gradients(*pair, form)
        assert np.isfinite(loss)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_unknown_batch_size_and_xla_give_the_same_loss(rng, jit_compile):
    for batch, dim in ((4, 40), (40, 4)):  # "auto" takes Gram, then matrix
        z_a, z_b = two_views(rng, batch, dim)
        signature = [tf.TensorSpec([None, dim])] * 2
        compiled = tf.function(
            invariance_and_redundancy, input_signature=signature, jit_compile=jit_compile
        )
        np.testing.assert_allclose(
            compiled(z_a, z_b), invariance_and_redundancy(z_a, z_b), rtol=1e-5
        )


def test_sums_half_precision_embeddings_in_float32(rng):
    z_a, z_b = (tf.cast(z, tf.bfloat16) for z in two_views(rng, 64, 32))
    terms = invariance_and_redundancy(z_a, z_b)
    assert all(term.dtype == tf.float32 for term in terms)
    expected = reference(*(tf.cast(z, tf.float32).numpy() for z in (z_a, z_b)))
    np.testing.assert_allclose(terms, expected, rtol=1e-5)


def test_large_mean_does_not_cancel_the_variance(rng):
    z_a, z_b = two_views(rng, 32, 4)
    expected = reference(z_a + np.float32(1000), z_b)
    np.testing.assert_allclose(invariance_and_redundancy(z_a + 1000.0, z_b), expected, rtol=1e-3)


def test_loss_is_not_below_its_floor(rng):
    for batch, dim in ((4, 20), (9, 30), (12, 12), (30, 8)):
        for _ in range(5):
            z_a, z_b = two_views(rng, batch, dim)
            assert loss_and_gradients(z_a, z_b, "matrix", 0.05)[0] >= loss_floor(batch, dim, 0.05)
            assert loss_and_gradients(z_a, z_a, "gram", 0.05)[0] >= loss_floor(batch, dim, 0.05)


@pytest.mark.slow
def test_gradient_descent_reaches_the_floor(rng):
    z_a = tf.Variable(rng.normal(size=(6, 12)))
    z_b = tf.Variable(rng.normal(size=(6, 12)))
    for rate in (2.0, 2.0, 1.0):
        for _ in range(400):
            with tf.GradientTape() as tape:
                invariance, redundancy = invariance_and_redundancy(z_a, z_b, epsilon=1e-12)
                loss = invariance + 0.05 * redundancy
            for z, gradient in zip((z_a, z_b), tape.gradient(loss, [z_a, z_b]), strict=True):
                z.assign_sub(rate * gradient)
    np.testing.assert_allclose(loss, loss_floor(6, 12, 0.05), rtol=1e-3)


@pytest.mark.parametrize(
    ("batch", "dim", "weight", "floor"),
    [(2048, 8192, 0.0051, 123.5), (256, 8192, 0.005, 1103), (256, 2048, 0.0051, 70.9)],
)
def test_floor_matches_published_numbers(batch, dim, weight, floor):
    assert loss_floor(batch, dim, weight) == pytest.approx(floor, rel=1e-3)


@settings(max_examples=200)
@given(st.integers(2), st.integers(1), st.floats(0, 1e6), st.booleans())
def test_floor_is_finite_and_zero_without_weight(batch, dim, weight, centered):
    floor = loss_floor(batch, dim, weight, centered=centered)
    assert 0 <= floor <= dim * (1 + 1e-12)
    assert loss_floor(batch, dim, 0.0, centered=centered) == 0


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(("batch", "dim"), [(6, 12), (5, 4), (5, 5)])
def test_floor_from_weight_one_on_is_the_missing_rank(rng, batch, dim, centered):
    """One dimension for each of the rank's directions reaches it; the other dimensions are dead."""
    rank = min(dim, batch - centered)
    start = np.column_stack([np.ones(batch), rng.normal(size=(batch, batch))])
    directions = np.linalg.qr(start)[0][:, 1 if centered else 0 :][:, :rank]
    z = np.pad(directions, [(0, 0), (0, dim - rank)])
    invariance, redundancy = invariance_and_redundancy(z, z, epsilon=1e-12, centered=centered)
    assert float(redundancy) < 1e-6
    for weight in (1.0, 3.0):
        assert loss_floor(batch, dim, weight, centered=centered) == pytest.approx(dim - rank)
    np.testing.assert_allclose(invariance, dim - rank, atol=1e-6)


def test_floor_of_uncentered_loss_has_one_more_rank():
    assert loss_floor(9, 10, 0.01, centered=False) == pytest.approx(loss_floor(10, 10, 0.01))


@pytest.mark.parametrize(
    ("z_a", "z_b", "message"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), r"one shape \[batch, dim\].*\(4, 3\).*\(4, 2\)"),
        (np.zeros((4, 3, 2)), np.zeros((4, 3, 2)), r"\[batch, dim\], got \(4, 3, 2\)"),
        (np.zeros((1, 3)), np.zeros((1, 3)), "at least 2 images, got a batch of 1"),
    ],
)
def test_rejects_wrong_embeddings(z_a, z_b, message):
    with pytest.raises(ValueError, match=message):
        invariance_and_redundancy(z_a, z_b)


@pytest.mark.slow
def test_rejects_wrong_batches_of_unknown_size():
    signature = [tf.TensorSpec([None, 3])] * 2
    terms = tf.function(invariance_and_redundancy, input_signature=signature)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 2 images"):
        terms(tf.zeros([1, 3]), tf.zeros([1, 3]))
    for sizes in ((1, 16), (16, 8)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="views must have one shape"):
            terms(*(tf.zeros([size, 3]) for size in sizes))


def test_rejects_unknown_form():
    with pytest.raises(ValueError, match="form must be one of .*'fast'"):
        invariance_and_redundancy(np.eye(3), np.eye(3), form="fast")


@pytest.mark.parametrize("arguments", [(1, 8, 0.1), (8, 0, 0.1), (8, 8, np.inf), (8, 8, -0.1)])
def test_floor_rejects_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match="must"):
        loss_floor(*arguments)

"""Standardized embeddings and their cross-correlation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bt.functional.correlation import cross_correlation, standardize


@pytest.mark.slow
@given(
    shape=st.tuples(st.just(2), st.integers(2, 6), st.integers(1, 8)),
    mean=st.integers(0, 10**8),
    exponent=st.floats(-20, 20),
    epsilon=st.floats(1e-45, 1.0),
    seed=st.integers(0, 999),
)
def test_correlations_lie_between_minus_one_and_one(shape, mean, exponent, epsilon, seed):
    random = np.random.default_rng(seed)
    views = 10.0**exponent * (random.normal(size=shape) + mean)
    z_a, z_b = (standardize(z.astype("float32"), epsilon=epsilon) for z in views)
    assert (np.abs(cross_correlation(z_a, z_b)) <= 1 + 1e-5).all()


def test_matches_golden_numbers(golden):
    numbers = golden("loss.npz")
    z_a, z_b = (standardize(numbers[f"1/{name}"]) for name in ("z_a", "z_b"))
    np.testing.assert_allclose(cross_correlation(z_a, z_b), numbers["1/c"], atol=1e-6)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bt.functional.spectrum import effective_rank, spread


def reference_rank(x):
    """Exponential of the entropy of the singular values, by an SVD in float64."""
    x = np.float64(x)
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    share = s[s > 1e-9 * s[0]] / s.sum()
    return np.exp(-(share * np.log(share)).sum())


@pytest.mark.parametrize("shape", [(2, 1), (40, 7), (30, 30), (7, 40)])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_effective_rank_matches_singular_values(rng, shape, scale):
    x = rng.normal(size=shape) * np.geomspace(1, 1e-2, shape[1]) * scale
    x = np.float32(x + 3.0 * scale)
    assert effective_rank(x).numpy() == pytest.approx(reference_rank(x), rel=1e-4)


@given(rank=st.integers(1, 6), dim=st.integers(6, 30), seed=st.integers(0, 99))
def test_effective_rank_counts_equal_directions(rank, dim, seed):
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(dim, rank)))[0]
    x = np.float32(np.concatenate([directions.T, -directions.T]) + random.normal())
    assert effective_rank(x).numpy() == pytest.approx(rank, rel=1e-3)


@pytest.mark.parametrize("shape", [(1000, 5), (5, 1000), (1, 3)])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e20, 1e-20])
def test_equal_rows_have_no_rank_and_no_spread(shape, value):
    x = np.full(shape, value, "float32")
    assert effective_rank(x).numpy() == 0.0
    assert spread(x).numpy() == pytest.approx(0.0, abs=1e-12 * abs(value))


def test_float32_rounding_adds_no_rank(rng):
    """Rows along one direction, far from the origin; their last bits vary in all directions."""
    x = np.float32(100.0 + rng.normal(size=(200, 1)) * rng.normal(size=50))
    assert effective_rank(x).numpy() == pytest.approx(1.0, abs=0.01)


def test_spread_matches_numpy(rng):
    x = np.float32(rng.normal(size=(50, 4)) * [1e-10, 1e-3, 1.0, 1e25] + [0, 5, -3, 0])
    np.testing.assert_allclose(spread(x), np.float64(x).std(axis=0), rtol=1e-5)

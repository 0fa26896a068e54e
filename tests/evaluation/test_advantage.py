import numpy as np
import pytest

from keras_bt.evaluation import advantage


def test_the_interval_is_that_of_paired_images(rng):
    """Against the normal approximation for differences of the same images."""
    baseline = rng.random(2000) < 0.6
    encoder = baseline ^ (rng.random(2000) < 0.1)
    gains = encoder.astype(float) - baseline
    half = 1.96 * gains.std() / np.sqrt(len(gains))
    found = advantage(encoder, baseline)
    assert found.difference == pytest.approx(gains.mean())
    assert found.low == pytest.approx(gains.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(gains.mean() + half, abs=0.1 * half)
    # Independent draws of both would be far wider.
    assert found.high - found.low < 0.6 * 2 * 1.96 * np.sqrt(2 * 0.24 / 2000)


def test_few_images_prove_little():
    assert advantage([1, 1, 1, 0], [1, 0, 1, 0]).in_words.startswith("neither")
    assert advantage([1] * 100, [0] * 100).in_words == "better"
    assert advantage([0] * 100, [1] * 100) == (-1.0, -1.0, -1.0)
    assert advantage([0] * 100, [1] * 100).in_words == "worse"


def test_other_images_are_refused():
    for hits, baseline in (([1, 0], [1]), ([], []), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="of the same images, got shapes"):
            advantage(hits, baseline)

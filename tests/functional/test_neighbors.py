import numpy as np
import pytest

from keras_bt.functional.neighbors import knn_vote, knn_votes


def reference(train, labels, test, classes, k, temperature):
    """The vote by loops, in float64."""
    predictions = []
    for h in test:
        cosine = train @ h / (np.linalg.norm(train, axis=1) * np.linalg.norm(h))
        scores = np.zeros(classes)
        for index in np.argsort(-cosine)[:k]:
            scores[labels[index]] += np.exp((cosine[index] - cosine.max()) / temperature)
        predictions.append(scores.argmax())
    return predictions


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.5), (500, 0.07), (60, 0.001)]
)
def test_vote_matches_float64_loops(rng, k, temperature):
    centers = rng.normal(size=(4, 6))
    labels = rng.integers(0, 4, 60)
    train = centers[labels] + rng.normal(size=(60, 6))
    test = centers[rng.integers(0, 4, 25)] + rng.normal(size=(25, 6))
    expected = reference(train, labels, test, 4, k, temperature)
    for chunk_size in (4, 25, 256):
        votes = knn_vote(
            train, labels, test, classes=4, k=k, temperature=temperature, chunk_size=chunk_size
        )
        np.testing.assert_array_equal(votes, expected)


def test_several_votes_match_single_votes(rng):
    """Includes k above the number of images, and k given twice."""
    train, labels, test = rng.normal(size=(30, 5)), rng.integers(0, 3, 30), rng.normal(size=(9, 5))
    ks, temperatures = (1, 4, 4, 29, 30, 80), (0.05, 1.0)
    votes = knn_votes(
        train, labels, test, classes=3, ks=ks, temperatures=temperatures, chunk_size=4
    )
    assert votes.shape == (6, 2, 9)
    for i, k in enumerate(ks):
        for j, temperature in enumerate(temperatures):
            expected = reference(train, labels, test, 3, k, temperature)
            np.testing.assert_array_equal(votes[i, j], expected)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.neighbors import KNeighborsClassifier

import keras_bt
from keras_bt.evaluation import knn_sweep
from keras_bt.functional import knn_vote


def test_matches_scikit_learn(rng):
    centers = rng.normal(size=(5, 8))
    labels = rng.integers(0, 5, 200)
    train = centers[labels] + rng.normal(size=(200, 8))
    test_labels = rng.integers(0, 5, 80)
    test = centers[test_labels] + rng.normal(size=(80, 8))
    arguments = train, labels, test, test_labels
    swept = knn_sweep(*arguments, ks=(60, 1, 15), temperatures=(0.5, 0.1))
    assert list(swept) == [(k, t) for k in (1, 15, 60) for t in (0.5, 0.1)]
    for (k, temperature), got in swept.items():
        peer = KNeighborsClassifier(
            k, metric="cosine", weights=lambda distance, t=temperature: np.exp((1 - distance) / t)
        )
        expected = peer.fit(train, labels).score(test, test_labels)
        assert got == pytest.approx(expected, abs=1e-6)
        assert got == keras_bt.knn_accuracy(*arguments, k=k, temperature=temperature)
    assert len(set(swept.values())) > 3


def test_default_sweep_is_that_of_solo_learn():
    train = np.eye(3, dtype="float32")
    swept = knn_sweep(train, [0, 1, 2], train, [0, 1, 2])
    assert len(swept) == 64 and swept[1, 0.07] == swept[200, 0.07] == 1.0


@pytest.mark.slow
@given(data=st.data())
def test_single_class_gives_1_and_any_accuracy_lies_in_0_to_1(data):
    dtype = data.draw(st.sampled_from(["float16", "float32"]))
    finite = arrays.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    width = data.draw(st.integers(1, 4))

    def features():
        shape = data.draw(st.integers(1, 5)), width
        return data.draw(arrays.arrays(dtype, shape, elements=finite))

    train, test = features(), features()
    k, labels = data.draw(st.integers(1, 9)), np.arange(len(train)) % 2
    same = np.zeros_like(labels), test, np.zeros(len(test), int)
    assert keras_bt.knn_accuracy(train, *same, k=k) == 1.0
    assert 0 <= keras_bt.knn_accuracy(train, labels, *same[1:], k=k) <= 1


@pytest.mark.slow
@given(exponent=st.integers(-66, 66), k=st.integers(1, 50))
def test_scale_of_the_features_does_not_matter(exponent, k):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(2, 30, 4)).astype("float32")
    train[:4], test[:2] = 0.0, 0.0
    train[4:8] = train[8:12]
    labels, scale = np.arange(30) % 3, np.float32(2.0**exponent)
    expected = knn_vote(train, labels, test, classes=3, k=k)
    for scales in ((scale, 1), (1, scale), (scale, scale)):
        votes = knn_vote(train * scales[0], labels, test * scales[1], classes=3, k=k)
        np.testing.assert_array_equal(votes, expected)


def test_k_is_reduced_to_the_training_images():
    train = np.float32([[1, 0], [0, 1], [0, 2]])
    arguments = (train, [0, 1, 1], np.float32([[1, 0.1]]), [0])
    assert keras_bt.knn_accuracy(*arguments, k=200) == keras_bt.knn_accuracy(*arguments, k=3)


def test_labels_are_any_integers():
    train = np.float32([[1, 0], [0, 1]])
    assert keras_bt.knn_accuracy(train, [70, -3], train, [70, -3]) == 1.0
    assert keras_bt.knn_accuracy(train, [70, -3], train, [70, 5]) == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": np.zeros((2, 3, 4))}, r"train must be \[count, features\].*\(2, 3, 4\)"),
        ({"test_labels": [1]}, r"labels of test must have the shape \(2,\), got \(1,\)"),
        ({"test": np.eye(2, 3)}, "same number of features, got 2 and 3"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
    ],
)
def test_errors_name_the_wrong_argument(change, message):
    train = np.eye(2, dtype="float32")
    arguments = {"train": train, "train_labels": [0, 1], "test": train, "test_labels": [0, 1]}
    with pytest.raises(ValueError, match=message):
        keras_bt.knn_accuracy(**{**arguments, **change})

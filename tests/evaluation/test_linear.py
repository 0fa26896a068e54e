import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import keras_bt
from keras_bt.evaluation import linear as module
from keras_bt.evaluation.subset import evenly_spaced_subset


def blobs(rng, count, spread=1.5, features=6):
    centers = np.random.default_rng(7).normal(size=(4, features))
    labels = np.arange(count) % 4
    return (centers[labels] + spread * rng.normal(size=(count, features))), labels


def test_matches_scikit_learn_with_one_penalty(rng, monkeypatch):
    train, test = blobs(rng, 400), blobs(rng, 400)
    monkeypatch.setattr(module, "INVERSE_PENALTIES", (0.01,))
    scaler = StandardScaler().fit(train[0])
    peer = LogisticRegression(C=0.01, tol=1e-6).fit(scaler.transform(train[0]), train[1])
    expected = peer.score(scaler.transform(test[0]), test[1])
    assert 0.5 < expected < 0.95
    assert keras_bt.linear_probe(*train, *test) == pytest.approx(expected, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize("count", [80, 2400])
def test_penalty_does_not_depend_on_test_images(rng, count):
    """Wrong test labels must not select the worst penalty, which would fit them best."""
    train, test = blobs(rng, count), blobs(rng, 200)
    accuracy = keras_bt.linear_probe(*train, *test)
    wrong_labels = (test[1] + 1) % 4
    assert keras_bt.linear_probe(*train, test[0], wrong_labels) <= 1 - accuracy


def test_matches_scikit_learn_with_more_features_than_images(rng, monkeypatch):
    monkeypatch.setattr(module, "INVERSE_PENALTIES", (0.01,))
    train, test = (blobs(rng, count, spread=4.0, features=100) for count in (40, 400))
    scaler = StandardScaler().fit(train[0])
    peer = LogisticRegression(C=0.01, tol=1e-6).fit(scaler.transform(train[0]), train[1])
    expected = peer.score(scaler.transform(test[0]), test[1])
    assert 0.4 < expected < 0.9
    assert keras_bt.linear_probe(*train, *test) == pytest.approx(expected, abs=0.006)


@pytest.mark.slow
def test_chooses_the_penalty_by_cross_validation(rng, monkeypatch):
    """Noisy data needs a strong penalty; clear data needs a weak one."""
    noisy = blobs(rng, 60, spread=4.0, features=200), blobs(rng, 400, spread=4.0, features=200)
    clear = blobs(rng, 1000, spread=1.5), blobs(rng, 1000, spread=1.5)
    for train, test in (noisy, clear):
        chosen = keras_bt.linear_probe(*train, *test)
        alone = []
        for penalty in module.INVERSE_PENALTIES:
            with monkeypatch.context() as patch:
                patch.setattr(module, "INVERSE_PENALTIES", (penalty,))
                alone.append(keras_bt.linear_probe(*train, *test))
        assert min(alone) <= chosen >= max(alone) - 0.05


@pytest.mark.slow
def test_scale_of_a_feature_does_not_matter(rng):
    train, test = blobs(rng, 200), blobs(rng, 200)
    scale = np.array([1e-3, 1, 1, 1e3, 1, 1])
    scaled = keras_bt.linear_probe(train[0] * scale, train[1], test[0] * scale, test[1])
    assert scaled == pytest.approx(keras_bt.linear_probe(*train, *test), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["none", "half", "all"])
@pytest.mark.parametrize("features", [2, 30])  # fewer than images, and more
@settings(max_examples=4)
@given(seed=st.integers(0, 99), dtype=st.sampled_from(["float32", "float64"]))
def test_any_scale_and_constant_features_are_valid(constant, features, seed, dtype):
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-20, 20, features)
    constants = {"none": 0, "half": features // 2, "all": features}[constant]

    def draw():
        points, labels = blobs(rng, 20, features=features)
        points[:, :constants] = 1.0
        return (points * scale).astype(dtype), labels

    accuracy = keras_bt.linear_probe(*draw(), *draw())
    assert 0 <= accuracy <= 1
    if constant == "all":
        assert accuracy == 0.25


def test_few_label_accuracy_averages_balanced_seeded_draws(rng, monkeypatch):
    train, test = blobs(rng, 400), blobs(rng, 100)
    seen = []

    def spy(train, train_labels, test, test_labels):
        seen.append(train)
        assert np.bincount(train_labels).tolist() == [10] * 4
        return len(seen) / 10

    monkeypatch.setattr(module, "linear_probe", spy)
    assert keras_bt.few_label_accuracy(*train, *test) == pytest.approx(0.3)
    assert len(seen) == 5 and not np.array_equal(seen[0], seen[1])
    first = seen.copy()
    keras_bt.few_label_accuracy(*train, *test)
    np.testing.assert_array_equal(seen[5:], first)


@pytest.mark.slow
def test_few_label_accuracy_is_higher_for_better_features(rng):
    clear = [blobs(np.random.default_rng(s), 200, spread=0.3) for s in (0, 1)]
    noisy = [blobs(np.random.default_rng(s), 200, spread=2.0) for s in (0, 1)]
    accuracy = [keras_bt.few_label_accuracy(*a, *b, draws=2) for a, b in (clear, noisy)]
    assert accuracy[0] > 0.95 > accuracy[1] + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 2400])
def test_class_of_one_image_hardly_changes_the_accuracy(rng, count):
    train, labels = blobs(rng, count)
    test, test_labels = blobs(rng, 200)
    labels[0] = 9
    with_rare_class = keras_bt.linear_probe(train, labels, test, test_labels)
    assert with_rare_class == pytest.approx(
        keras_bt.linear_probe(*blobs(rng, count), test, test_labels), abs=0.1
    )


@pytest.mark.slow
def test_separates_many_small_classes(rng):
    labels = np.arange(2000) % 500
    train = np.eye(500)[labels] + 0.01 * rng.normal(size=(2000, 500))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "INVERSE_PENALTIES", (1.0,))
        assert keras_bt.linear_probe(train, labels, train[:50], labels[:50]) > 0.9


@pytest.mark.parametrize("labels", [[0] * 8, range(8)])
def test_rejects_too_few_classes_or_images(rng, labels):
    train = rng.normal(size=(8, 3))
    with pytest.raises(ValueError, match="needs at least 2 classes, one of them with at least 2"):
        keras_bt.linear_probe(train, labels, train, labels)


def test_errors_name_the_wrong_argument(rng):
    train, labels = blobs(rng, 60)
    with pytest.raises(ValueError, match=r"labels of train must have .* \(60,\), got \(30,\)"):
        keras_bt.few_label_accuracy(train, labels[:30], train, labels)
    with pytest.raises(ValueError, match="draws at least 1, got 10 and 0"):
        keras_bt.few_label_accuracy(train, labels, train, labels, draws=0)
    train[3] = np.nan
    for accuracy in (keras_bt.linear_probe, keras_bt.few_label_accuracy, keras_bt.knn_accuracy):
        with pytest.raises(ValueError, match="train has NaN or infinite features"):
            accuracy(train, labels, train, labels)


@pytest.mark.slow
def test_probe_is_fitted_to_some_of_the_images(rng):
    train, labels = blobs(rng, 400)
    some = evenly_spaced_subset(labels, 100)
    fitted = module.fit_linear_probe(train, labels, max_images=100)
    expected = module.fit_linear_probe(train[some], labels[some])
    assert len(some) == 100
    np.testing.assert_allclose(fitted.decision_function(train), expected.decision_function(train))

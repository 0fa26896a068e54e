import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.evaluation import EmbeddingHealth
from keras_bt.report.snapshots import BINS, Snapshots, compute_snapshot, read_snapshots


def correlation(z_a, z_b, epsilon=1e-5):
    """Cross-correlation matrix in float64."""
    a, b = (
        (z - z.mean(0)) / np.sqrt(z.var(0) + epsilon) for z in (z_a.astype("f8"), z_b.astype("f8"))
    )
    return a.T @ b / len(a)


def test_snapshot_matches_numpy(rng):
    z_a = 3 * rng.normal(size=(200, 10)) + 1
    z_b = z_a + rng.normal(size=(200, 10)) * np.linspace(0.1, 9, 10)
    arrays = compute_snapshot(rng.normal(size=(200, 4)), z_a, z_b)
    c = correlation(z_a, z_b)
    np.testing.assert_allclose(arrays["c"], c, atol=1e-5)
    np.testing.assert_array_equal(arrays["diagonal"], np.histogram(np.diag(c), BINS)[0])
    off = c[~np.eye(10, dtype=bool)]
    np.testing.assert_array_equal(arrays["off_diagonal"], np.histogram(off, BINS)[0])
    np.testing.assert_allclose(arrays["spread"], np.sort(z_a.std(0))[::-1], rtol=1e-5)
    expected = np.linalg.eigvalsh(np.cov(z_a.T, bias=True))[::-1]
    np.testing.assert_allclose(arrays["embedding_variances"], expected, rtol=1e-4)


def test_snapshot_has_a_limited_size(rng):
    z = rng.normal(size=(64, 3000)).astype("float32")
    arrays = compute_snapshot(z[:, :5], z, z)
    assert arrays["c"].shape == (48, 48)
    np.testing.assert_allclose(np.diag(arrays["c"]), 1, atol=1e-3)
    assert arrays["diagonal"].sum() == 1024
    assert arrays["off_diagonal"].sum() == 1024 * 1023
    assert len(arrays["spread"]) == 512


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_saves_before_training_and_after_each_quarter(tiny_model, images, tmp_path, epochs):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
    snapshots = Snapshots(tmp_path / "snapshots", health)
    model.fit(images, batch_size=8, epochs=epochs, callbacks=[health, snapshots], verbose=0)
    saved = sorted(read_snapshots(tmp_path / "snapshots"))
    assert saved[0] == 0 and saved[-1] == epochs and 2 <= len(saved) <= 6


@pytest.mark.slow
def test_snapshots_do_not_change_training(tiny_model, images, tmp_path):
    weights = []
    for with_snapshots in (False, True):
        keras.utils.set_random_seed(1)
        model = tiny_model()
        model.compile("sgd", run_eagerly=True)
        callbacks = []
        if with_snapshots:
            health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
            callbacks = [health, Snapshots(tmp_path / "snapshots", health)]
        model.fit(images, batch_size=8, epochs=3, callbacks=callbacks, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_resuming_from_an_earlier_epoch_deletes_later_snapshots(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    at_epoch_begin = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: at_epoch_begin.append(sorted(read_snapshots(tmp_path)))
    )
    for first, expected in ((0, [0]), (3, [0, 1, 2])):
        health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        callbacks = [health, Snapshots(tmp_path, health), record]
        at_epoch_begin.clear()
        options = {"callbacks": callbacks, "verbose": 0, "batch_size": 8}
        model.fit(images, initial_epoch=first, epochs=8, **options)
        assert at_epoch_begin[0] == expected
        assert sorted(read_snapshots(tmp_path)) == [0, 1, 2, 4, 6, 8]


@pytest.mark.slow
def test_training_continues_if_a_snapshot_cannot_be_written(tiny_model, images, tmp_path, caplog):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    (tmp_path / "snapshots").write_text("a file, not a folder")
    health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
    snapshots = Snapshots(tmp_path / "snapshots", health)
    model.fit(images, batch_size=8, epochs=1, callbacks=[health, snapshots], verbose=0)
    assert "000001.npz could not be written" in caplog.text and "The run continues." in caplog.text

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.evaluation import EmbeddingHealth
from keras_bt.report.snapshots import BINS, Snapshots, read_snapshots, snapshot


def correlation(z_a, z_b, epsilon=1e-5):
    """C as in the paper, in float64."""
    a, b = (
        (z - z.mean(0)) / np.sqrt(z.var(0) + epsilon) for z in (z_a.astype("f8"), z_b.astype("f8"))
    )
    return a.T @ b / len(a)


def test_a_snapshot_is_of_c(rng):
    z_a = 3 * rng.normal(size=(200, 10)) + 1
    z_b = z_a + rng.normal(size=(200, 10)) * np.linspace(0.1, 9, 10)
    taken = snapshot(rng.normal(size=(200, 4)), z_a, z_b)
    c = correlation(z_a, z_b)
    np.testing.assert_allclose(taken["c"], c, atol=1e-5)
    np.testing.assert_array_equal(taken["diagonal"], np.histogram(np.diag(c), BINS)[0])
    off = c[~np.eye(10, dtype=bool)]
    np.testing.assert_array_equal(taken["off_diagonal"], np.histogram(off, BINS)[0])
    np.testing.assert_allclose(taken["spread"], np.sort(z_a.std(0))[::-1], rtol=1e-5)
    expected = np.linalg.eigvalsh(np.cov(z_a.T, bias=True))[::-1]
    np.testing.assert_allclose(taken["embedding_variances"], expected, rtol=1e-4)


def test_of_many_dimensions_it_keeps_some(rng):
    z = rng.normal(size=(64, 3000)).astype("float32")
    taken = snapshot(z[:, :5], z, z)
    assert taken["c"].shape == (48, 48)
    np.testing.assert_allclose(np.diag(taken["c"]), 1, atol=1e-3)
    assert taken["diagonal"].sum() == 1024
    assert taken["off_diagonal"].sum() == 1024 * 1023
    assert len(taken["spread"]) == 512


@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_it_keeps_one_before_training_and_one_a_quarter(tiny_model, images, tmp_path, epochs):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
    snapshots = Snapshots(tmp_path / "snapshots", health)
    model.fit(images, batch_size=8, epochs=epochs, callbacks=[health, snapshots], verbose=0)
    kept = sorted(read_snapshots(tmp_path / "snapshots"))
    assert kept[0] == 0 and kept[-1] == epochs and 2 <= len(kept) <= 6


def test_a_training_is_the_same_with_and_without(tiny_model, images, tmp_path):
    weights = []
    for kept in (False, True):
        keras.utils.set_random_seed(1)
        model = tiny_model()
        model.compile("sgd", run_eagerly=True)
        callbacks = []
        if kept:
            health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
            callbacks = [health, Snapshots(tmp_path / "snapshots", health)]
        model.fit(images, batch_size=8, epochs=3, callbacks=callbacks, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_goes_on_from_before_drops_later_ones(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    there = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: there.append(sorted(read_snapshots(tmp_path)))
    )
    for first, expected in ((0, [0]), (3, [0, 1, 2])):
        health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        callbacks = [health, Snapshots(tmp_path, health), look]
        there.clear()
        told = {"callbacks": callbacks, "verbose": 0, "batch_size": 8}
        model.fit(images, initial_epoch=first, epochs=8, **told)
        assert there[0] == expected
        assert sorted(read_snapshots(tmp_path)) == [0, 1, 2, 4, 6, 8]


def test_a_full_disk_ends_no_training(tiny_model, images, tmp_path, caplog):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    (tmp_path / "snapshots").write_text("no folder")
    health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
    snapshots = Snapshots(tmp_path / "snapshots", health)
    model.fit(images, batch_size=8, epochs=1, callbacks=[health, snapshots], verbose=0)
    assert "000001.npz could not be written" in caplog.text and "goes on" in caplog.text

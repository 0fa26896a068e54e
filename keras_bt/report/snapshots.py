"""Snapshots of the cross-correlation matrix and of the spectra, saved during training."""

import logging
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.evaluation import EmbeddingHealth
from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.spectrum import spread, variances
from keras_bt.model.optimizers import steps_made
from keras_bt.report.failures import log_failures

HEAT_MAP_DIMENSIONS = 48
HISTOGRAM_DIMENSIONS = 1024
MAX_SORTED_VALUES = 512
FILE_PATTERN = "[0-9]" * 6 + ".npz"
BINS = np.linspace(-1.0, 1.0, 81)


class Snapshots(keras.callbacks.Callback):
    """Saves a snapshot before training and after each quarter of the epochs.

    It uses the embeddings that `EmbeddingHealth` computes. A snapshot is therefore saved at
    its first evaluation after each quarter of the epochs, and at the last one.

    Args:
        folder: Folder of the snapshots: `000012.npz` after epoch 12, `000000.npz` before
            training.
        health: Must come before this callback in the list of callbacks.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> encoder = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
        >>> views = keras.layers.GaussianNoise(0.1), keras.layers.GaussianNoise(0.1)
        >>> model = keras_bt.BarlowTwins(encoder, keras_bt.projector(12, (4,)), views)
        >>> model.compile("sgd")
        >>> images = tf.random.stateless_uniform([8, 2, 2, 3], seed=(0, 0))
        >>> health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        >>> snapshots = Snapshots(tempfile.mkdtemp(), health)
        >>> _ = model.fit(images, epochs=2, callbacks=[health, snapshots], verbose=0)
        >>> sorted(file.name for file in snapshots.folder.iterdir())
        ['000000.npz', '000001.npz', '000002.npz']
    """

    def __init__(self, folder: str | Path, health: EmbeddingHealth) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.health = health

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._quarters_saved = -1
        if steps_made(self.model.optimizer) == 0:
            with log_failures(self._file(0)):
                self.health.compute_outputs()
                self._save(0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # A resumed run may restart before epochs that already have a snapshot.
        with log_failures(self.folder):
            for file in self.folder.glob(FILE_PATTERN):
                if int(file.stem) > epoch:
                    file.unlink()
                else:
                    self._quarters_saved = max(self._quarters_saved, self._quarters(int(file.stem)))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        quarters = self._quarters(epoch + 1)
        if "embedding_rank" in (logs or {}) and quarters > self._quarters_saved:
            self._quarters_saved = quarters
            with log_failures(self._file(epoch + 1)):
                self._save(epoch + 1)

    def _quarters(self, epochs: int) -> int:
        return 4 * epochs // self.params["epochs"] if epochs else -1

    def _file(self, epoch: int) -> Path:
        return self.folder / f"{epoch:06d}.npz"

    def _save(self, epoch: int) -> None:
        criterion = self.model.loss
        assert self.health.outputs is not None
        representations, z_a, z_b = self.health.outputs
        arrays = compute_snapshot(representations, z_a, z_b, criterion.epsilon, criterion.centered)
        with atomic.replacing(self._file(epoch)) as aside:
            np.savez_compressed(aside, **arrays)


def compute_snapshot(
    representations: tf.Tensor,
    z_a: tf.Tensor,
    z_b: tf.Tensor,
    epsilon: float = 1e-5,
    centered: bool = True,
) -> dict[str, Any]:
    """Computes the cross-correlation matrix C, its histograms, spreads and spectra.

    Args:
        representations: Float tensor [images, features].
        z_a: Float tensor [images, dim]. Embeddings of view A.
        z_b: Float tensor [images, dim]. The same images in the same order, view B.
        epsilon: See `BarlowTwinsLoss`.
        centered: See `BarlowTwinsLoss`.

    Returns:
        Dict of:

            c                         [shown, shown]: C for up to 48 evenly spaced dimensions
            dimensions                [shown]: their numbers
            diagonal, off_diagonal    [bins]: histograms of C for up to 1,024 dimensions
            spread                    standard deviations of the embedding, descending
            representation_variances  along the principal axes, descending
            embedding_variances       along the principal axes, descending
            images                    number of images

    Example:
        >>> z = np.float32([[1, 1, 0], [-1, -1, 0]])
        >>> compute_snapshot(z, z, z, epsilon=0)["c"].round(3).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    a, b = (standardize(z, epsilon=epsilon, centered=centered) for z in (z_a, z_b))
    counted = evenly_spaced(z_a.shape[1], HISTOGRAM_DIMENSIONS)
    c = cross_correlation(tf.gather(a, counted, axis=1), tf.gather(b, counted, axis=1)).numpy()
    shown = evenly_spaced(len(counted), HEAT_MAP_DIMENSIONS)
    diagonal = np.diagonal(c)
    all_counts = np.histogram(np.clip(c, -1.0, 1.0), BINS)[0]
    diagonal_counts = np.histogram(np.clip(diagonal, -1.0, 1.0), BINS)[0]
    return {
        "dimensions": counted[shown],
        "c": c[np.ix_(shown, shown)],
        "diagonal": diagonal_counts,
        "off_diagonal": all_counts - diagonal_counts,
        "spread": _descending(spread(z_a)),
        "representation_variances": _spectrum(representations),
        "embedding_variances": _spectrum(z_a),
        "images": len(z_a),
    }


def read_snapshots(folder: str | Path) -> dict[int, dict[str, np.ndarray]]:
    """Reads the snapshots of a run, by epoch, ascending; empty if there is no folder.

    Example:
        >>> read_snapshots("no/such/folder")
        {}
    """
    files = sorted(Path(folder).glob(FILE_PATTERN))
    return {int(file.stem): arrays for file in files if (arrays := read_arrays(file))}


def read_arrays(file: Path) -> dict[str, np.ndarray] | None:
    """Reads an npz file; returns None if it does not exist or is damaged.

    Example:
        >>> read_arrays(Path("no/such/file.npz")) is None
        True
    """
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logging.getLogger("keras_bt").warning("%s is damaged and ignored: %s", file, error)
        return None


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Returns at most `most` evenly spaced indices below `count`, with the first and the last.

    Example:
        >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
        ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _spectrum(x: tf.Tensor) -> np.ndarray:
    # n centered rows span at most n - 1 axes.
    return _descending(variances(x))[: max(1, len(x) - 1)]


def _descending(values: tf.Tensor) -> np.ndarray:
    values = np.sort(np.asarray(values))[::-1]
    return values[evenly_spaced(len(values), MAX_SORTED_VALUES)]

"""What a run's page draws of the embeddings, kept at each look of `EmbeddingHealth`."""

import logging
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.spectrum import spread, variances
from keras_bt.model.optimizers import steps_made
from keras_bt.report.failures import log_failures

SHOWN_DIMENSIONS = 48  # of c, as a picture
COUNTED_DIMENSIONS = 1024  # of c, in the histograms
MOST_VALUES = 512  # of a sorted curve
FILES = "[0-9]" * 6 + ".npz"
BINS = np.linspace(-1.0, 1.0, 81)


class Snapshots(keras.callbacks.Callback):
    """Saves snapshots of c, of the spread and of the spectra: before training and at looks.

    Of the looks of `EmbeddingHealth` it takes the first after each quarter of the epochs, and the
    last.

    Args:
        folder: Folder of the snapshots, one file an epoch: `000012.npz`, `000000.npz` before.
        health: `EmbeddingHealth`, which comes before this in `fit`.

    Example:
        >>> Snapshots("runs/digits/snapshots", health=None).folder.name
        'snapshots'
    """

    def __init__(self, folder, health):
        super().__init__()
        self.folder = Path(folder)
        self.health = health

    def on_train_begin(self, logs=None):
        self._taken = -1  # quarters of the epochs that have one
        if steps_made(self.model.optimizer) == 0:
            with log_failures(self._file(0)):
                self.health.embed_images()
                self._save(0)

    def on_epoch_begin(self, epoch, logs=None):
        # Of a training that goes on from before they were taken.
        with log_failures(self.folder):
            for file in self.folder.glob(FILES):
                if int(file.stem) > epoch:
                    file.unlink()
                else:
                    self._taken = max(self._taken, self._quarters(int(file.stem)))

    def on_epoch_end(self, epoch, logs=None):
        quarters = self._quarters(epoch + 1)
        if "embedding_rank" in (logs or {}) and quarters > self._taken:
            self._taken = quarters
            with log_failures(self._file(epoch + 1)):
                self._save(epoch + 1)

    def _quarters(self, epochs):
        return 4 * epochs // self.params["epochs"] if epochs else -1

    def _file(self, epoch):
        return self.folder / f"{epoch:06d}.npz"

    def _save(self, epoch):
        criterion = self.model.loss
        representations, z_a, z_b = self.health.embedded
        taken = snapshot(representations, z_a, z_b, criterion.epsilon, criterion.centered)
        with atomic.replacing(self._file(epoch)) as aside:
            np.savez_compressed(aside, **taken)


def snapshot(representations, z_a, z_b, epsilon=1e-5, centered=True):
    """Arrays that say how far c is from the identity, and how the embeddings are spread.

    Args:
        representations: Float tensor [images, features].
        z_a: Float tensor [images, dim]. Embeddings of view A.
        z_b: Float tensor [images, dim]. The same images in the same order, view B.
        epsilon: See `BarlowTwinsLoss`.
        centered: See `BarlowTwinsLoss`.

    Returns:
        Dict of arrays: "c" [shown, shown], of evenly spaced "dimensions" [shown];
        "diagonal" and "off_diagonal" [bins], how many entries of c lie between `BINS`, of 1,024
        dimensions at the most; "spread", of the embedding's dimensions, descending;
        "representation_variances" and "embedding_variances", along the principal axes that so
        many images can have, descending; "images", their count.

    Example:
        >>> z = np.float32([[1, 1, 0], [-1, -1, 0]])
        >>> snapshot(z, z, z, epsilon=0)["c"].round(3).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    a, b = (standardize(z, epsilon=epsilon, centered=centered) for z in (z_a, z_b))
    counted = evenly_spaced(z_a.shape[1], COUNTED_DIMENSIONS)
    c = cross_correlation(tf.gather(a, counted, axis=1), tf.gather(b, counted, axis=1)).numpy()
    shown = evenly_spaced(len(counted), SHOWN_DIMENSIONS)
    diagonal = np.diagonal(c)
    everything = np.histogram(np.clip(c, -1.0, 1.0), BINS)[0]
    on_diagonal = np.histogram(np.clip(diagonal, -1.0, 1.0), BINS)[0]
    return {
        "dimensions": counted[shown],
        "c": c[np.ix_(shown, shown)],
        "diagonal": on_diagonal,
        "off_diagonal": everything - on_diagonal,
        "spread": _descending(spread(z_a)),
        "representation_variances": _spectrum(representations),
        "embedding_variances": _spectrum(z_a),
        "images": len(z_a),
    }


def read_snapshots(folder):
    """The snapshots of a run by epoch, ascending; none where there is no folder.

    Example:
        >>> read_snapshots("no/such/folder")
        {}
    """
    read = {int(file.stem): read_arrays(file) for file in sorted(Path(folder).glob(FILES))}
    return {epoch: arrays for epoch, arrays in read.items() if arrays}


def read_arrays(file):
    """A dict of the arrays in an npz file; None if there is no such file, or it is damaged.

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
        logging.getLogger("keras_bt").warning("%s is damaged, and left out: %s", file, error)
        return None


def evenly_spaced(count, most):
    """Numbers of at most so many evenly spaced things, the first and the last among them.

    Example:
        >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
        ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _spectrum(x):
    # Centered rows have one axis less than they are.
    return _descending(variances(x))[: max(1, len(x) - 1)]


def _descending(values):
    values = np.sort(np.asarray(values))[::-1]
    return values[evenly_spaced(len(values), MOST_VALUES)]

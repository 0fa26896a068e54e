"""What the page shows, for TensorBoard."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.report.failures import log_failures
from keras_bt.report.snapshots import read_arrays, read_snapshots

SPRITE_SIDE = 32  # pixels of an image in the projector


class EpochScalars(keras.callbacks.TensorBoard):
    """The scalars of Keras's callback, at the number of epochs done, as everywhere in a run."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch + 1, logs)


class TensorBoardPictures(keras.callbacks.Callback):
    """Writes the snapshots of C and of the spread, and the views, as they come.

    The scalars are those of `EpochScalars`, in whose folder it writes.

    Args:
        folder: Path of the run's folder; the logs are in its `tensorboard`.

    Example:
        >>> TensorBoardPictures("runs/digits").log_dir.name
        'tensorboard'
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self.log_dir = self.folder / "tensorboard"

    def on_train_begin(self, logs=None):
        self._goes_on = any((self.log_dir / "pictures").glob("events.*"))
        self._writer = tf.summary.create_file_writer(str(self.log_dir / "pictures"))
        self._written: set[int] = set()
        self._begun = False

    def on_epoch_begin(self, epoch, logs=None):
        # Snapshots have dropped those of epochs that are trained again.
        if self._begun:
            return
        self._begun = True
        if self._goes_on:
            self._written = set(range(epoch + 1))
        else:
            self._write_views()
        self._write_snapshots()

    def on_epoch_end(self, epoch, logs=None):
        self._write_snapshots()

    def on_train_end(self, logs=None):
        self._writer.close()

    def _write_views(self):
        views = read_arrays(self.folder / "views.npz") or {}
        with log_failures(self.log_dir), self._writer.as_default(step=0):
            for name, pixels in views.items():
                tf.summary.image(name, pixels, max_outputs=len(pixels))

    def _write_snapshots(self):
        for epoch, snapshot in read_snapshots(self.folder / "snapshots").items():
            if epoch not in self._written:
                self._written.add(epoch)
                with log_failures(self.log_dir), self._writer.as_default(step=epoch):
                    tf.summary.image("cross_correlation", heat_map(snapshot["c"])[None])
                    tf.summary.histogram("embedding_spread", snapshot["spread"])


def heat_map(c):
    """C as a picture: red is 1, white 0, blue -1; [dim, dim] to uint8 [side, side, 3].

    Example:
        >>> heat_map(np.float32([[1.0, 0.0], [-1.0, 0.0]]))[0, 0].tolist()
        [255, 0, 0]
    """
    c = np.clip(np.asarray(c, "float32"), -1.0, 1.0)
    color = np.stack([1 + np.minimum(c, 0), 1 - np.abs(c), 1 - np.maximum(c, 0)], axis=-1)
    enlarged = color.repeat(max(1, 256 // len(c)), 0).repeat(max(1, 256 // len(c)), 1)
    return np.round(255 * enlarged).astype("uint8")


def write_projector(folder):
    """Writes the representations of map.npz for TensorBoard's projector.

    Args:
        folder: Path of the run's folder.
    """
    folder = Path(folder)
    logs = folder / "tensorboard" / "pictures"
    with np.load(folder / "map.npz") as arrays:
        representations, thumbnails = arrays["representations"], arrays["thumbnails"]
        labels = arrays.get("labels")
        classes = arrays.get("class_names")
    rows = ["\t".join(f"{value:.5g}" for value in row) for row in representations]
    atomic.write_text(logs / "representations.tsv", "\n".join(rows) + "\n")
    config = [
        'tensor_name: "representations"',
        'tensor_path: "representations.tsv"',
        f'sprite {{ image_path: "sprite.png" single_image_dim: {SPRITE_SIDE} '
        f"single_image_dim: {SPRITE_SIDE} }}",
    ]
    if labels is not None:
        names = [" ".join(str(classes[label]).split()) or "-" for label in labels]
        atomic.write_text(logs / "labels.tsv", "\n".join(names) + "\n")
        config.append('metadata_path: "labels.tsv"')
    atomic.write_text(
        logs / "projector_config.pbtxt", "embeddings {\n  " + "\n  ".join(config) + "\n}\n"
    )
    with atomic.replacing(logs / "sprite.png") as aside:
        _sprite(thumbnails).save(aside)


def _sprite(thumbnails):
    from PIL import Image

    columns = int(np.ceil(np.sqrt(len(thumbnails))))
    sheet = Image.new("RGB", (columns * SPRITE_SIDE, columns * SPRITE_SIDE))
    for number, pixels in enumerate(thumbnails):
        row, column = divmod(number, columns)
        image = Image.fromarray(pixels).resize((SPRITE_SIDE, SPRITE_SIDE))
        sheet.paste(image, (column * SPRITE_SIDE, row * SPRITE_SIDE))
    return sheet

"""TensorBoard logs of a run: scalars, images, histograms and the projector."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.report.failures import log_failures
from keras_bt.report.snapshots import read_arrays, read_snapshots

if TYPE_CHECKING:
    from PIL import Image

SPRITE_SIDE = 32  # pixels of a thumbnail in the projector


class EpochScalars(keras.callbacks.TensorBoard):
    """Logs scalars at the number of completed epochs; Keras's callback counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch + 1, logs)


class TensorBoardImages(keras.callbacks.Callback):
    """Writes views, heat maps of C and histograms of the spread during training.

    It reads `views.npz` and the files of `Snapshots`, and writes to `tensorboard/pictures`.

    Args:
        folder: Folder of the run.

    Attributes:
        log_dir: Folder of all TensorBoard logs of the run, also for `EpochScalars`.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.log_dir = self.folder / "tensorboard"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._resumed = any((self.log_dir / "pictures").glob("events.*"))
        self._writer = tf.summary.create_file_writer(str(self.log_dir / "pictures"))
        self._written: set[int] = set()
        self._started = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Not in on_train_begin: `Snapshots` first deletes those of epochs to be repeated.
        if self._started:
            return
        self._started = True
        if self._resumed:
            self._written = set(range(epoch + 1))
        else:
            self._write_views()
        self._write_snapshots()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._write_snapshots()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._writer.close()

    def _write_views(self) -> None:
        views = read_arrays(self.folder / "views.npz") or {}
        with log_failures(self.log_dir), self._writer.as_default(step=0):
            for name, pixels in views.items():
                tf.summary.image(name, pixels, max_outputs=len(pixels))

    def _write_snapshots(self) -> None:
        for epoch, snapshot in read_snapshots(self.folder / "snapshots").items():
            if epoch not in self._written:
                self._written.add(epoch)
                with log_failures(self.log_dir), self._writer.as_default(step=epoch):
                    tf.summary.image("cross_correlation", heat_map_pixels(snapshot["c"])[None])
                    tf.summary.histogram("embedding_spread", snapshot["spread"])


def heat_map_pixels(c: np.ndarray) -> np.ndarray:
    """Colors a matrix: red is 1, white 0, blue -1.

    Args:
        c: Float array [dim, dim], clipped to [-1, 1].

    Returns:
        uint8 array [side, side, 3].

    Example:
        >>> heat_map_pixels(np.float32([[1.0, 0.0], [-1.0, 0.0]]))[0, 0].tolist()
        [255, 0, 0]
    """
    c = np.clip(np.asarray(c, "float32"), -1.0, 1.0)
    color = np.stack([1 + np.minimum(c, 0), 1 - np.abs(c), 1 - np.maximum(c, 0)], axis=-1)
    enlarged = color.repeat(max(1, 256 // len(c)), 0).repeat(max(1, 256 // len(c)), 1)
    return np.round(255 * enlarged).astype("uint8")


def write_projector(folder: str | Path) -> None:
    """Writes the representations of `map.npz` for TensorBoard's projector.

    Args:
        folder: Folder of the run.
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


def _sprite(thumbnails: np.ndarray) -> "Image.Image":
    from PIL import Image

    columns = int(np.ceil(np.sqrt(len(thumbnails))))
    sheet = Image.new("RGB", (columns * SPRITE_SIDE, columns * SPRITE_SIDE))
    for number, pixels in enumerate(thumbnails):
        row, column = divmod(number, columns)
        image = Image.fromarray(pixels).resize((SPRITE_SIDE, SPRITE_SIDE))
        sheet.paste(image, (column * SPRITE_SIDE, row * SPRITE_SIDE))
    return sheet

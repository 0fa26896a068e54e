"""Saves images for the report: views, thumbnails, nearest neighbors, a confusion matrix."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.variables import restored
from keras_bt.data import Images
from keras_bt.functional.image import as_unit_range
from keras_bt.layers.augment import augment
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.report.snapshots import evenly_spaced

VIEWED_IMAGES = 6
MAPPED_IMAGES = 1000
MAX_CONFUSION_CLASSES = 200
QUERIES, NEIGHBORS = 12, 6
MAX_THUMBNAIL_SIDE = 48  # pixels
BATCH_SIZE = 256


def save_views(file: Path, model: BarlowTwins, images: Images, load_size: int) -> None:
    """Saves six images and two views of each.

    The file has the uint8 arrays "images", "view_a" and "view_b". Images of framing "whole" are
    shown with gray bars. The random state of the model's views is restored afterwards.

    Args:
        file: The `.npz` file to write.
        model: A model with views.
        images: Training images; the first six are used.
        load_size: Side of the images before augmentation, in pixels.
    """
    assert model.views is not None
    shown, batch, sizes = images_and_sizes(images, VIEWED_IMAGES, load_size)
    with restored([variable for view in model.views for variable in view.variables]):
        view_a, view_b = (augment(view, batch, sizes, training=True) for view in model.views)
    arrays = {"images": shown, "view_a": view_a, "view_b": view_b}
    _save(file, {name: to_uint8(pixels) for name, pixels in arrays.items()})


def images_and_sizes(
    images: Images, count: int, load_size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """The first images, to show and to cut views from.

    Args:
        images: Images of any framing.
        count: Number of images.
        load_size: Side of the images before augmentation, in pixels.

    Returns:
        shown: Float tensor [count, load_size, load_size, 3] in [0, 1], not squashed.
        images: The same for views.
        sizes: Int tensor [count, 2], true heights and widths; None if they are not squashed.
    """
    batch = next(iter(images.batches(count, load_size, to_crop=True)))
    shown, sizes = batch["image"], batch.get("size")
    if sizes is not None and not images.squashed:
        shown = next(iter(images.framed("pad").batches(count, load_size)))["image"]
    return as_unit_range(shown), as_unit_range(batch["image"]), sizes


def save_map(
    file: Path,
    images: Images,
    image_size: int,
    representations: np.ndarray,
    labels: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> None:
    """Saves representations with thumbnails, nearest neighbors and labels.

    The arrays of at most 1,000 evenly spaced images:

        thumbnails       uint8 [images, side, side, 3]
        names            file names
        representations  [images, features]
        neighbours       [queries, 1 + NEIGHBORS]: numbers of images, the query first
        labels           [images]: numbers of class_names

    With labels, "class_names" has the classes that occur. "confusion" [true, predicted] counts
    all images; it is left out if there are more than 200 classes.

    Args:
        file: The `.npz` file to write.
        images: The images of the representations.
        image_size: Side of the encoder's input, in pixels.
        representations: Float array [count, features], in the order of the images.
        labels: Integer array [count], or None.
        predicted: Integer array [count], predictions of a probe; required with labels.
        class_names: Names of the first classes. The others are named by their number.
    """
    mapped = images.at_most(MAPPED_IMAGES)
    kept = slice(None, None, -(-images.count // MAPPED_IMAGES))  # the images that at_most selects
    side = min(image_size, MAX_THUMBNAIL_SIDE)
    thumbnails = [to_uint8(as_unit_range(b["image"])) for b in mapped.batches(BATCH_SIZE, side)]
    arrays = {
        "thumbnails": np.concatenate(thumbnails),
        "names": np.array(_names(mapped), str),
        "representations": representations[kept],
        "neighbours": nearest_neighbors(representations[kept]),
    }
    if labels is not None:
        present, numbers = np.unique([labels, predicted], return_inverse=True)
        labels, predicted = numbers.reshape(2, -1)
        names = [class_names[n] if 0 <= n < len(class_names) else str(n) for n in present]
        arrays |= {"labels": labels[kept], "class_names": np.array(names, str)}
        if len(present) <= MAX_CONFUSION_CLASSES:
            arrays["confusion"] = np.zeros((len(present), len(present)), int)
            np.add.at(arrays["confusion"], (labels, predicted), 1)
    _save(file, arrays)


def nearest_neighbors(representations: np.ndarray) -> np.ndarray:
    """Finds the nearest neighbors of evenly spaced queries by cosine similarity.

    Args:
        representations: Float array [images, features].

    Returns:
        Integer array [queries, 1 + neighbors]: the number of the query, then its neighbors,
        nearest first.

    Example:
        >>> nearest_neighbors(np.float32([[1, 0], [0, 1], [2, 0.1]]))[0].tolist()
        [0, 2, 1]
    """
    norms = np.linalg.norm(representations, axis=1, keepdims=True)
    normalized = representations / np.maximum(norms, np.finfo("float32").tiny)
    queries = evenly_spaced(len(representations), QUERIES)
    cosines = normalized[queries] @ normalized.T
    cosines[np.arange(len(queries)), queries] = np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, : 1 + NEIGHBORS]


def relative_names(paths: Sequence[str]) -> list[str]:
    """Returns paths relative to their deepest common folder.

    Example:
        >>> relative_names(["/photos/2026/a.jpg", "/photos/b.jpg"])
        ['2026/a.jpg', 'b.jpg']
        >>> relative_names(["/photos/a.jpg"])
        ['a.jpg']
    """
    if not paths:
        return []
    folder = os.path.commonpath([Path(path).parent for path in paths])
    return [os.path.relpath(path, folder) for path in paths]


def _names(images: Images) -> list[str]:
    """Names of files below their common folder; says where another image replaces a file."""
    paths = images.file_names or []
    return [
        f"{name} (unreadable; shows another)" if path in images.replaced else name
        for name, path in zip(relative_names(paths), paths, strict=True)
    ]


def to_uint8(pixels: np.typing.ArrayLike) -> np.ndarray:
    """Converts pixels from [0, 1] to uint8.

    Example:
        >>> to_uint8(np.float32([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    return np.clip(np.round(np.asarray(pixels) * 255.0), 0, 255).astype("uint8")


def _save(file: Path, arrays: dict[str, Any]) -> None:
    with atomic.replacing(file) as aside:
        np.savez_compressed(aside, **arrays)

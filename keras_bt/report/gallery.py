"""What a run's page shows of the images: their views, their map, their neighbours."""

import os
from pathlib import Path

import numpy as np

from keras_bt._support import atomic
from keras_bt._support.variables import restored
from keras_bt.functional.image import as_unit_range
from keras_bt.report.snapshots import evenly_spaced

VIEWED_IMAGES = 6
MAPPED_IMAGES = 1000
MOST_CLASSES = 200  # of a confusion matrix
QUERIES, NEIGHBOURS = 12, 6
THUMBNAIL = 48  # pixels at the most
BATCH_SIZE = 256


def save_views(file, model, images, load_size):
    """Saves a few images and two views of each: arrays "images", "view_a", "view_b" of uint8.

    The model's views draw what they would have drawn without that.

    Args:
        file: `Path` to write.
        model: `BarlowTwins` with views.
        images: `data.Images` to train on; the first are taken.
        load_size: Int. Side to which they are brought before they are viewed, in pixels.
    """
    batch = as_unit_range(next(iter(images.batches(VIEWED_IMAGES, load_size)))["image"])
    with restored([variable for view in model.views for variable in view.variables]):
        view_a, view_b = (view(batch, training=True) for view in model.views)
    drawn = {"images": batch, "view_a": view_a, "view_b": view_b}
    _save(file, {name: as_bytes(pixels) for name, pixels in drawn.items()})


def save_map(
    file, images, image_size, representations, labels=None, predicted=None, class_names=()
):
    """Saves what there is to see of representations.

    Arrays: of evenly spaced ones "thumbnails" uint8 [images, side, side, 3], "names" of their
    files, "representations", "neighbours" [queries, 1 + NEIGHBOURS] (numbers of images, the query
    first) and "labels", numbers among "class_names", which are those that occur; of all
    "confusion" [true, predicted], where classes are not too many.

    Args:
        file: `Path` to write.
        images: `data.Images` that they are of.
        image_size: Int. Side of the images the encoder gets, in pixels.
        representations: Float array [count, features], in the images' order.
        labels: Int array [count], or None.
        predicted: Int array [count], what a probe says of them; given with labels.
        class_names: Strings, the names of the first classes; others go by their number.
    """
    mapped = images.at_most(MAPPED_IMAGES)
    kept = slice(None, None, -(-images.count // MAPPED_IMAGES))  # as at_most takes them
    side = min(image_size, THUMBNAIL)
    thumbnails = [as_bytes(as_unit_range(b["image"])) for b in mapped.batches(BATCH_SIZE, side)]
    arrays = {
        "thumbnails": np.concatenate(thumbnails),
        "names": np.array(told_apart(mapped.file_names or []), str),
        "representations": representations[kept],
        "neighbours": nearest_of_some(representations[kept]),
    }
    if labels is not None:
        present, numbers = np.unique([labels, predicted], return_inverse=True)
        labels, predicted = numbers.reshape(2, -1)
        names = [class_names[n] if 0 <= n < len(class_names) else str(n) for n in present]
        arrays |= {"labels": labels[kept], "class_names": np.array(names, str)}
        if len(present) <= MOST_CLASSES:
            arrays["confusion"] = np.zeros((len(present), len(present)), int)
            np.add.at(arrays["confusion"], (labels, predicted), 1)
    _save(file, arrays)


def nearest_of_some(representations):
    """Evenly spaced queries and the images nearest to them by cosine.

    Args:
        representations: Float array [images, features].

    Returns:
        Int array [queries, 1 + neighbours]: the query's number, then the nearest.

    Example:
        >>> nearest_of_some(np.float32([[1, 0], [0, 1], [2, 0.1]]))[0].tolist()
        [0, 2, 1]
    """
    norms = np.linalg.norm(representations, axis=1, keepdims=True)
    normalized = representations / np.maximum(norms, np.finfo("float32").tiny)
    queries = evenly_spaced(len(representations), QUERIES)
    cosines = normalized[queries] @ normalized.T
    cosines[np.arange(len(queries)), queries] = np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, : 1 + NEIGHBOURS]


def told_apart(paths):
    """Paths below the innermost folder that holds all of them.

    Example:
        >>> told_apart(["/photos/2026/a.jpg", "/photos/b.jpg"]), told_apart(["/photos/a.jpg"])
        (['2026/a.jpg', 'b.jpg'], ['a.jpg'])
    """
    if not paths:
        return []
    folder = os.path.commonpath([Path(path).parent for path in paths])
    return [os.path.relpath(path, folder) for path in paths]


def as_bytes(pixels):
    """Images in [0, 1] as uint8.

    Example:
        >>> as_bytes(np.float32([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    return np.clip(np.round(np.asarray(pixels) * 255.0), 0, 255).astype("uint8")


def _save(file, arrays):
    with atomic.replacing(file) as aside:
        np.savez_compressed(aside, **arrays)

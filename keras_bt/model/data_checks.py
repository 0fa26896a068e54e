"""Validates the data given to `fit`, `evaluate` and `predict`, before the first step."""

import itertools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.functional.image import as_unit_range
from keras_bt.functional.image_batch import check_image_batch
from keras_bt.layers.augment import takes_sizes, without_sizes
from keras_bt.model.inputs import EMPTY_REPLICA, unpack_images, unpack_pair, unpack_sizes
from keras_bt.model.micro_batches import check_micro_batches


def without_labels(x: Any, y: Any = None) -> tuple[Any, Any]:
    """The images in arrays as `fit` takes them, with their sizes, and None; other data unchanged.

    Args:
        x: Images, a pair (images, ...), a dict with the key "image", or a dataset.
        y: Labels or None.

    Example:
        >>> images, labels = np.zeros([8, 4, 4, 3], "uint8"), ["cat"] * 8
        >>> without_labels((images, labels))[0] is without_labels({"image": images}, labels)[0]
        True
    """
    if isinstance(x, dict):
        images = unpack_images(x)
        return (images if "size" not in x else {"image": images, "size": x["size"]}), None
    if isinstance(x, (tuple, list)) and len(x):
        # A list may hold images, of different sizes even.
        first_is_image = len(getattr(x[0], "shape", ())) == 3
        return (x, None) if first_is_image else without_labels(x[0])
    return x, None if hasattr(x, "shape") else y


def checked_data(
    model: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    options: Mapping[str, Any],
    training: bool = True,
) -> tuple[Any, Any]:
    """`x` and `y` of `fit` or `evaluate` after `check_data`, without labels.

    Args:
        model: `BarlowTwins`.
        x: As in `fit`.
        y: As in `fit`.
        batch_size: As in `fit`.
        options: The other arguments.
        training: False for `evaluate`, which has no micro-batches.

    Example:
        >>> model = types.SimpleNamespace(views=(), replicas=1, micro_batches=1)
        >>> images, labels = np.zeros([8, 4, 4, 3], "uint8"), np.arange(8)
        >>> images_again, no_labels = checked_data(model, images, labels, 4, {})
        >>> images_again is images, no_labels
        (True, None)
    """
    if model.views is not None:
        x, y = without_labels(x, y)
    names = ("steps_per_epoch" if training else "steps", "sample_weight", "class_weight")
    micro_batches = model.micro_batches if training else 1
    others = map(options.get, names)
    return check_data(x, y, batch_size, model.views, model.replicas, micro_batches, *others), y


def checked_validation(
    model: Any, batch_size: int | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The other arguments of `fit`, with `validation_data` after `checked_data`.

    Args:
        model: `BarlowTwins`.
        batch_size: As in `fit`.
        options: The other arguments.

    Example:
        >>> model = types.SimpleNamespace(views=(), replicas=1, micro_batches=1)
        >>> checked_validation(model, 8, {"validation_data": np.zeros([1, 4, 4, 3], "uint8")})
        Traceback (most recent call last):
            ...
        ValueError: The loss ... needs at least 2 images, got a batch of 1 ...
    """
    data = options.get("validation_data")
    if data is None:
        return dict(options)
    x, y, weights = data, None, None
    if isinstance(data, tuple):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    evaluation = {"steps": options.get("validation_steps"), "sample_weight": weights}
    batch_size = options.get("validation_batch_size", batch_size)
    x, y = checked_data(model, x, y, batch_size, evaluation, training=False)
    return {**options, "validation_data": x if y is None else (x, y)}


def check_data(
    x: Any,
    y: Any,
    batch_size: int | None,
    views: Any,
    replicas: int,
    micro_batches: int,
    steps: int | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Validates the data given to `fit`: all values of arrays, or the first batch of a dataset.

    The number of images is that of all batches, if the dataset shows it. XLA drops checks inside
    the training step.

    Args:
        x: As in `fit`.
        y: As in `fit`.
        batch_size: As in `fit`.
        views: As in `BarlowTwins`. None if the data must be pairs.
        replicas: Number of replicas.
        micro_batches: Number of micro-batches.
        steps: Steps of an epoch, if they are limited.
        sample_weight: Not supported.
        class_weight: Not supported.

    Returns:
        `x`; of a generator, another one that yields the same batches.

    Raises:
        TypeError: If images are neither uint8 nor floating point.
        ValueError: If the data has weights or a wrong shape or range, or a batch cannot be split
            among replicas and micro-batches.

    Example:
        >>> images = np.zeros([8, 4, 4, 3], "uint8")
        >>> check_data(images, None, 3, views=(), replicas=2, micro_batches=1)
        Traceback (most recent call last):
            ...
        ValueError: The global batch must be divisible by the replicas, got 3 images for 2 replicas.
    """
    if sample_weight is not None or class_weight is not None:
        raise ValueError("The loss is that of a whole batch; images cannot be weighted.")
    x, batches = _with_first_batches(x, y)
    for data in batches:
        if views is not None and (sizes := unpack_sizes(data)) is not None:
            _check_sizes(sizes, views)
        for values in unpack_pair(data) if views is None else (_images_in(data),):
            _check_values(values, views is None)
            counts: tuple[int, int | None] = len(values), None
            if isinstance(x, tf.data.Dataset):
                known = None if steps else compat.elements_and_batch_size(x)
                counts = known if known and min(known) == len(values) else counts
            elif _is_array(x):
                counts = len(values), batch_size or 32
            _check_counts(*counts, replicas, micro_batches)
    return x


def checked_images(x: Any, any_rank: bool) -> Any:
    """`x` of `predict` without labels, after checks as those of `check_data`.

    Args:
        x: As in `predict`.
        any_rank: See `check_image_batch`.

    Returns:
        See `check_data`.

    Example:
        >>> checked_images(np.full([2, 4, 4, 3], 255.0), any_rank=False)
        Traceback (most recent call last):
            ...
        ValueError: Floating point images must be RGB in [0, 1] ... got values in [255, 255].
    """
    x, batches = _with_first_batches(_images_in(x), None)
    for data in batches:
        _check_values(_images_in(data), any_rank)
    return x


def _with_first_batches(x: Any, y: Any) -> tuple[Any, list[Any]]:
    """`x`, and batches of it that can be read before the first step, or all values of arrays."""
    if isinstance(x, tf.data.Dataset):
        batches = list(x.take(1))
    elif isinstance(x, keras.utils.PyDataset):
        batches = [x[index] for index in {0, (x.num_batches or 1) - 1}]
    elif isinstance(x, types.GeneratorType):
        batches = list(itertools.islice(x, 1))
        x = _tuples(itertools.chain(batches, x))
    elif _is_array(x):
        batches = [x if y is None else (x, y)]
    else:
        return x, []  # a DistributedDataset is split among replicas already
    if not batches:
        raise ValueError("The dataset is empty.")
    return x, batches


def _tuples(batches: Iterable[Any]) -> Iterator[Any]:
    """A generator of tuples, which Keras asks for."""
    for batch in batches:
        yield batch if isinstance(batch, tuple) else (batch,)


def _is_array(x: Any) -> bool:
    return isinstance(x, (dict, tuple, list)) or hasattr(x, "shape")


def _images_in(data: Any) -> Any:
    """The images in a batch or in arrays."""
    images, _ = without_labels(data)
    return unpack_images(images) if isinstance(images, dict) else images


def _check_sizes(sizes: tf.Tensor, views: Any) -> None:
    """Checks the true sizes of squashed images, and that all views take them."""
    if tf.reduce_min(sizes) < 1:
        raise ValueError(f"Sizes of images must be at least 1, got {int(tf.reduce_min(sizes))}.")
    for view in views:
        if not takes_sizes(view):
            raise ValueError(without_sizes(view))


def _check_values(values: Any, pairs: bool) -> None:
    """Checks rank and range of all values."""
    check_image_batch(values, any_rank=pairs)
    values = np.asarray(values)
    # The extremes stand for all values, without a floating point copy of them.
    extremes = np.stack([values.min(), values.max()])
    if values.ndim == 4:
        as_unit_range(extremes)
    elif not np.isfinite(extremes).all():
        raise ValueError("Views must hold finite values, got NaN or infinity.")


def _check_counts(count: int, batch_size: int | None, replicas: int, micro_batches: int) -> None:
    """Checks that the loss, replicas and micro-batches can take all batches (size None: one)."""
    last_batch = count if batch_size is None else count % batch_size
    if last_batch == 1 or batch_size == 1:
        raise ValueError(
            "The loss correlates dimensions over a batch and needs at least 2 images, got a "
            f"batch of 1 (of {count} images, batch_size {batch_size}); drop it, for example by "
            "batch(..., drop_remainder=True)."
        )
    batch_size = min(count, batch_size or count)
    if batch_size % replicas:
        raise ValueError(
            f"The global batch must be divisible by the replicas, got {batch_size} images for "
            f"{replicas} replicas."
        )
    last_batch = count % batch_size
    most = -(-last_batch // replicas)
    least = last_batch - most * (replicas - 1)
    if least <= 0 < last_batch:
        raise ValueError(
            f"{EMPTY_REPLICA} Of {count} images, batch_size {batch_size}, the last batch has "
            f"{last_batch} for {replicas} replicas."
        )
    for rows in (batch_size // replicas, *((most, least) if last_batch else ())):
        check_micro_batches(rows, micro_batches)

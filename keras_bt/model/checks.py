"""Validates networks, views, `compile` arguments and data before training."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt.functional.image import as_unit_range
from keras_bt.model.inputs import EMPTY_REPLICA, unpack_images, unpack_pair
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.micro_batches import check_micro_batches


def check_parts(encoder: Any, projector: Any, views: Any, micro_batches: int) -> None:
    """Raises an error unless the arguments make a `BarlowTwins`.

    Raises:
        TypeError: If encoder, projector or a view is not a Keras layer.
        ValueError: If encoder and projector do not fit together, `views` is not a pair, or
            `micro_batches` is below 1.

    Example:
        >>> check_parts("resnet50", None, None, micro_batches=1)
        Traceback (most recent call last):
            ...
        TypeError: encoder must be a Keras model or layer, got 'resnet50'.
    """
    _check_networks(encoder, projector)
    _check_views(views)
    if micro_batches < 1:
        raise ValueError(f"micro_batches must be at least 1, got {micro_batches}.")


def check_compile_arguments(loss: Any, others: Mapping[str, Any]) -> None:
    """Raises an error for arguments of `compile` that Barlow Twins has no use for.

    Args:
        loss: None or a loss.
        others: Further arguments of `keras.Model.compile`, by name.

    Raises:
        TypeError: If the loss is not a `BarlowTwinsLoss`.
        ValueError: If there are metrics or loss weights.

    Example:
        >>> check_compile_arguments("mse", {})
        Traceback (most recent call last):
            ...
        TypeError: loss must be a keras_bt.BarlowTwinsLoss, got 'mse'.
    """
    for name in ("metrics", "weighted_metrics", "loss_weights"):
        if others.get(name):
            raise ValueError(f"BarlowTwins takes no {name}: it has one loss and no labels.")
    if not (loss is None or isinstance(loss, BarlowTwinsLoss)):
        raise TypeError(f"loss must be a keras_bt.BarlowTwinsLoss, got {loss!r}.")


def check_data(
    x: Any,
    y: Any,
    batch_size: int | None,
    views: Any,
    replicas: int,
    micro_batches: int,
    sample_weight: Any = None,
    class_weight: Any = None,
    **_: Any,
) -> None:
    """Validates the data given to `fit`: all values of arrays, or the first batch of a dataset.

    XLA drops checks inside the training step. Generators are not checked: reading from one would
    lose a batch.

    Args:
        x: As in `fit`.
        y: As in `fit`.
        batch_size: As in `fit`.
        views: As in `BarlowTwins`. None if the data must be pairs.
        replicas: Number of replicas.
        micro_batches: Number of micro-batches.
        sample_weight: Not supported.
        class_weight: Not supported.
        **_: Other arguments of `fit`, not checked.

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
    if isinstance(x, tf.distribute.DistributedDataset):
        return  # split among replicas already
    if isinstance(x, tf.data.Dataset):
        data, batch_size = next(iter(x.take(1)), None), None
        if data is None:
            raise ValueError("The dataset is empty.")
    elif isinstance(x, keras.utils.PyDataset):
        data, batch_size = x[0], None
    elif isinstance(x, (dict, tuple, list)) or hasattr(x, "shape"):
        data, batch_size = x if y is None else (x, y), batch_size or 32
    else:
        return  # a generator
    pairs = views is None
    for values in unpack_pair(data) if pairs else (unpack_images(data),):
        _check_values(np.asarray(values), batch_size, pairs)
        _check_batch_sizes(len(values), batch_size, replicas, micro_batches)


def _check_networks(encoder: Any, projector: Any) -> None:
    """Checks that encoder and projector are Keras layers that fit together."""
    for name, network in (("encoder", encoder), ("projector", projector)):
        if not isinstance(network, keras.Layer):
            raise TypeError(f"{name} must be a Keras model or layer, got {network!r}.")
    features = getattr(encoder, "output_shape", None) if encoder.built else None
    if features is not None and len(features) != 2:
        raise ValueError(
            f"The encoder must return [batch, features], got {features}; add a global pooling "
            "layer, such as GlobalAveragePooling2D."
        )
    expected = getattr(projector, "input_shape", None) if projector.built else None
    if features and expected and features[-1] != expected[-1]:
        raise ValueError(
            f"The projector takes {expected[-1]} features, the encoder returns {features[-1]}."
        )


def _check_views(views: Any) -> None:
    """Checks that `views` is a pair of Keras layers or None."""
    if views is None:
        return
    if not isinstance(views, (tuple, list)) or len(views) != 2:
        raise ValueError(f"views must be a pair (view_a, view_b) or None, got {views!r}.")
    for view in views:
        if not isinstance(view, keras.Layer):
            raise TypeError(f"A view must be a Keras layer, got {view!r}.")


def _check_values(values: np.ndarray, batch_size: int | None, pairs: bool) -> None:
    """Checks rank and range of an array, or of one batch (`batch_size` None)."""
    if pairs and values.ndim < 2:
        raise ValueError(f"Views must come in batches [batch, ...], got {values.shape}.")
    if not pairs and values.ndim != 4:
        raise ValueError(
            f"Images must come in batches [batch, height, width, 3], got {values.shape}."
        )
    last_batch = len(values) if batch_size is None else len(values) % batch_size
    if last_batch == 1:
        raise ValueError(
            "The loss correlates dimensions over a batch and needs at least 2 images, got a "
            f"batch of 1 (of {len(values)} images, batch_size {batch_size})."
        )
    # The extremes stand for all values, without a floating point copy of them.
    extremes = np.stack([values.min(), values.max()]) if values.size else values
    if values.ndim == 4:
        as_unit_range(extremes)
    elif not np.isfinite(extremes).all():
        raise ValueError("Views must hold finite values, got NaN or infinity.")


def _check_batch_sizes(
    count: int, batch_size: int | None, replicas: int, micro_batches: int
) -> None:
    """Checks that replicas and micro-batches can share an array, or one batch (size None)."""
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

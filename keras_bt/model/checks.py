"""Validates networks, views and `compile` arguments."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_bt.model.losses import BarlowTwinsLoss


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


def check_encoder(encoder: keras.Layer) -> None:
    """Raises an error unless a layer maps one batch of images to one batch of features.

    The shapes of a subclassed model are not known before it is called, see `check_features`.

    Args:
        encoder: Model or layer.

    Raises:
        ValueError: If it has several inputs or outputs, takes images with the channels first, or
            does not return [batch, features].

    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> check_encoder(keras.Model(images, {"map": images, "features": images}))
        Traceback (most recent call last):
            ...
        ValueError: The encoder must return one tensor [batch, features], got [(None, 8, 8, 3), ...
    """
    takes, returns = (
        getattr(encoder, name, None) if encoder.built else None
        for name in ("input_shape", "output_shape")
    )
    if len(getattr(encoder, "inputs", None) or ()) > 1:
        raise ValueError(f"The encoder must take one tensor of images, got the inputs {takes}.")
    if (
        isinstance(takes, tuple)
        and len(takes) == 4
        and takes[1] in (1, 3)
        and takes[3] not in (1, 3)
    ):
        raise ValueError(
            f"The encoder must take [batch, height, width, channels], got {takes}, channels first; "
            "put keras.layers.Permute((3, 1, 2)) before it."
        )
    if returns is not None:
        _check_features_shape(returns)


def check_features(features: Any) -> None:
    """Raises an error unless the output of an encoder is one tensor [batch, features].

    Args:
        features: What the encoder returns.

    Raises:
        ValueError: If it is another one.

    Example:
        >>> check_features([1.0, 2.0])
        Traceback (most recent call last):
            ...
        ValueError: The encoder must return one tensor [batch, features], got [1.0, 2.0]; ...
    """
    shapes = keras.tree.map_structure(lambda each: getattr(each, "shape", each), features)
    _check_features_shape(shapes)


def _check_features_shape(shape: Any) -> None:
    """Checks an output shape, or the nested shapes of several outputs."""
    if isinstance(shape, dict) or not all(isinstance(n, int | None) for n in shape):
        raise ValueError(
            f"The encoder must return one tensor [batch, features], got {shape}; choose one of "
            "its outputs, as in keras.Model(encoder.input, encoder.outputs[0])."
        )
    if len(shape) != 2:
        raise ValueError(
            f"The encoder must return [batch, features], got {tuple(shape)}; add a global pooling "
            "layer, such as GlobalAveragePooling2D."
        )


def _check_networks(encoder: Any, projector: Any) -> None:
    """Checks that encoder and projector are Keras layers that fit together."""
    for name, network in (("encoder", encoder), ("projector", projector)):
        if not isinstance(network, keras.Layer):
            raise TypeError(f"{name} must be a Keras model or layer, got {network!r}.")
    check_encoder(encoder)
    features = getattr(encoder, "output_shape", None) if encoder.built else None
    expected = getattr(projector, "input_shape", None) if projector.built else None
    if features and expected and features[-1] != expected[-1]:
        raise ValueError(
            f"The projector takes {expected[-1]} features, the encoder returns {features[-1]}."
        )


def _check_views(views: Any) -> None:
    """Checks that `views` is a pair of Keras layers with draws of their own, or None."""
    if views is None:
        return
    if not isinstance(views, (tuple, list)) or len(views) != 2:
        raise ValueError(f"views must be a pair (view_a, view_b) or None, got {views!r}.")
    for view in views:
        if not isinstance(view, keras.Layer):
            raise TypeError(f"A view must be a Keras layer, got {view!r}.")
    if views[0] is views[1]:
        raise ValueError("view_a and view_b are one layer, got it twice; make two layers.")
    if same_seed(views):
        raise ValueError(
            f"view_a and view_b have the same seed, {views[0].seed}, and draw the same "
            "numbers; give them different seeds."
        )


def same_seed(views: Sequence[keras.Layer]) -> bool:
    """Whether two layers of one class draw the same numbers."""
    seeds = [getattr(view, "seed", None) for view in views]
    return type(views[0]) is type(views[1]) and isinstance(seeds[0], int) and seeds[0] == seeds[1]

"""Calls a view on images, or on squashed images with their true sizes."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def takes_sizes(view: Callable[..., Any]) -> bool:
    """Whether a view crops squashed images in their true shape, as `BarlowTwinsView` does.

    Args:
        view: A layer or function from images to images.

    Example:
        >>> takes_sizes(tf.identity)
        False
    """
    return getattr(view, "takes_sizes", False)


def without_sizes(view: Callable[..., Any]) -> str:
    """The error message for squashed images and a view that takes no sizes."""
    name = getattr(view, "name", None) or getattr(view, "__name__", repr(view))
    return (
        f"{name} takes no sizes, so it would see squashed images; give it images.framed('square')."
    )


def augment(
    view: Callable[..., Any], images: tf.Tensor, sizes: tf.Tensor | None = None, **options: Any
) -> tf.Tensor:
    """A view of each image.

    Args:
        view: A layer or function from images to images.
        images: Tensor [batch, height, width, 3], for `view`.
        sizes: Int [batch, 2]: true heights and widths of squashed images; None if they are not
            squashed.
        **options: Further arguments of `view`, such as `training`.

    Returns:
        Float tensor [batch, height, width, 3].

    Raises:
        ValueError: If there are sizes, and `view` does not take them.

    Example:
        >>> augment(tf.identity, tf.zeros([2, 4, 4, 3]), sizes=[[4, 8], [9, 3]])
        Traceback (most recent call last):
            ...
        ValueError: identity takes no sizes, so it would see squashed images; give it ...
    """
    if sizes is None:
        return view(images, **options)
    if not takes_sizes(view):
        raise ValueError(without_sizes(view))
    return view({"images": images, "sizes": sizes}, **options)["images"]

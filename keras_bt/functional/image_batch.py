"""Checks that data is one batch of images of one size."""

from typing import Any

import tensorflow as tf


def check_image_batch(images: Any, any_rank: bool = False) -> None:
    """Raises an error unless images are one array or tensor.

    Args:
        images: Array or tensor [batch, height, width, channels], of any type.
        any_rank: Whether other ranks from 2 on are allowed, for signals and tables.

    Raises:
        TypeError: If it is no array of numbers.
        ValueError: If images have different sizes, a wrong rank, or there are none.

    Example:
        >>> check_image_batch([[1, 2], [3]])
        Traceback (most recent call last):
            ...
        ValueError: Images must be one array [batch, height, width, 3], got a list of 2; resize
        them to one size and join them by np.stack.
    """
    layout = "[batch, ...]" if any_rank else "[batch, height, width, 3]"
    several = None
    if isinstance(images, (list, tuple)):
        several = f"a {type(images).__name__} of {len(images)}"
    elif isinstance(images, tf.RaggedTensor):
        several = f"a RaggedTensor {images.shape}"
    elif str(getattr(images, "dtype", "")) == "object":
        several = f"an array of {len(images)} objects"
    if several:
        raise ValueError(
            f"Images must be one array {layout}, got {several}; resize them to one size and join "
            "them by np.stack."
        )
    if not hasattr(images, "shape"):
        raise TypeError(f"Images must be an array {layout}, got {type(images).__name__}.")
    rank = len(images.shape)
    if rank < 2 or not (any_rank or rank == 4):
        name = "Views" if any_rank else "Images"
        raise ValueError(f"{name} must come in batches {layout}, got {tuple(images.shape)}.")
    if images.shape[0] == 0:
        raise ValueError(f"There are no images: got an array {tuple(images.shape)}.")

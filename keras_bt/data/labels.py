"""Class numbers from labels of any type."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bt.data.images import HOLD_OUT_EVERY


def class_numbers(labels: Sequence[Any]) -> tuple[np.ndarray, tuple[bytes, ...]]:
    """The class number of each image, and the names of the classes.

    Args:
        labels: Of each image: an int, which is its class number; or bytes, the name of its class;
            or None.

    Returns:
        numbers: int64 [images].
        names: Sorted; none if the labels are ints.

    Example:
        >>> numbers, names = class_numbers([b"dog", b"cat", b"dog"])
        >>> numbers.tolist(), names
        ([1, 0, 1], (b'cat', b'dog'))
    """
    if not isinstance(labels[0], bytes):
        return np.array(labels, np.int64), ()
    names = tuple(sorted(set(labels)))
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[label] for label in labels], np.int64), names


def why_unusable(labels: Sequence[Any]) -> str:
    """Why labels cannot be used; empty if they can.

    Args:
        labels: See `class_numbers`.

    Example:
        >>> why_unusable([3, 3, 3, 3, 3])
        'all are equal'
    """
    if len({type(label) for label in labels}) > 1 or labels[0] is None:
        return "not every record has one integer, or one text"
    if len(labels) < HOLD_OUT_EVERY:
        return f"there are fewer than {HOLD_OUT_EVERY} images"
    if len(set(labels)) < 2:
        return "all are equal"
    if isinstance(labels[0], int) and min(labels) < 0:
        return "some are negative"
    return ""

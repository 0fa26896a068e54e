"""Class numbers from labels of any type, and the images that they hold out."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_bt.data.files import printable
from keras_bt.data.images import HOLD_OUT_EVERY, Images, Source
from keras_bt.data.shards import Shard


@dataclasses.dataclass(frozen=True)
class Classes:
    """The class number of each image, and the names of the classes.

    Numbers are int64 [images], or None if the labels are no classes. There are no names if the
    labels are numbers.
    """

    numbers: np.ndarray | None
    names: tuple[bytes, ...] = ()

    @property
    def count(self) -> int | None:
        """Number of classes."""
        return None if self.numbers is None else len(self.names) or int(self.numbers.max()) + 1


def classes_of(labels: Sequence[Any], name: str, expected: bool = True) -> Classes:
    """The classes that labels stand for.

    Args:
        labels: Of each image: an int, which is its class number; or bytes, the name of its class;
            or None.
        name: Name of the images, for a warning that labels are ignored.
        expected: Whether there is such a warning.

    Example:
        >>> classes = classes_of([b"dog", b"cat", b"dog", b"cat", b"cat"], "pets")
        >>> classes.numbers.tolist(), classes.names, classes.count
        ([1, 0, 1, 0, 0], (b'cat', b'dog'), 2)
    """
    if reason := _why_unusable(labels):
        if expected:
            message = "%s: labels are ignored, because %s."
            logging.getLogger(__name__).warning(message, printable(name), reason)
        return Classes(None)
    if not isinstance(labels[0], bytes):
        return Classes(np.array(labels, np.int64))
    names = tuple(sorted(set(labels)))
    number = {name: index for index, name in enumerate(names)}
    return Classes(np.array([number[label] for label in labels], np.int64), names)


def source_of_shards(
    name: str,
    shards: Sequence[Shard],
    classes: Classes,
    images: Callable[[str, np.ndarray], Images],
    digest: str,
) -> Source:
    """The images of files; with classes, every fifth is held out.

    Args:
        name: Name of the source.
        shards: One shard per file.
        classes: The classes of all images.
        images: Opens the images with some numbers, under a name.
        digest: See `Source`.
    """
    numbers = np.arange(sum(len(shard.contents.labels) for shard in shards))
    if classes.numbers is None:
        return Source(name, images(name, numbers), digest=digest)
    is_held_out = numbers % HOLD_OUT_EVERY == 0
    return Source(
        name,
        images(f"{name} (train)", numbers[~is_held_out]),
        images(f"{name} (held out)", numbers[is_held_out]),
        classes.count,
        class_names=tuple(each.decode("utf-8", "replace") for each in classes.names),
        digest=digest,
    )


def _why_unusable(labels: Sequence[Any]) -> str:
    """Why labels cannot be used; empty if they can."""
    if len({type(label) for label in labels}) > 1 or labels[0] is None:
        return "not every record has one integer, or one text"
    if len(labels) < HOLD_OUT_EVERY:
        return f"there are fewer than {HOLD_OUT_EVERY} images"
    if len(set(labels)) < 2:
        return "all are equal"
    if isinstance(labels[0], int) and min(labels) < 0:
        return "some are negative"
    return ""

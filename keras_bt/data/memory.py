"""Images in memory: arrays, and scikit-learn's digits."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_bt.data.decode import image_and_label
from keras_bt.data.images import Images, Source

BATCH_SIZE = 256
MOST_BYTES = 2**30  # of decoded images that a run keeps in memory


def digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, in 10 classes.

    Returns:
        A source of 1,437 training images and 360 held-out images.

    Example:
        >>> digits().train.count
        1437
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype("uint8")
    train, test, train_labels, test_labels = train_test_split(
        images, bunch.target, test_size=0.2, stratify=bunch.target, random_state=0
    )
    return Source(
        "digits",
        from_arrays(train, train_labels, name="digits (train)"),
        from_arrays(test, test_labels, name="digits (held out)"),
        classes=10,
    )


def from_arrays(
    images: np.ndarray | tf.Tensor,
    labels: Sequence[int] | np.ndarray | None = None,
    name: str = "array",
) -> Images:
    """Images from an array.

    Args:
        images: Array [count, height, width, 3], [count, height, width, 1] or [count,
            height, width]; uint8 in 0...255 or floating point in [0, 1].
        labels: Ints [count], or None.
        name: Name for messages.

    Raises:
        ValueError: If the shape, dtype or range of the images is wrong, or their number differs
            from that of the labels.

    Example:
        >>> from_arrays(np.zeros([2, 8, 8], "uint8")).count
        2
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"{name}: images must be [count, height, width, 3] or gray, got shape {images.shape}."
        )
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype("float32", copy=False)
        if not (images.min() >= 0 and images.max() <= 1):  # NaN included
            raise ValueError(
                f"{name}: floating point images must lie in [0, 1] (uint8 means 0...255), "
                f"got values in [{images.min():g}, {images.max():g}]."
            )
    elif images.dtype != np.uint8:
        raise ValueError(f"{name}: images must be uint8 or floating point, got {images.dtype}.")
    label_array = None if labels is None else _checked_labels(labels, len(images), name)
    height, width = images.shape[1:3]
    pixels = tf.convert_to_tensor(images)

    def decode(index: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.broadcast_to(tf.gather(pixels, index), (height, width, 3))
        label = None if label_array is None else tf.gather(label_array, index)
        return image_and_label(image, label)

    count = len(images)
    return Images(
        name, count, tf.data.Dataset.range(count), decode, labels is not None, shuffle_buffer=count
    )


def fits_into_memory(count: int, size: int) -> bool:
    """Whether a run keeps so many decoded images in memory.

    Args:
        count: Number of images.
        size: Their side in pixels.

    Example:
        >>> fits_into_memory(50_000, 64), fits_into_memory(50_000, 224)
        (True, False)
    """
    return 3 * size**2 * count <= MOST_BYTES


def in_memory(images: Images, size: int) -> Images:
    """The same images in the same order, decoded once and kept in memory for random crops.

    Images of framing "whole" are kept squashed, with their true sizes, and cannot be evaluated
    then, unless all of them are squares of `size` anyway.

    Args:
        images: Images of any source.
        size: Side of the square images, in pixels; see `Images.framed`.

    Example:
        >>> in_memory(digits().train, size=4).count
        1437
    """
    batches = list(images.batches(BATCH_SIZE, size, to_crop=True).as_numpy_iterator())
    pixels = np.concatenate([batch["image"] for batch in batches])
    labels = np.concatenate([batch["label"] for batch in batches]) if images.labelled else None
    with tf.device("CPU:0"):  # where `tf.data` takes them from
        kept = from_arrays(pixels, labels, images.name)
        if images.framing == "whole":
            kept = _with_sizes(kept, np.concatenate([batch["size"] for batch in batches]), size)
    return dataclasses.replace(
        kept,
        shuffle_buffer=images.shuffle_buffer,
        replaced=images.replaced,
        file_names=images.file_names,
        framing=images.framing,
    )


def _with_sizes(images: Images, sizes: np.ndarray, size: int) -> Images:
    """Squashed images with their true sizes; the images themselves if none is squashed."""
    if (sizes == size).all():
        return images
    true_sizes = tf.convert_to_tensor(sizes)

    def decode(index: tf.Tensor) -> dict[str, tf.Tensor]:
        return {**images.decode(index), "size": tf.gather(true_sizes, index)}

    return dataclasses.replace(images, decode=decode, squashed=True)


def _checked_labels(labels: Sequence[int] | np.ndarray, count: int, name: str) -> np.ndarray:
    """Labels as int64 [count]; rejects other shapes and dtypes."""
    array = np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name}: labels must be integers, got {array.dtype}.")
    if array.shape != (count,):
        raise ValueError(f"{name}: {count} images, but labels of shape {array.shape}.")
    return array.astype("int64")

"""Images held in memory: arrays, and scikit-learn's digits."""

import numpy as np
import tensorflow as tf

from keras_bt.data.images import Images, Source, image_and_label


def digits():
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, a fifth held out.

    Returns:
        `Source` of 1,437 images to train on and 360 held out, 10 classes.

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


def from_arrays(images, labels=None, name="array"):
    """Images held in memory.

    Args:
        images: Array [count, height, width, 3], [count, height, width, 1] or [count,
            height, width]; uint8 in 0...255 or floating point in [0, 1].
        labels: Ints [count], or None.
        name: What to call them in messages.

    Returns:
        `Images`.

    Raises:
        ValueError: If the shape or the range of the pixels is another, or if there are
            not as many labels as images.

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
    if labels is not None:
        labels = np.asarray(labels)
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name}: labels must be integers, got {labels.dtype}.")
        labels = labels.astype("int64")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{name}: {len(images)} images, but labels of shape {labels.shape}.")
    height, width = images.shape[1:3]
    pixels = tf.convert_to_tensor(images)

    def decode(index):
        image = tf.broadcast_to(tf.gather(pixels, index), (height, width, 3))
        return image_and_label(image, None if labels is None else tf.gather(labels, index))

    count = len(images)
    return Images(
        name, count, tf.data.Dataset.range(count), decode, labels is not None, shuffle_buffer=count
    )

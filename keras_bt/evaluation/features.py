"""From images to representations."""

import numpy as np
import tensorflow as tf

from keras_bt.functional.image import as_unit_range


def extract_features(encoder, dataset):
    """Representations of a data set of images, and their labels.

    Args:
        encoder: From a float batch [batch, height, width, 3] in [0, 1] to [batch,
            features]: a Keras model, a `BarlowTwins` model or a loaded SavedModel.
        dataset: `tf.data.Dataset` of batches: images (uint8, or floating point in
            [0, 1]), tuples (images, labels, ...), or dicts {"image", "label"}.

    Returns:
        representations: Float32 array [count, features], in the data set's order.
        labels: Array [count], or None without labels.

    Raises:
        ValueError: If the data set is empty or the encoder does not return [batch,
            features].

    Example:
        >>> import keras
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 4, 4, 3], tf.uint8))
        >>> representations, labels = extract_features(keras.layers.Flatten(), images)
        >>> representations.shape, labels
        ((2, 48), None)
    """
    return extract_compiled(compile_encoder(encoder), dataset)


def compile_encoder(encoder):
    """An encoder as the compiled function that `extract_compiled` calls, again and again.

    Args:
        encoder: See `extract_features`.

    Returns:
        Function from a batch of images, uint8 or floating point in [0, 1], to float32
        representations.

    Example:
        >>> import keras
        >>> compile_encoder(keras.layers.Flatten())(tf.ones([1, 1, 1, 3])).numpy()
        array([[1., 1., 1.]], dtype=float32)
    """

    @any_batch_size
    def encode(images):
        return tf.cast(encoder(as_unit_range(images), training=False), tf.float32)

    return encode


def any_batch_size(function):
    """A function of a batch of images, compiled once for batches of all sizes.

    Args:
        function: From a tensor [batch, ...].

    Returns:
        Function from a tensor or array [batch, ...] to what `function` returns.

    Example:
        >>> double = any_batch_size(lambda images: 2 * images)
        >>> [int(double(tf.ones([size])).shape[0]) for size in (1, 3)]
        [1, 3]
    """
    compiled = tf.function(function)

    def call(images):
        images = tf.convert_to_tensor(images)
        signature = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        return compiled.get_concrete_function(signature)(images)

    return call


def extract_compiled(encode, dataset):
    """`extract_features` for an encoder compiled beforehand, so that repeated calls trace it once.

    Args:
        encode: From `compile_encoder`.
        dataset: See `extract_features`.

    Returns:
        As `extract_features`.

    Example:
        >>> import keras
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 4, 4, 3], tf.uint8))
        >>> extract_compiled(compile_encoder(keras.layers.Flatten()), images)[0].shape
        (2, 48)
    """
    representations, labels = [], []
    for batch in dataset:
        images, label = _images_and_label(batch)
        representation = encode(images)
        if representation.shape.rank != 2:
            raise ValueError(
                f"The encoder must return [batch, features], got {representation.shape}."
            )
        representations.append(representation.numpy())
        if label is not None:
            labels.append(np.asarray(label))
    if not representations:
        raise ValueError("The data set to extract_features is empty.")
    return np.concatenate(representations), np.concatenate(labels) if labels else None


def _images_and_label(batch):
    if isinstance(batch, dict):
        return batch["image"], batch.get("label")
    if isinstance(batch, (tuple, list)):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None

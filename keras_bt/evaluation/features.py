"""Extracts features: the output of an encoder for every image of a dataset."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support.errors import assertions_in_one_line
from keras_bt.functional.image import as_unit_range
from keras_bt.functional.image_batch import check_image_batch
from keras_bt.model.checks import check_encoder, check_features

# Float images in [0, 1] to [batch, features]; takes `training`.
Encoder = Callable[..., tf.Tensor]


def extract_features(
    encoder: Encoder, dataset: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the features of all images of a dataset, and their labels.

    Args:
        encoder: Maps a float batch [batch, height, width, 3] in [0, 1] to [batch, features].
            A Keras model, a `BarlowTwins` model or a loaded SavedModel.
        dataset: Batches of images (uint8, or floating point in [0, 1]), tuples
            (images, labels, ...) or dicts {"image", "label"}.

    Returns:
        features: Float32 array [count, features], in the order of the dataset.
        labels: Array [count], or None without labels.

    Raises:
        ValueError: If the dataset is empty, images have a wrong shape or range, or the encoder
            does not return [batch, features].

    Example:
        >>> import keras
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 4, 4, 3], tf.uint8))
        >>> features, labels = extract_features(keras.layers.Flatten(), images)
        >>> features.shape, labels
        ((2, 48), None)
    """
    return extract_compiled(compile_encoder(encoder), dataset)


def compile_encoder(encoder: Encoder) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles an encoder in inference mode, for repeated calls of `extract_compiled`.

    Args:
        encoder: See `extract_features`.

    Returns:
        Function from a batch of images, uint8 or floating point in [0, 1], to float32 features.

    Example:
        >>> import keras
        >>> compile_encoder(keras.layers.Flatten())(tf.ones([1, 1, 1, 3])).numpy()
        array([[1., 1., 1.]], dtype=float32)
    """

    if isinstance(encoder, keras.Layer):
        check_encoder(encoder)

    @compile_for_any_batch_size
    def encode(images: tf.Tensor) -> tf.Tensor:
        features = encoder(as_unit_range(images), training=False)
        if not tf.is_tensor(features):  # several outputs; `extract_compiled` checks a tensor
            check_features(features)
        return tf.cast(features, tf.float32)

    return encode


def compile_for_any_batch_size(function: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
    """Compiles a function of a batch of images once for batches of all sizes.

    Args:
        function: Takes a tensor [batch, ...].

    Returns:
        Function that takes a tensor or array [batch, ...] and returns the same values.

    Example:
        >>> double = compile_for_any_batch_size(lambda images: 2 * images)
        >>> [int(double(tf.ones([size])).shape[0]) for size in (1, 3)]
        [1, 3]
    """
    compiled = tf.function(function, autograph=False)  # its errors have dozens of lines

    def call(images: Any) -> Any:
        images = tf.convert_to_tensor(images)
        signature = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        with assertions_in_one_line():
            return compiled.get_concrete_function(signature)(images)

    return call


def extract_compiled(
    encode: Callable[[tf.Tensor], tf.Tensor], dataset: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """`extract_features` with a compiled encoder, which repeated calls trace only once.

    Args:
        encode: From `compile_encoder`.
        dataset: See `extract_features`.

    Returns:
        As `extract_features`.

    Raises:
        ValueError: As `extract_features`.

    Example:
        >>> import keras
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 4, 4, 3], tf.uint8))
        >>> extract_compiled(compile_encoder(keras.layers.Flatten()), images)[0].shape
        (2, 48)
    """
    features, labels = [], []
    for batch in dataset:
        images, batch_labels = _images_and_labels(batch)
        check_image_batch(images)
        batch_features = encode(images)
        check_features(batch_features)
        features.append(batch_features.numpy())
        if batch_labels is not None:
            labels.append(np.asarray(batch_labels))
    if not features:
        raise ValueError("The dataset of extract_features is empty; give it at least one batch.")
    return np.concatenate(features), np.concatenate(labels) if labels else None


def _images_and_labels(batch: Any) -> tuple[Any, Any]:
    """The images and the labels, or None, of a batch in any of the three forms."""
    if isinstance(batch, dict):
        return batch["image"], batch.get("label")
    if isinstance(batch, (tuple, list)):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None

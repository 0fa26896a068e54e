"""Reads images and pairs of views from batches as `fit` takes them."""

from typing import Any

import keras
import tensorflow as tf

from keras_bt.distribution.collectives import current_replicas
from keras_bt.functional.image import as_unit_range

EMPTY_REPLICA = "A replica has no images: drop the short last batch (drop_remainder=True)."


def unpack_images(data: Any) -> Any:
    """The images in a batch as `fit` takes it: images, (images, ...), or {"image": images, ...}.

    Keras puts the tuples that it is given into another tuple.

    Raises:
        ValueError: If a dict has no key "image".

    Example:
        >>> unpack_images((({"image": "images", "label": "labels"}, "labels"),))
        'images'
    """
    images = data
    while isinstance(images, (tuple, list)):
        images = images[0]
    if isinstance(images, dict):
        if "image" not in images:
            raise ValueError(f"A dict of data must have the key 'image', got {sorted(images)}.")
        images = images["image"]
    return images


def unpack_sizes(data: Any) -> Any:
    """True heights and widths of the images in a batch as `fit` takes it; None without them.

    Only dicts {"image": images, "size": sizes, ...} have them, see `data.Images.framed`.

    Raises:
        ValueError: If the sizes are no integers [batch, 2].

    Example:
        >>> unpack_sizes(({"image": "images", "size": tf.constant([[30, 40]])},)).shape
        TensorShape([1, 2])
        >>> unpack_sizes("images") is None
        True
    """
    while isinstance(data, (tuple, list)) and len(data):
        data = data[0]
    sizes = data.get("size") if isinstance(data, dict) else None
    if sizes is None:
        return None
    sizes = tf.convert_to_tensor(sizes)
    if sizes.shape.rank != 2 or sizes.shape[-1] != 2 or not sizes.dtype.is_integer:
        raise ValueError(
            "The key 'size' must hold the true height and width of each image, integers "
            f"[batch, 2], got {sizes.dtype.name} {sizes.shape}; rename it if it means something "
            "else."
        )
    return sizes


def unpack_pair(data: Any) -> tuple[Any, Any]:
    """Both views in a batch of pairs.

    Raises:
        ValueError: If the batch is not a pair.

    Example:
        >>> unpack_pair(("view a", "view b")), unpack_pair((("view a", "view b"), "labels"))
        (('view a', 'view b'), ('view a', 'view b'))
    """
    view_a, view_b, _ = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(view_a, (tuple, list)) and len(view_a) == 2:  # a pair, and perhaps labels
        view_a, view_b = view_a
    if view_b is None:
        raise ValueError(
            "With views=None the dataset must yield pairs (view_a, view_b), "
            f"got {tf.nest.map_structure(lambda a: getattr(a, 'shape', a), data)}."
        )
    return view_a, view_b


def as_encoder_input(data: Any) -> tf.Tensor:
    """Data in the range that an encoder takes: images in [0, 1], anything else unchanged.

    Args:
        data: Images [batch, height, width, channels], uint8 or floating point in [0, 1]; or a
            tensor [batch, ...] of another rank, in any range.

    Returns:
        Images as float32 in [0, 1], see `functional.image.as_unit_range`; other data unchanged.

    Example:
        >>> as_encoder_input(tf.fill([2, 4, 4, 3], tf.constant(255, tf.uint8))).numpy().max()
        np.float32(1.0)
        >>> as_encoder_input([[-3.0, 40.0]]).numpy()
        array([[-3., 40.]], dtype=float32)
    """
    data = tf.convert_to_tensor(data)
    return as_unit_range(data) if data.shape.rank == 4 else data


def assert_not_empty(data: tf.Tensor) -> None:
    """Stops a step on several replicas if this one has no images, where shapes do not show it."""
    # TensorFlow's oneDNN convolutions give no images a wrong shape, and other replicas wait.
    if current_replicas().count > 1 and data.shape[0] is None:
        tf.debugging.assert_greater(tf.shape(data)[0], 0, EMPTY_REPLICA)

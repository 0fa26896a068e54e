"""What `BarlowTwins` is made of and trained on, and what may be wrong with it."""

import keras
import numpy as np
import tensorflow as tf

from keras_bt.distribution.collectives import current_replicas
from keras_bt.functional.image import as_unit_range
from keras_bt.model.micro_batches import check_micro_batches

NO_IMAGES = "A replica is without images: leave out short last batches, by drop_remainder=True."


def images_of(data):
    """The images in what `fit` takes: a batch, (images, ...), or a dict with the key "image".

    Example:
        >>> images_of(({"image": "those", "label": "these"},))
        'those'
    """
    images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(images, dict):
        if "image" not in images:
            raise ValueError(f"A dict of data must have the key 'image', got {sorted(images)}.")
        images = images["image"]
    return images


def pair_of(data):
    """The two views in data that has them ready-made.

    Example:
        >>> pair_of(("view a", "view b"))
        ('view a', 'view b')
    """
    view_a, view_b, _ = keras.utils.unpack_x_y_sample_weight(data)
    if view_b is None:
        raise ValueError(
            "With views=None the dataset has to yield pairs (view_a, view_b), "
            f"got {tf.nest.map_structure(lambda a: getattr(a, 'shape', a), data)}."
        )
    return view_a, view_b


def check_networks(encoder, projector):
    """Refuses an encoder and a projector that cannot be trained together.

    Example:
        >>> check_networks("resnet50", None)
        Traceback (most recent call last):
            ...
        TypeError: encoder must be a Keras model or layer, got 'resnet50'.
    """
    for name, network in (("encoder", encoder), ("projector", projector)):
        if not isinstance(network, keras.layers.Layer):
            raise TypeError(f"{name} must be a Keras model or layer, got {network!r}.")
    features = getattr(encoder, "output_shape", None) if encoder.built else None
    if features is not None and len(features) != 2:
        raise ValueError(
            f"The encoder must return [batch, features], got {features}; add a "
            "GlobalAveragePooling2D layer."
        )
    expected = getattr(projector, "input_shape", None) if projector.built else None
    if features and expected and features[-1] != expected[-1]:
        raise ValueError(
            f"The projector takes {expected[-1]} features, the encoder returns {features[-1]}."
        )


def check_views(views):
    """Refuses views that are not a pair of Keras layers, nor None.

    Example:
        >>> check_views(["crop"])
        Traceback (most recent call last):
            ...
        ValueError: views must be a pair (view_a, view_b) or None, got ['crop'].
    """
    if views is None:
        return
    if not isinstance(views, (tuple, list)) or len(views) != 2:
        raise ValueError(f"views must be a pair (view_a, view_b) or None, got {views!r}.")
    for view in views:
        if not isinstance(view, keras.layers.Layer):
            raise TypeError(f"A view must be a Keras layer, got {view!r}.")


def check_data(x, y, batch_size, pairs, replicas, micro_batches):
    """Meets wrong images before anything is compiled; XLA could not tell of them later.

    Args:
        x: What `fit` takes. Generators are not looked into, for they would lose a batch.
        y: As in `fit`.
        batch_size: As in `fit`.
        pairs: Bool. Whether the data has to be pairs of views.
        replicas: Int.
        micro_batches: Int.

    Raises:
        ValueError: If the first batch, or an array, does not hold images in range, or cannot
            be shared out to the replicas and their micro-batches.

    Example:
        >>> images = np.zeros([8, 4, 4, 3], "uint8")
        >>> check_data(images, None, 3, pairs=False, replicas=2, micro_batches=1)
        Traceback (most recent call last):
            ...
        ValueError: The global batch must be divisible by the replicas, got 3 images for 2 replicas.
    """
    if isinstance(x, tf.distribute.DistributedDataset):
        return  # in parts already
    if isinstance(x, tf.data.Dataset):
        data, batch_size = next(iter(x.take(1)), None), None
        if data is None:
            raise ValueError("The dataset is empty.")
    elif isinstance(x, keras.utils.PyDataset):
        data, batch_size = x[0], None
    elif isinstance(x, (dict, tuple, list)) or hasattr(x, "shape"):
        data, batch_size = x if y is None else (x, y), batch_size or 32
    else:
        return  # a generator: to look would take its first batch
    for images in pair_of(data) if pairs else (images_of(data),):
        _check_images(images, batch_size)
        _check_parts(len(images), batch_size, replicas, micro_batches)


def assert_images(images):
    """Stops a step in which a replica has no images, where that cannot be known before."""
    # TensorFlow's oneDNN convolutions give no images a wrong shape, and other replicas wait.
    if current_replicas().count > 1 and images.shape[0] is None:
        tf.debugging.assert_greater(tf.shape(images)[0], 0, NO_IMAGES)


def _check_parts(count, batch_size, replicas, micro_batches):
    """Refuses batches that cannot be shared out: of an array, or one batch (`batch_size` None)."""
    batch_size = min(count, batch_size or count)
    if batch_size % replicas:
        raise ValueError(
            f"The global batch must be divisible by the replicas, got {batch_size} images for "
            f"{replicas} replicas."
        )
    last_batch = count % batch_size
    most = -(-last_batch // replicas)
    least = last_batch - most * (replicas - 1)
    if least <= 0 < last_batch:
        raise ValueError(
            f"{NO_IMAGES} Of {count} images, batch_size {batch_size}, the last batch has "
            f"{last_batch} for {replicas} replicas."
        )
    for part in (batch_size // replicas, *((most, least) if last_batch else ())):
        check_micro_batches(part, micro_batches)


def _check_images(images, batch_size):
    """Refuses wrong images: all of them in an array, or one batch (`batch_size` None)."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"Images must come in batches [batch, height, width, 3], got {images.shape}."
        )
    last_batch = len(images) if batch_size is None else len(images) % batch_size
    if last_batch == 1:
        raise ValueError(
            "The loss correlates dimensions over a batch and needs at least 2 images, got a "
            f"batch of 1 (of {len(images)} images, batch_size {batch_size})."
        )
    # The extremes stand for all, without a second copy of them in floating point.
    as_unit_range(np.stack([images.min(), images.max()]) if images.size else images)

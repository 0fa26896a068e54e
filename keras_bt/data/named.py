"""Data sets by name: digits, or any image data set of TensorFlow Datasets."""

import difflib
import os
from typing import Any

import tensorflow as tf

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.images import Images, Source, digest_of, shuffle_buffer
from keras_bt.data.memory import digits


def from_name(name: str, data_dir: str | os.PathLike[str] | None = None) -> Source:
    """The data set of a recipe: "digits", or a name from TensorFlow Datasets.

    Args:
        name: "digits", or see `from_tfds`.
        data_dir: See `from_tfds`.

    Example:
        >>> from_name("digits").classes
        10
    """
    return digits() if name == "digits" else from_tfds(name, data_dir)


def from_tfds(name: str, data_dir: str | os.PathLike[str] | None = None) -> Source:
    """Any data set of TensorFlow Datasets with an "image" feature.

    Args:
        name: As in `tfds.load`, such as "cifar10".
        data_dir: Folder of the prepared data sets; None for the default of tfds.

    Returns:
        A source of the split "train" and, with labels, of "validation" or "test". A split
        "unlabelled" (STL-10) replaces "train" for pretraining.

    Raises:
        ValueError: If there is no such data set, or it has no images or no split "train".
    """
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder(name, data_dir=data_dir).info
    except tfds.core.DatasetNotFoundError as error:
        nearest = difflib.get_close_matches(name, tfds.list_builders(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
        raise ValueError(f"TensorFlow Datasets has no data set {name!r}{hint}") from error
    if "image" not in info.features:
        raise ValueError(f"{name} has no feature 'image', only {sorted(info.features)}.")
    # Shuffling encoded images takes less memory.
    skip = {"image": tfds.decode.SkipDecoding()}
    splits = tfds.load(name, data_dir=data_dir, decoders=skip)
    if "train" not in splits:
        raise ValueError(f"{name} has no split 'train', only {sorted(splits)}.")
    labelled = "label" in info.features and hasattr(info.features["label"], "num_classes")

    def decode(example: dict[str, Any]) -> dict[str, tf.Tensor]:
        return image_and_label(
            decode_image(example["image"]), example["label"] if labelled else None
        )

    def images(split: str) -> Images:
        size = info.splits[split]
        return Images(
            f"{name} ({split})",
            size.num_examples,
            splits[split],
            decode,
            labelled,
            shuffle_buffer(size.num_examples, size.num_bytes),
        )

    # "validation" first, because some data sets have no labels in "test".
    test = next((split for split in ("validation", "test") if split in splits), None)
    train, unlabelled = images("train"), None
    if "unlabelled" in splits:
        unlabelled = images("unlabelled")
    sizes = [
        (split, info.splits[split].num_examples, info.splits[split].num_bytes) for split in splits
    ]
    digest = digest_of([info.full_name, *sorted(sizes)])
    if not (labelled and test):
        return Source(name, unlabelled or train, digest=digest)
    label = info.features["label"]
    return Source(
        name,
        unlabelled or train,
        images(test),
        label.num_classes,
        labelled=train if unlabelled else None,
        class_names=tuple(label.names),
        digest=digest,
    )

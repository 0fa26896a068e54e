"""Images by name: digits, or any data set of TensorFlow Datasets."""

import difflib

from keras_bt.data.images import Images, Source, decode_image, image_and_label, shuffle_buffer
from keras_bt.data.memory import digits


def from_name(name, data_dir=None):
    """The data set of a recipe: "digits", or any other name from TensorFlow Datasets.

    Args:
        name: See `digits` and `from_tfds`.
        data_dir: See `from_tfds`.

    Returns:
        `Source`.

    Example:
        >>> from_name("digits").classes
        10
    """
    return digits() if name == "digits" else from_tfds(name, data_dir)


def from_tfds(name, data_dir=None):
    """Any TensorFlow Datasets data set with an "image" feature.

    Args:
        name: As in `tfds.load`, such as "cifar10".
        data_dir: Folder of the prepared data sets; None for tfds' own.

    Returns:
        `Source` of the split "train" and, if there are labels, of "test" or "validation".
        Where there is a split "unlabelled" (STL-10) it is the one to pretrain on.

    Raises:
        ValueError: If there is no such data set, or it has no images.
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
    # Images are shuffled while still encoded, and so small.
    skip = {"image": tfds.decode.SkipDecoding()}
    splits = tfds.load(name, data_dir=data_dir, decoders=skip)
    if "train" not in splits:
        raise ValueError(f"{name} has no split 'train', only {sorted(splits)}.")
    labelled = "label" in info.features and hasattr(info.features["label"], "num_classes")

    def decode(example):
        return image_and_label(
            decode_image(example["image"]), example["label"] if labelled else None
        )

    def images(split):
        size = info.splits[split]
        return Images(
            f"{name} ({split})",
            size.num_examples,
            splits[split],
            decode,
            labelled,
            shuffle_buffer(size.num_examples, size.num_bytes),
        )

    # "validation" first, for some data sets keep the labels of "test" to themselves.
    test = next((split for split in ("validation", "test") if split in splits), None)
    train, unlabelled = images("train"), None
    if "unlabelled" in splits:
        unlabelled = images("unlabelled")
    if not (labelled and test):
        return Source(name, unlabelled or train)
    label = info.features["label"]
    return Source(
        name,
        unlabelled or train,
        images(test),
        label.num_classes,
        labelled=train if unlabelled else None,
        class_names=tuple(label.names),
    )

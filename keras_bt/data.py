"""Where images come from: every source becomes `Images`, read by `tf.data`.

Images leave here as uint8 (or floats in [0, 1]) squares of one size, ready to be viewed
or encoded. Nothing here augments.
"""

import concurrent.futures
import dataclasses
import difflib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "val", "valid", "validation")
HOLD_OUT_EVERY = 5
SHUFFLE_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order.

    Args:
        name: What to call them in messages.
        count: How many there are.
        elements: `tf.data.Dataset` of something small: an index, a path, encoded bytes.
        decode: From an element to {"image": [height, width, 3]} and, if `labelled`,
            "label": a class number.
        labelled: Whether there are labels.
        shuffle_buffer: Elements shuffled at a time; `count` shuffles them all.

    Example:
        >>> images = from_arrays(np.zeros([5, 8, 8, 3], "uint8"), labels=range(5))
        >>> next(iter(images.batches(2, size=4)))["image"].shape
        TensorShape([2, 4, 4, 3])
    """

    name: str
    count: int
    elements: tf.data.Dataset
    decode: Callable
    labelled: bool
    shuffle_buffer: int

    def at_most(self, count):
        """These images, or evenly spaced ones of them if they are more than `count`."""
        step = -(-self.count // count)
        if step == 1:
            return self
        kept = -(-self.count // step)
        return dataclasses.replace(
            self, count=kept, elements=self.elements.shard(step, 0), shuffle_buffer=kept
        )

    def batches(self, batch_size, size):
        """All images once and in order, as for evaluation.

        Args:
            batch_size: Int. The last batch may be smaller.
            size: Int. Side of the square images, in pixels; see `fit_square`.

        Returns:
            `tf.data.Dataset` of dicts {"image", "label"}.
        """
        return self._decoded(self.elements, size).batch(batch_size).prefetch(2)

    def shuffled_batches(self, batch_size, size, seed, first_epoch=0):
        """Epoch after epoch without end, each in an order given by `seed` and its number.

        Args:
            batch_size: Int. Each epoch leaves out its last images that fill no batch.
            size: Int. Side of the square images, in pixels; see `fit_square`.
            seed: Int.
            first_epoch: Int. With which epoch to begin.

        Returns:
            Endless `tf.data.Dataset` of dicts {"image", "label"}, one epoch being
            `count // batch_size` batches.

        Raises:
            ValueError: If there are fewer images than `batch_size`.
        """
        if batch_size > self.count:
            raise ValueError(
                f"{self.name} holds {self.count} images, fewer than the batch_size of {batch_size}."
            )
        whole_batches = self.count // batch_size * batch_size

        def epoch_order(epoch):
            # This graph's own seed: the user's global one must not change the order. It is
            # never 0, which TensorFlow would compare with the symbolic epoch.
            tf.compat.v1.set_random_seed(seed + 1)
            order = self.elements.shuffle(
                self.shuffle_buffer, seed=epoch, reshuffle_each_iteration=False
            )
            return order.take(whole_batches)

        elements = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_order)
        return self._decoded(elements, size).batch(batch_size, drop_remainder=True).prefetch(2)

    def _decoded(self, elements, size):
        def load(element):
            example = self.decode(element)
            return {**example, "image": fit_square(example["image"], size)}

        return elements.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of a run: those to train on, and held-out ones to evaluate with.

    Args:
        name: What it is called in the result.
        train: `Images` to pretrain on; with labels also the evaluation's training set.
        test: Held-out labelled `Images`, or None where there are no labels.
        classes: Number of classes, or None without labels.
    """

    name: str
    train: Images
    test: Images | None = None
    classes: int | None = None


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
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            f"{name}: images must be [count, height, width, 3] or gray, got shape {images.shape}."
        )
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype("float32", copy=False)
        if images.min() < 0 or images.max() > 1:
            raise ValueError(
                f"{name}: floating point images must lie in [0, 1] (uint8 means 0...255), "
                f"got values in [{images.min():g}, {images.max():g}]."
            )
    elif images.dtype != np.uint8:
        raise ValueError(f"{name}: images must be uint8 or floating point, got {images.dtype}.")
    if labels is not None:
        labels = np.asarray(labels, "int64")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{name}: {len(images)} images, but labels of shape {labels.shape}.")
    height, width = images.shape[1:3]
    pixels = tf.convert_to_tensor(images)

    def decode(index):
        image = tf.broadcast_to(tf.gather(pixels, index), (height, width, 3))
        return _example(image, None if labels is None else tf.gather(labels, index))

    count = len(images)
    return Images(
        name, count, tf.data.Dataset.range(count), decode, labels is not None, shuffle_buffer=count
    )


def from_tfds(name, data_dir=None):
    """Any TensorFlow Datasets data set with an "image" feature.

    Args:
        name: As in `tfds.load`, such as "cifar10".
        data_dir: Folder of the prepared data sets; None for tfds' own.

    Returns:
        `Source` of the split "train" and, if there are labels, of "test" or "validation".

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
        return _example(_decode_image(example["image"]), example["label"] if labelled else None)

    def images(split):
        size = info.splits[split]
        return Images(
            f"{name} ({split})",
            size.num_examples,
            splits[split],
            decode,
            labelled,
            _shuffle_buffer(size.num_examples, size.num_bytes),
        )

    # "validation" first, for some data sets keep the labels of "test" to themselves.
    test = next((split for split in ("validation", "test") if split in splits), None)
    if not (labelled and test):
        return Source(name, images("train"))
    return Source(name, images("train"), images(test), info.features["label"].num_classes)


def from_folder(path):
    """A folder of images of any sizes.

    Subfolders `train` and `test` (or `val`, `validation`), if both there, are the two
    sets. If all images lie in two or more subfolders of five images or more, those are the
    classes; the labels serve evaluation alone. With labels and no `test` folder every fifth
    image is held out.

    Args:
        path: The folder. Images end in .jpg, .jpeg, .png, .bmp or .gif.

    Returns:
        `Source`.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images that
            cannot be read; the first ten are named.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    folders = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    test = next((folders[name] for name in TEST_FOLDERS if name in folders), None)
    if not (train and test):
        train, test = root, None

    paths = _image_paths(train)
    classes = _class_folders(train, paths)
    if classes is None:
        return Source(root.name, _from_paths(str(root), paths, None))
    test_paths = paths[::HOLD_OUT_EVERY] if test is None else _image_paths(test)
    if test is None:
        paths = [path for index, path in enumerate(paths) if index % HOLD_OUT_EVERY]
    train_labels = _labels(paths, train, classes)
    test_labels = _labels(test_paths, test or train, classes)
    return Source(
        root.name,
        _from_paths(f"{root} (train)", paths, train_labels),
        _from_paths(f"{root} (held out)", test_paths, test_labels),
        len(classes),
    )


def from_tfrecords(pattern):
    """TFRecord files of `tf.train.Example`s with encoded images.

    Keys: "image" or "image/encoded" (JPEG, PNG, BMP or GIF bytes) and, if there are
    labels, "label" or "image/class/label" (int64, counted from 0). With labels every
    fifth image is held out.

    Args:
        pattern: Path or glob of the files.

    Returns:
        `Source`.

    Raises:
        ValueError: If no file matches or the records have other keys.
    """
    files = sorted(tf.io.gfile.glob(str(pattern)))
    if not files:
        raise ValueError(f"No file matches {pattern}.")
    records = tf.data.TFRecordDataset(files)
    first = next(iter(records), None)
    if first is None:
        raise ValueError(f"{files[0]} holds no records.")
    keys = set(tf.train.Example.FromString(first.numpy()).features.feature)
    image_key = next((key for key in ("image", "image/encoded") if key in keys), None)
    label_key = next((key for key in ("label", "image/class/label") if key in keys), None)
    if image_key is None:
        raise ValueError(
            f"{files[0]} has records with keys {sorted(keys)}; keras_bt needs 'image' or "
            "'image/encoded'."
        )
    spec = {image_key: tf.io.FixedLenFeature([], tf.string)}
    if label_key:
        spec[label_key] = tf.io.FixedLenFeature([], tf.int64)

    def decode(record):
        example = tf.io.parse_single_example(record, spec)
        return _example(
            _decode_image(example[image_key]), example[label_key] if label_key else None
        )

    size_bytes = sum(tf.io.gfile.stat(file).length for file in files)

    def images(name, elements):
        count = int(elements.reduce(np.int64(0), lambda n, _: n + 1))
        labelled = label_key is not None
        buffer = _shuffle_buffer(count, size_bytes)
        return Images(f"{pattern} ({name})", count, elements, decode, labelled, buffer)

    if label_key is None:
        return Source(str(pattern), images("train", records))
    labels = records.map(lambda record: tf.io.parse_single_example(record, spec)[label_key])
    classes = 1 + int(labels.reduce(np.int64(-1), tf.maximum))
    numbered = records.enumerate()

    def part(held_out):
        chosen = numbered.filter(lambda i, _: tf.equal(i % HOLD_OUT_EVERY == 0, held_out))
        return chosen.map(lambda _, record: record)

    return Source(
        str(pattern), images("train", part(False)), images("held out", part(True)), classes
    )


def fit_square(image, size):
    """The central square of an image, resized (bicubic, antialiased) to `size` pixels.

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Int.

    Returns:
        Tensor [size, size, 3] of the same dtype; an image of that size is left as it is.

    Example:
        >>> fit_square(tf.zeros([5, 9, 3], tf.uint8), 4).shape
        TensorShape([4, 4, 3])
    """

    def resize():
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(image[top : top + side, left : left + side], tf.float32)
        square = tf.image.resize(square, (size, size), "bicubic", antialias=True)
        high = 255.0 if image.dtype == tf.uint8 else 1.0
        square = tf.clip_by_value(square, 0.0, high)
        return tf.cast(tf.round(square) if image.dtype == tf.uint8 else square, image.dtype)

    if image.shape.is_fully_defined():
        return image if image.shape[:2] == (size, size) else resize()
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resize), (size, size, 3))


def _example(image, label):
    return {"image": image} if label is None else {"image": image, "label": label}


def _decode_image(encoded):
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def _shuffle_buffer(count, size_bytes):
    return max(1, min(count, count * SHUFFLE_BYTES // max(size_bytes, 1)))


def _image_paths(folder):
    paths = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    )
    if not paths:
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return paths


def _class_folders(root, paths):
    parts = [path.relative_to(root).parts for path in paths]
    images = Counter(part[0] for part in parts if len(part) > 1)
    all_in_folders = images.total() == len(paths)
    if len(images) < 2 or not all_in_folders or min(images.values()) < HOLD_OUT_EVERY:
        return None
    return sorted(images)


def _labels(paths, root, classes):
    number = {name: index for index, name in enumerate(classes)}
    names = [path.relative_to(root).parts[0] for path in paths]
    if unknown := sorted(set(names) - set(number)):
        raise ValueError(f"{root} has class folders that the training images lack: {unknown}.")
    return [number[name] for name in names]


def _from_paths(name, paths, labels):
    _check_readable(paths)
    files = [str(path) for path in paths]
    elements = tf.data.Dataset.from_tensor_slices(
        {"path": files} if labels is None else {"path": files, "label": np.int64(labels)}
    )

    def decode(element):
        return _example(_decode_image(tf.io.read_file(element["path"])), element.get("label"))

    count = len(files)
    return Images(name, count, elements, decode, labels is not None, shuffle_buffer=count)


def _check_readable(paths):
    def problem(path):
        try:
            _decode_image(tf.io.read_file(str(path)))
        except (tf.errors.OpError, ValueError) as error:
            return f"{path}: {str(error).splitlines()[0]}"
        return None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        problems = [found for found in pool.map(problem, paths) if found]
    if problems:
        listed = "\n  ".join(problems[:10])
        raise ValueError(f"{len(problems)} of {len(paths)} images cannot be read:\n  {listed}")

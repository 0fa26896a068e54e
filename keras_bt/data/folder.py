"""Images in the files of a folder."""

import logging
import os
from collections import Counter
from pathlib import Path

import tensorflow as tf

from keras_bt.data.files import MAX_PIXELS, shown
from keras_bt.data.images import (
    HOLD_OUT_EVERY,
    Images,
    Source,
    decode_image,
    image_and_label,
    problems_message,
)
from keras_bt.data.reader import Reader
from keras_bt.data.scan import scan

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "val", "valid", "validation")


def from_folder(path, bad_images="fail", max_pixels=MAX_PIXELS, index=None):
    """A folder of images of any sizes.

    Subfolders `train` and `test` (or `val`, `validation`), if both there, are the two
    sets. If all images lie in two or more subfolders of five images or more, those are the
    classes; the labels serve evaluation alone. With labels and no `test` folder every fifth
    image is held out.

    Every file is decoded once beforehand. One that cannot be read later on, or has become
    something else, is replaced by the next image and its label; see `Images.replaced`.

    Args:
        path: The folder. Images end in .jpg, .jpeg, .png, .bmp, .gif or .webp.
        bad_images: "fail", or "skip" to leave out images that cannot be read.
        max_pixels: Int. Images with more cannot be read.
        index: Path of a file that remembers which images can be read, so that the next
            start takes less time; None for none.

    Returns:
        `Source`.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images that
            cannot be read; the first ten are named.
        OSError: If a folder in it cannot be listed.
    """
    if bad_images not in ("fail", "skip"):
        raise ValueError(f'bad_images must be "fail" or "skip", got {bad_images!r}.')
    root = Path(path).expanduser().absolute()
    train, test = _train_and_test(root)
    paths, test_paths = _image_paths(train), _image_paths(test) if test else []
    everything = paths + test_paths
    records = dict(zip(everything, scan(everything, str(root), index, max_pixels), strict=True))
    skipped = _skip(records, bad_images)
    paths = _readable(paths, records)
    test_paths = _readable(test_paths, records) if test else []

    def images(name, paths, labels):
        return _images(name, Reader(paths, [records[path] for path in paths], max_pixels), labels)

    classes = _class_folders(train, paths)
    if classes is None:
        return Source(root.name, images(str(root), paths, None), skipped=skipped)
    if test is None:
        test_paths = paths[::HOLD_OUT_EVERY]
        paths = [path for number, path in enumerate(paths) if number % HOLD_OUT_EVERY]
    train_labels = _labels(paths, train, classes)
    test_labels = _labels(test_paths, test or train, classes)
    return Source(
        root.name,
        images(f"{root} (train)", paths, train_labels),
        images(f"{root} (held out)", test_paths, test_labels),
        len(classes),
        skipped,
        class_names=tuple(classes),
    )


def image_files(path):
    """Paths of all images in a folder, at any depth, sorted.

    Args:
        path: The folder.

    Returns:
        List of strings.

    Raises:
        ValueError: If the folder does not exist or holds no images.
        OSError: If a folder in it cannot be listed.
    """
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    return _image_paths(root)


def from_files(paths, root, bad_images="fail", max_pixels=MAX_PIXELS):
    """Images in files, without labels; each is decoded once beforehand.

    Args:
        paths: Strings, files below `root`.
        root: String, a folder.
        bad_images: See `from_folder`.
        max_pixels: See `from_folder`.

    Returns:
        images: `Images`; None if none can be read.
        readable: List of those of the paths that are images, in the same order.

    Raises:
        ValueError: If some cannot be read; the first ten are named.
    """
    records = dict(zip(paths, scan(paths, root, None, max_pixels), strict=True))
    readable = [path for path in paths if not records[path].problem]
    if readable or bad_images == "fail":
        _skip(records, bad_images)
    if not readable:
        return None, []
    reader = Reader(readable, [records[path] for path in readable], max_pixels)
    return _images(root, reader, None), readable


def _train_and_test(root):
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    folders = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    test = next((folders[name] for name in TEST_FOLDERS if name in folders), None)
    if train:
        return train, test
    if test and len(folders) > 1:
        raise ValueError(
            f"{root} has a folder {test.name} but no folder train; put the other images "
            "into one, or rename it."
        )
    return root, None


def _image_paths(folder):
    paths = [
        os.path.join(parent, name)
        for parent, names in _walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]
    if not paths:
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(paths, key=lambda path: path.split(os.sep))


def _skip(records, bad_images):
    """How many images cannot be read; refuses them unless told to skip them."""
    problems = [f"{shown(path)}: {r.problem}" for path, r in records.items() if r.problem]
    if problems:
        message = problems_message("images", len(records), problems)
        if bad_images == "fail" or len(problems) == len(records):
            raise ValueError(message)
        logging.getLogger(__name__).warning(message)
    return len(problems)


def _readable(paths, records):
    readable = [path for path in paths if not records[path].problem]
    if not readable:
        raise ValueError(f"None of the {len(paths)} images beside {shown(paths[0])} can be read.")
    return readable


def _walk(folder):
    """Folders below, links followed, and their files; nothing hidden and no folder twice."""

    def unreadable(error):
        raise error

    seen = set()
    for parent, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, names


def _class_folders(root, paths):
    folders = [_first_folder(path, root) for path in paths]
    images = Counter(folders)
    if None in images or len(images) < 2 or min(images.values()) < HOLD_OUT_EVERY:
        return None
    return sorted(images)


def _labels(paths, root, classes):
    number = {name: index for index, name in enumerate(classes)}
    names = [_first_folder(path, root) for path in paths]
    if None in names:
        raise ValueError(f"{root} has images outside its class folders {classes}.")
    if unknown := sorted(set(names) - set(number)):
        raise ValueError(f"{root} has class folders that the training images lack: {unknown}.")
    return [number[name] for name in names]


def _first_folder(path, root):
    first, *inner = path[len(os.path.join(root, "")) :].split(os.sep)
    return first if inner else None


def _images(name, reader, labels):
    numbers = None if labels is None else tf.constant(labels, tf.int64)

    def decode(file):
        label = None if labels is None else tf.gather(numbers, file["number"])
        return image_and_label(decode_image(file["encoded"]), label)

    return Images(
        name,
        reader.count,
        tf.data.Dataset.range(reader.count),
        decode,
        labels is not None,
        shuffle_buffer=reader.count,
        fetch=reader.fetch,
        replaced=reader.replaced,
        file_names=reader.paths,
    )

"""Images in the files of a folder."""

import concurrent.futures
import os
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_bt.data.images import (
    HOLD_OUT_EVERY,
    Images,
    Source,
    decode_image,
    image_and_label,
    problems_message,
)

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "val", "valid", "validation")


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
        OSError: If a folder in it cannot be listed.
    """
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    folders = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    test = next((folders[name] for name in TEST_FOLDERS if name in folders), None)
    if not train:
        if test and len(folders) > 1:
            raise ValueError(
                f"{root} has a folder {test.name} but no folder train; put the other images "
                "into one, or rename it."
            )
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


def _image_paths(folder):
    paths = sorted(
        Path(parent, name)
        for parent, names in _walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )
    if not paths:
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return paths


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
    parts = [path.relative_to(root).parts for path in paths]
    images = Counter(part[0] for part in parts if len(part) > 1)
    all_in_folders = images.total() == len(paths)
    if len(images) < 2 or not all_in_folders or min(images.values()) < HOLD_OUT_EVERY:
        return None
    return sorted(images)


def _labels(paths, root, classes):
    number = {name: index for index, name in enumerate(classes)}
    names = [path.relative_to(root).parent.parts[:1] for path in paths]
    if () in names:
        raise ValueError(f"{root} has images outside its class folders {classes}.")
    names = [name for (name,) in names]
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
        return image_and_label(decode_image(tf.io.read_file(element["path"])), element.get("label"))

    count = len(files)
    return Images(name, count, elements, decode, labels is not None, shuffle_buffer=count)


def _check_readable(paths):
    def problem(path):
        try:
            decode_image(tf.io.read_file(str(path)))
        except (tf.errors.OpError, ValueError) as error:
            return f"{path}: {str(error).splitlines()[0]}"
        return None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        problems = [found for found in pool.map(problem, paths) if found]
    if problems:
        raise ValueError(problems_message("images", len(paths), problems))

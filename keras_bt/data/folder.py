"""Images in the files of a folder."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import tensorflow as tf

from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.files import MAX_PIXELS, FileRecord, printable
from keras_bt.data.images import HOLD_OUT_EVERY, Images, Source, problems_message
from keras_bt.data.reader import Reader
from keras_bt.data.scan import scan

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "val", "valid", "validation")


def from_folder(
    path: str | os.PathLike[str],
    bad_images: str = "fail",
    max_pixels: int = MAX_PIXELS,
    index: str | os.PathLike[str] | None = None,
) -> Source:
    """Images of any size in a folder.

    Subfolders `train` and `test` (or `val`, `validation`) are the two sets, if both exist.
    Subfolders are classes if there are at least two, they hold all images, and each holds at
    least five. Only evaluation uses the labels. With classes but no `test` folder, every fifth
    image is held out.

    Every file is decoded once before training. If training cannot read a file later, the next
    image and its label replace it; see `Images.replaced`.

    Args:
        path: The folder. Images end in .jpg, .jpeg, .png, .bmp, .gif or .webp.
        bad_images: "fail", or "skip" to leave out images that cannot be read.
        max_pixels: Larger images count as unreadable.
        index: File that stores which images can be read, to make the next start faster. None
            stores nothing.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images that
            cannot be read. The message lists the first ten.
        OSError: If a folder inside it cannot be listed.
    """
    if bad_images not in ("fail", "skip"):
        raise ValueError(f'bad_images must be "fail" or "skip", got {bad_images!r}.')
    root = Path(path).expanduser().absolute()
    train, test = _train_and_test(root)
    paths, test_paths = _image_paths(train), _image_paths(test) if test else []
    all_paths = paths + test_paths
    records = dict(zip(all_paths, scan(all_paths, str(root), index, max_pixels), strict=True))
    skipped = _skip(records, bad_images)
    paths = _readable(train, paths, records)
    test_paths = _readable(test, test_paths, records) if test else []

    def images(name: str, paths: list[str], labels: list[int] | None) -> Images:
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


def image_files(path: str | os.PathLike[str]) -> list[str]:
    """Paths of all images in a folder, at any depth, sorted.

    Args:
        path: The folder.

    Raises:
        ValueError: If the folder does not exist or holds no images.
        OSError: If a folder inside it cannot be listed.
    """
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    return _image_paths(root)


def from_files(
    paths: Sequence[str], root: str, bad_images: str = "fail", max_pixels: int = MAX_PIXELS
) -> tuple[Images | None, list[str]]:
    """Images in files, without labels. Each file is decoded once here.

    Args:
        paths: Files below `root`.
        root: A folder.
        bad_images: See `from_folder`.
        max_pixels: See `from_folder`.

    Returns:
        images: None if no file can be read.
        readable: The paths that can be read, in the same order.

    Raises:
        ValueError: If files cannot be read. The message lists the first ten.
    """
    records = dict(zip(paths, scan(paths, root, None, max_pixels), strict=True))
    readable = [path for path in paths if not records[path].problem]
    if readable or bad_images == "fail":
        _skip(records, bad_images)
    if not readable:
        return None, []
    reader = Reader(readable, [records[path] for path in readable], max_pixels)
    return _images(root, reader, None), readable


def _train_and_test(root: Path) -> tuple[Path, Path | None]:
    """The folders of training images and of test images; None if there is no test folder."""
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    folders = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    test = next((folders[name] for name in TEST_FOLDERS if name in folders), None)
    if train:
        return train, test
    if test and len(folders) > 1:
        raise ValueError(
            f"{root} has a folder {test.name} but no folder train. Move the other images into "
            f"a folder train, or rename {test.name}."
        )
    return root, None


def _image_paths(folder: Path) -> list[str]:
    """Paths of all images below a folder, sorted."""
    paths = [
        os.path.join(parent, name)
        for parent, names in _walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]
    if not paths:
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(paths, key=lambda path: path.split(os.sep))


def _skip(records: Mapping[str, FileRecord], bad_images: str) -> int:
    """Counts the images that cannot be read; raises an error if `bad_images` is "fail"."""
    problems = [f"{printable(path)}: {r.problem}" for path, r in records.items() if r.problem]
    if problems:
        message = problems_message("images", len(records), problems)
        if len(problems) == len(records):
            raise ValueError(message)
        if bad_images == "fail":
            raise ValueError(f'{message}\nUse bad_images="skip" to leave them out.')
        logging.getLogger(__name__).warning(message)
    return len(problems)


def _readable(folder: Path, paths: list[str], records: Mapping[str, FileRecord]) -> list[str]:
    """The paths that can be read; rejects a folder without any."""
    readable = [path for path in paths if not records[path].problem]
    if not readable:
        raise ValueError(f"None of the {len(paths)} images in {folder} can be read.")
    return readable


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders and their files; follows links, skips hidden folders, visits each folder once."""

    def fail(error: OSError) -> NoReturn:
        raise error

    seen = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, names


def _class_folders(root: Path, paths: list[str]) -> list[str] | None:
    """Names of the class folders, or None if the folders are not classes."""
    folders = [_first_folder(path, root) for path in paths]
    images = Counter(folder for folder in folders if folder is not None)
    if None in folders or len(images) < 2 or min(images.values()) < HOLD_OUT_EVERY:
        return None
    return sorted(images)


def _labels(paths: list[str], root: Path, classes: list[str]) -> list[int]:
    """The class number of each image."""
    number = {name: index for index, name in enumerate(classes)}
    folders = [_first_folder(path, root) for path in paths]
    names = [folder for folder in folders if folder is not None]
    if len(names) < len(folders):
        raise ValueError(f"{root} has images outside its class folders {classes}.")
    if unknown := sorted(set(names) - set(number)):
        raise ValueError(f"{root} has class folders without training images: {unknown}.")
    return [number[name] for name in names]


def _first_folder(path: str, root: Path) -> str | None:
    """Name of the folder directly below `root` that holds a path; None if `root` itself does."""
    first, *inner = path[len(os.path.join(root, "")) :].split(os.sep)
    return first if inner else None


def _images(name: str, reader: Reader, labels: list[int] | None) -> Images:
    """`Images` of the files of a reader."""
    label_tensor = None if labels is None else tf.constant(labels, tf.int64)

    def decode(file: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        label = None if label_tensor is None else tf.gather(label_tensor, file["index"])
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

"""Finds the images of a folder, its sets and its classes, and describes what is left out."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from keras_bt.data.files import printable
from keras_bt.data.images import HOLD_OUT_EVERY

IMAGE_SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "val", "valid", "validation")
MAX_NAMES = 5  # in a message


class Listing(NamedTuple):
    """The files below a folder: sorted paths of images, and the number of others by suffix."""

    images: list[str]
    others: Counter[str]


class Sets(NamedTuple):
    """The folders of a source, and their images."""

    train: Path
    train_paths: list[str]
    test: Path | None
    test_paths: list[str]
    left_out: Counter[str]  # images by folder
    others: Counter[str]  # see `Listing`
    note: str = ""


def list_images(folder: Path) -> Listing:
    """Lists the files below a folder, without hidden files and folders.

    Args:
        folder: The folder.

    Raises:
        ValueError: If the folder does not exist or holds no images.
        OSError: If a folder inside it cannot be listed.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    listing = _list(folder)
    if not listing.images:
        found = f"; it holds {_names(listing.others)}" if listing.others else ""
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}){found}.")
    return listing


def find_sets(root: Path) -> Sets:
    """Finds the training images and the held-out images of a folder.

    Args:
        root: The folder.

    Raises:
        ValueError: See `list_images`. Also if there is a test folder but no train folder.
        OSError: If a folder inside it cannot be listed.
    """
    images, others = list_images(root)
    folders = {entry.name.lower(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    tests = [folders[name] for name in TEST_FOLDERS if name in folders]
    if train is None:
        if tests and len(folders) > 1:
            raise ValueError(
                f"{root} has a folder {tests[0].name} but no folder train. Move the other images "
                f"into a folder train, or rename {tests[0].name}."
            )
        return Sets(root, images, None, [], Counter(), others)
    paths = _list(train).images
    test_paths = {test: found for test in tests if (found := _list(test).images)}
    sets = {folder.name for folder in (train, *test_paths)}
    outside = [name for name in _first_folders(images, root) if name not in sets]
    beside = Counter(name or "no folder" for name in outside)
    if beside and not test_paths and len(set(_first_folders(paths, train))) < 2:
        note = f"{train.name} counts like the folders beside it, because there is no folder test"
        return Sets(root, images, None, [], Counter(), others, note if paths else "")
    list_images(train)  # refuses a folder without images
    labelled = find_classes(train, paths)[0] is not None
    test = _choose_test(set(_first_folders(paths, train)), test_paths) if labelled else None
    beside.update({other.name: len(test_paths[other]) for other in test_paths if other != test})
    return Sets(train, paths, test, test_paths[test] if test else [], beside, others)


def find_classes(root: Path, paths: list[str]) -> tuple[list[str] | None, str]:
    """Finds the class folders of images.

    Args:
        root: The folder of all classes.
        paths: The images.

    Returns:
        classes: Names of the folders; None if the folders are not classes.
        reason: Why folders are not classes; empty where nobody expects classes.
    """
    folders = _first_folders(paths, root)
    images = Counter(folder for folder in folders if folder is not None)
    outside = folders.count(None)
    if len(images) < 2:
        return None, ""
    if outside:
        first = next(path for path in paths if _first_folder(path, root) is None)
        return None, f"not all images are in class folders: {printable(first)}, {outside} in all"
    if few := [name for name in sorted(images) if images[name] < HOLD_OUT_EVERY]:
        counts = _names({name: images[name] for name in few})
        return None, f"classes need {HOLD_OUT_EVERY} images, but some have fewer: {counts}"
    return sorted(images), ""


def class_numbers(root: Path, paths: list[str], classes: list[str]) -> list[int]:
    """The class number of each image.

    Args:
        root: The folder of all classes.
        paths: The images.
        classes: Names of the class folders.

    Raises:
        ValueError: If an image lies in no class folder.
    """
    number = {name: index for index, name in enumerate(classes)}
    folders = _first_folders(paths, root)
    names = [folder for folder in folders if folder is not None]
    if len(names) < len(folders):
        raise ValueError(f"{root} has images outside its class folders {classes}.")
    if unknown := sorted(set(names) - set(number)):
        raise ValueError(f"{root} has class folders without training images: {unknown}.")
    return [number[name] for name in names]


def describe_left_out(left_out: Mapping[str, int], others: Counter[str]) -> list[str]:
    """Phrases that name and count the images and the other files that are not used.

    Args:
        left_out: Images by folder.
        others: Other files by suffix.

    Example:
        >>> describe_left_out({"extra": 12}, Counter({".heic": 2}))
        ['images left out: extra (12)', 'files that are no images: .heic (2)']
    """
    phrases = []
    if left_out:
        phrases.append(f"images left out: {_names(left_out)}")
    if others:
        phrases.append(f"files that are no images: {_names(others)}")
    return phrases


def _list(folder: Path) -> Listing:
    """Lists the files below a folder."""
    images, others = [], Counter[str]()
    for parent, names in _walk(folder):
        for name in names:
            if name.startswith("."):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.append(os.path.join(parent, name))
            else:
                others[os.path.splitext(name)[1].lower() or "no suffix"] += 1
    return Listing(sorted(images, key=lambda path: path.split(os.sep)), others)


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


def _choose_test(classes: set[str | None], tests: Mapping[Path, list[str]]) -> Path | None:
    """The first test folder with images of these classes alone, or else with some of them."""
    folders = {test: set(_first_folders(paths, test)) for test, paths in tests.items()}
    labelled = [test for test in tests if folders[test] <= classes]
    labelled += [test for test in tests if folders[test] & classes]
    return labelled[0] if labelled else None


def _first_folders(paths: list[str], root: Path) -> list[str | None]:
    """See `_first_folder`."""
    return [_first_folder(path, root) for path in paths]


def _first_folder(path: str, root: Path) -> str | None:
    """Name of the folder directly below `root` that holds a path; None if `root` itself does."""
    first, *inner = path[len(os.path.join(root, "")) :].split(os.sep)
    return first if inner else None


def _names(counts: Mapping[str, int]) -> str:
    """Names with their counts, the largest first, on one line."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{printable(name)} ({count})" for name, count in ordered[:MAX_NAMES]]
    more = len(ordered) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")

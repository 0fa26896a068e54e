"""Which images of a folder are trained on, which are held out, and their classes."""

import logging
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_bt.data.files import printable
from keras_bt.data.images import HOLD_OUT_EVERY, Images, Source, problems_message
from keras_bt.data.layout import Sets, class_numbers, describe_left_out, find_classes


class Arrangement(NamedTuple):
    """The images of a source by set, with a class number each; no numbers without classes."""

    train: list[str]
    train_labels: list[int] | None
    test: list[str]
    test_labels: list[int] | None
    classes: list[str] | None
    notes: list[str]  # what the user should know

    def log(self, root: Path) -> None:
        """Warns of what is left out, in one line."""
        if not self.notes:
            return
        kind = f"images in {len(self.classes)} classes" if self.classes else "images"
        taken = f"{len(self.train) + len(self.test)} {kind}, {len(self.test)} of them held out"
        logging.getLogger(__name__).warning(
            "%s: %s; %s.", printable(str(root)), taken, "; ".join(self.notes)
        )


def arrange(sets: Sets, bad: Container[str] = ()) -> Arrangement:
    """Arranges the images of a folder.

    With classes but no labelled test folder, every fifth image is held out.

    Args:
        sets: From `find_sets`.
        bad: Paths of images that cannot be read.

    Raises:
        ValueError: If none of the images of a set can be read, or images have no class.
    """
    paths = _readable(sets.train, sets.train_paths, bad)
    test, test_paths = sets.test, sets.test_paths
    left_out = Counter(sets.left_out)
    classes, reason = find_classes(sets.train, paths)
    if test and classes:
        test_paths = _readable(test, test_paths, bad)
    elif test:
        left_out[test.name], test_paths = len(test_paths), []
    elif classes:
        test_paths = paths[::HOLD_OUT_EVERY]
        paths = [path for number, path in enumerate(paths) if number % HOLD_OUT_EVERY]
    notes = [f"no labels, because {reason}"] if reason else []
    notes += [sets.note] if sets.note else []
    notes += describe_left_out(left_out, sets.others)
    if classes is None:
        return Arrangement(paths, None, test_paths, None, None, notes)
    numbers = class_numbers(sets.train, paths, classes)
    test_numbers = class_numbers(test or sets.train, test_paths, classes)
    return Arrangement(paths, numbers, test_paths, test_numbers, classes, notes)


def check_bad_images(bad_images: str) -> None:
    """Rejects a way to handle unreadable images that does not exist."""
    if bad_images not in ("fail", "skip"):
        raise ValueError(f'bad_images must be "fail" or "skip", got {bad_images!r}.')


def skip_unreadable(problems: Mapping[str, str], count: int, bad_images: str) -> None:
    """Warns of images that are left out.

    Args:
        problems: Why they cannot be read, by path.
        count: Number of all images.
        bad_images: "fail" or "skip".

    Raises:
        ValueError: If there are some and `bad_images` is "fail", or if none can be read.
    """
    if not problems:
        return
    reasons = [f"{printable(path)}: {reason}" for path, reason in problems.items()]
    message = problems_message("images", count, reasons)
    if len(problems) == count:
        raise ValueError(message)
    if bad_images == "fail":
        raise ValueError(f"{message} Use bad_images=skip to leave them out.")
    logging.getLogger(__name__).warning(message)


def source_of(
    name: str,
    root: Path,
    arrangement: Arrangement,
    images: Callable[[str, list[str], Sequence[int] | None], Images],
    skipped: int,
    digest: str,
) -> Source:
    """The source of arranged images.

    Args:
        name: See `Source`.
        root: The folder, for messages.
        arrangement: From `arrange`.
        images: Makes `Images` from a name, paths and labels.
        skipped: See `Source`.
        digest: See `Source`.
    """
    train, labels, test, test_labels, classes, _ = arrangement
    if classes is None:
        return Source(name, images(str(root), train, None), skipped=skipped, digest=digest)
    return Source(
        name,
        images(f"{root} (train)", train, labels),
        images(f"{root} (held out)", test, test_labels),
        len(classes),
        skipped,
        class_names=tuple(classes),
        digest=digest,
    )


def _readable(folder: Path, paths: list[str], bad: Container[str]) -> list[str]:
    """The paths that can be read; rejects a folder without any."""
    readable = [path for path in paths if path not in bad]
    if not readable:
        raise ValueError(f"None of the {len(paths)} images in {folder} can be read.")
    return readable

"""Images in the files of a folder."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_bt.data.arrangement import arrange, check_bad_images, skip_unreadable, source_of
from keras_bt.data.files import MAX_PIXELS, FileRecord, encoded_image, printable
from keras_bt.data.images import Images, Source, digest_of
from keras_bt.data.layout import describe_left_out, find_sets, list_images
from keras_bt.data.manifest import is_prepared
from keras_bt.data.prepared import from_prepared
from keras_bt.data.reader import Reader
from keras_bt.data.scan import check_name, remember, scan


def from_folder(
    path: str | os.PathLike[str],
    bad_images: str = "fail",
    max_pixels: int = MAX_PIXELS,
    index: str | os.PathLike[str] | None = None,
    check: str = "header",
) -> Source:
    """Images of any size in a folder.

    Subfolders `train` and `test` (or `val`, `validation`) are the two sets, if both exist; of
    several test folders, the first with labels. Subfolders are classes if there are at least two,
    they hold all images, and each holds at least five. Only evaluation uses the labels. With
    classes but no labelled `test` folder, every fifth image is held out. A warning of one line
    names what is left out: images beside the sets, files that are no images, and labels.

    An image that cannot be read when it is needed is replaced by the next one of its set, with
    its label; see `Images.replaced`. A folder that `prepare` has written is recognized, and has
    the sets, classes and held-out images of the folder that it was made of.

    Args:
        path: The folder. Images end in .jpg, .jpeg, .jfif, .jpe, .png, .bmp, .gif or .webp.
        bad_images: What is done with images that `check` finds unreadable: "fail", or "skip" to
            leave them out.
        max_pixels: Larger images count as unreadable.
        index: File that stores what `check` has found, to make the next start faster. None
            stores nothing.
        check: "header" reads the header of each file now, which finds empty files, other formats
            and too many pixels. "decode" decodes each file now.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images that
            cannot be read. The message lists the first ten.
        OSError: If a folder inside it cannot be listed, or none of the first images of a set can
            be decoded.
    """
    check_bad_images(bad_images)
    check_name(check)
    root = Path(path).expanduser().absolute()
    if is_prepared(root):
        return from_prepared(root, check)
    sets = find_sets(root)
    paths = sets.train_paths + sets.test_paths
    records = dict(zip(paths, scan(paths, str(root), index, max_pixels, check), strict=True))
    problems = _problems(records)
    skip_unreadable(problems, len(paths), bad_images)
    arrangement = arrange(sets, problems)
    arrangement.log(root)
    start = len(os.path.join(root, ""))
    digest = digest_of((path[start:], records[path].size_bytes) for path in paths)

    def images(name: str, paths: list[str], labels: Sequence[int] | None) -> Images:
        reader = _reader(paths, records, str(root), index, max_pixels)
        return reader.images(name, labels, paths)

    return source_of(root.name, root, arrangement, images, len(problems), digest)


def image_files(path: str | os.PathLike[str]) -> list[str]:
    """Paths of all images in a folder, at any depth, sorted.

    Args:
        path: The folder.

    Raises:
        ValueError: If the folder does not exist or holds no images.
        OSError: If a folder inside it cannot be listed.
    """
    root = Path(path).expanduser().absolute()
    images, others = list_images(root)
    if others:
        left_out = "; ".join(describe_left_out({}, others))
        logging.getLogger(__name__).warning("%s: %s.", printable(str(root)), left_out)
    return images


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
        skip_unreadable(_problems(records), len(paths), bad_images)
    if not readable:
        return None, []
    reader = _reader(readable, records, root, None, max_pixels)
    return reader.images(root, None, readable), readable


def _problems(records: Mapping[str, FileRecord]) -> dict[str, str]:
    """Why files cannot be read, by path."""
    return {path: record.problem for path, record in records.items() if record.problem}


def _reader(
    paths: list[str],
    records: Mapping[str, FileRecord],
    root: str,
    index: str | os.PathLike[str] | None,
    max_pixels: int,
) -> Reader:
    """A reader of examined files, which stores in the index what it has found."""
    known = [records[path] for path in paths]

    def read(index: int) -> bytes:
        encoded, known[index] = encoded_image(paths[index], known[index], max_pixels)
        return encoded

    mean_bytes = float(np.mean([record.size_bytes for record in known]))

    def when_all_are_read() -> None:
        remember(dict(zip(paths, known, strict=True)), root, index, max_pixels)

    return Reader(len(paths), read, paths.__getitem__, mean_bytes, when_all_are_read)

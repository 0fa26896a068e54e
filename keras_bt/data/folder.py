"""Images in the files of a folder."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from keras_bt.data.arrangement import arrange, check_bad_images, skip_unreadable, source_of
from keras_bt.data.decode import decode_image, image_and_label
from keras_bt.data.files import MAX_PIXELS, FileRecord, printable
from keras_bt.data.images import Images, Source, digest_of
from keras_bt.data.layout import describe_left_out, find_sets, list_images
from keras_bt.data.reader import Reader
from keras_bt.data.scan import scan


def from_folder(
    path: str | os.PathLike[str],
    bad_images: str = "fail",
    max_pixels: int = MAX_PIXELS,
    index: str | os.PathLike[str] | None = None,
) -> Source:
    """Images of any size in a folder.

    Subfolders `train` and `test` (or `val`, `validation`) are the two sets, if both exist; of
    several test folders, the first with labels. Subfolders are classes if there are at least two,
    they hold all images, and each holds at least five. Only evaluation uses the labels. With
    classes but no labelled `test` folder, every fifth image is held out. A warning of one line
    names what is left out: images beside the sets, files that are no images, and labels.

    Every file is decoded once before training. If training cannot read a file later, the next
    image and its label replace it; see `Images.replaced`.

    Args:
        path: The folder. Images end in .jpg, .jpeg, .jfif, .jpe, .png, .bmp, .gif or .webp.
        bad_images: "fail", or "skip" to leave out images that cannot be read.
        max_pixels: Larger images count as unreadable.
        index: File that stores which images can be read, to make the next start faster. None
            stores nothing.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images that
            cannot be read. The message lists the first ten.
        OSError: If a folder inside it cannot be listed.
    """
    check_bad_images(bad_images)
    root = Path(path).expanduser().absolute()
    sets = find_sets(root)
    paths = sets.train_paths + sets.test_paths
    records = dict(zip(paths, scan(paths, str(root), index, max_pixels), strict=True))
    problems = _problems(records)
    skip_unreadable(problems, len(paths), bad_images)
    arrangement = arrange(sets, problems)
    arrangement.log(root)
    start = len(os.path.join(root, ""))
    digest = digest_of((path[start:], records[path].size_bytes) for path in paths)

    def images(name: str, paths: list[str], labels: Sequence[int] | None) -> Images:
        return _images(name, Reader(paths, [records[path] for path in paths], max_pixels), labels)

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
    reader = Reader(readable, [records[path] for path in readable], max_pixels)
    return _images(root, reader, None), readable


def _problems(records: Mapping[str, FileRecord]) -> dict[str, str]:
    """Why files cannot be read, by path."""
    return {path: record.problem for path, record in records.items() if record.problem}


def _images(name: str, reader: Reader, labels: Sequence[int] | None) -> Images:
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

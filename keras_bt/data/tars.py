"""Images in tar files, as WebDataset writes them."""

import functools
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from keras_bt.data.files import UnreadableError, check_decodes
from keras_bt.data.images import Source, digest_of
from keras_bt.data.labels import classes_of, source_of_shards
from keras_bt.data.layout import IMAGE_SUFFIXES
from keras_bt.data.patterns import is_local, matching_files
from keras_bt.data.record_fields import IMAGE_STARTS
from keras_bt.data.records import Records
from keras_bt.data.scan import check_name
from keras_bt.data.shards import UNREAD, Contents, Label, index_shards, remember

LABEL_SUFFIX = ".cls"
# The name of a sample ends at the first dot after the last slash.
MEMBER_NAME = re.compile(r"((?:.*/)?[^/.]+)(\.[^/]*)")


def from_tars(
    pattern: str | os.PathLike[str],
    index: str | os.PathLike[str] | None = None,
    check: str = "header",
) -> Source:
    """Tar files of images, as WebDataset writes them, in any order.

    A sample is the files of one name, such as cat/17.jpg and cat/17.cls. Its image ends in .jpg,
    .jpeg, .png, .bmp, .gif or .webp (the orientation in EXIF is ignored); of several, the first is
    taken. Its label ends in .cls: a number from 0, or a text. Other files are ignored. Labels are
    used as by `from_tfrecords`, and images are read in any order and replaced as there.

    Args:
        pattern: Path of the files, with * or ranges such as {000..123}.
        index: See `from_tfrecords`.
        check: See `from_tfrecords`.

    Raises:
        ValueError: If no file matches, or a file is compressed, damaged, cut off, on another
            machine, or holds no images. The message names the first ten.
        OSError: If a file cannot be read, or none of the first images can be decoded.
    """
    check_name(check)
    pattern = os.path.expanduser(os.fspath(pattern))
    files = matching_files(pattern)
    if remote := [file for file in files if not is_local(file)]:
        raise ValueError(f"{remote[0]} is on another machine; tar files must be on this one.")
    header = {"index": "keras_bt tars 1"}
    shards = index_shards(files, _examine, header, index, check)
    labels = [label for shard in shards for label in shard.contents.labels]
    expected = any(label is not None for label in labels)
    classes = classes_of(labels, pattern, expected)
    found = functools.partial(remember, files=files, header=header, index=index)
    records = Records(files, shards, classes.numbers, found)
    sizes = [shard.contents.lengths for shard in shards]  # those of tar files are rounded up
    digest = digest_of(zip(map(os.path.basename, files), sizes, strict=True))
    return source_of_shards(pattern, shards, classes, records.images, digest)


def _examine(file: str, check: str) -> tuple[Contents, list[str]]:
    """The images of a tar file, and what is wrong with it."""
    contents = Contents("", [], [], [], [])
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, Label] = {}
    problems = []
    with open(file, "rb") as opened:
        read = functools.partial(os.pread, opened.fileno())
        try:
            for name, suffix, offset, length in _members(opened):
                if suffix in IMAGE_SUFFIXES:
                    images.setdefault(name, (offset, length))
                elif suffix == LABEL_SUFFIX:
                    labels[name] = _label(read(length, offset))
        except (tarfile.TarError, OSError):
            return contents, [f"{file}: compressed, damaged or cut off; tar files must be whole"]
        for name, (offset, length) in images.items():
            checksum = UNREAD
            try:
                if not read(4, offset).startswith(IMAGE_STARTS):
                    raise UnreadableError("no image")
                if check == "decode":
                    encoded = read(length, offset)
                    check_decodes(encoded)
                    checksum = zlib.crc32(encoded)
            except UnreadableError as error:
                problems.append(f"{file}, {name}: {error}")
                continue
            contents.offsets.append(offset)
            contents.lengths.append(length)
            contents.checksums.append(checksum)
            contents.labels.append(labels.get(name))
    if not images:
        problems.append(f"{file}: no images ({', '.join(IMAGE_SUFFIXES)})")
    return contents, problems


def _members(opened: BinaryIO) -> Iterator[tuple[str, str, int, int]]:
    """Name, suffix, position and size of each file inside a tar file."""
    with tarfile.open(fileobj=opened, mode="r:") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps all
            if member.isreg() and (found := MEMBER_NAME.fullmatch(member.name)):
                yield found[1], found[2].lower(), member.offset_data, member.size
        # After a damaged header `tarfile` ends as if the file did.
        if any(os.pread(opened.fileno(), tarfile.BLOCKSIZE, tar.offset)):
            raise tarfile.ReadError


def _label(content: bytes) -> Label:
    """A label from the content of its file."""
    text = content.strip()
    return int(text) if re.fullmatch(rb"-?\d{1,18}", text) else text

"""Examines image files, reads them, and says why a file cannot be read.

`decode_image` decodes PNG and most JPEG files to the pixels that a viewer shows. Their kind is
"plain". All others (EXIF orientation, CMYK, BMP, GIF, WebP) are "odd": Pillow converts them to
BMP, so that one decoder reads all.
"""

import errno
import io
import os
import stat
import zlib
from typing import BinaryIO, NamedTuple

import tensorflow as tf
from PIL import ExifTags, Image

from keras_bt._support.errors import first_line
from keras_bt.data.decode import decode_jpeg, decode_png

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 89_478_485  # Pillow warns above this
LARGEST_MAX_PIXELS = 178_956_970  # Pillow refuses to decode above this
PLAIN_JPEG_MODES = ("L", "RGB")
TRANSPOSES = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
UNKNOWN = (-1, -1)


class FileRecord(NamedTuple):
    """Result of examining a file. Size and time are -1 if the system denied access."""

    size_bytes: int
    mtime_ns: int
    checksum: int
    kind: str  # plain, odd or bad
    problem: str = ""  # why a bad file cannot be read


class UnreadableError(Exception):
    """A file is not a readable image. The message is the reason, in a few words."""


def examine(path: str, max_pixels: int = MAX_PIXELS) -> FileRecord:
    """Reads and decodes a file in the same way as training.

    Args:
        path: Path of the file.
        max_pixels: Larger images count as bad; only their header is read.

    Example:
        >>> examine("/nowhere/cat.jpg").problem
        'no such file or directory'
    """
    return _examine(path, max_pixels)[0]


def encoded_image(path: str, record: FileRecord, max_pixels: int = MAX_PIXELS) -> bytes:
    """Reads an examined file, as bytes for `decode_image`.

    Args:
        path: Path of the file.
        record: Result of `examine`. If the file has changed since, it is examined again.
        max_pixels: See `examine`.

    Raises:
        UnreadableError: If the file is missing, or no longer an image.
    """
    try:
        encoded, plain = _read_bytes(path, record.size_bytes + 1), record.kind == "plain"
    except OSError as error:
        raise UnreadableError(reason_of(error)) from error
    if len(encoded) != record.size_bytes or zlib.crc32(encoded) != record.checksum:
        changed, encoded = _examine(path, max_pixels)
        if changed.problem:
            raise UnreadableError(changed.problem)
        plain = changed.kind == "plain"
    return encoded if plain else _as_bmp(encoded)


def printable(path: str) -> str:
    """A path for messages, always on one line."""
    return path if path.isprintable() else repr(path)


def _read_bytes(path: str, count: int) -> bytes:
    """Reads at most `count` bytes from the start of a file."""
    # Nonblocking, because a pipe in the place of the file would block forever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def _examine(path: str, max_pixels: int) -> tuple[FileRecord, bytes]:
    """The record of a file, and its bytes if it is an image."""
    size_and_time = UNKNOWN
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(path, "rb") as file:
            check_header(file, status.st_size, max_pixels)
            encoded = file.read()
        kind = _kind(encoded)
    except Exception as error:  # Pillow raises any type of error for damaged files
        if not getattr(error, "errno", None):
            size_and_time = (status.st_size, status.st_mtime_ns)
        return FileRecord(*size_and_time, 0, "bad", reason_of(error)), b""
    return FileRecord(len(encoded), status.st_mtime_ns, zlib.crc32(encoded), kind), encoded


def check_max_pixels(max_pixels: int) -> None:
    """Rejects a number of pixels that is not positive or that Pillow refuses to decode."""
    if not 0 < max_pixels <= LARGEST_MAX_PIXELS:
        raise ValueError(
            f"max_pixels must be at least 1 and at most {LARGEST_MAX_PIXELS}, Pillow's limit, got "
            f"{max_pixels}."
        )


def check_header(file: BinaryIO, size_bytes: int, max_pixels: int) -> None:
    """Rejects empty files, other formats, and images with too many pixels."""
    if not size_bytes:
        raise UnreadableError("empty file")
    width, height = Image.open(file, formats=FORMATS).size
    if not 0 < width * height <= max_pixels:
        raise UnreadableError(f"{width} x {height} pixels; max_pixels is {max_pixels}")
    file.seek(0)


def _kind(encoded: bytes) -> str:
    """Returns "plain" or "odd"; decodes the whole image to detect damage."""
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    decoders = {"JPEG": decode_jpeg, "MPO": decode_jpeg, "PNG": tf.io.decode_png}
    decode = decoders.get(image.format or "")
    if decode:  # also odd ones, because Pillow accepts some damaged files
        try:
            decode(encoded)
        except tf.errors.OpError as error:
            raise UnreadableError("damaged or cut off") from error
        if (image.format == "PNG" or image.mode in PLAIN_JPEG_MODES) and (
            orientation_of(image) not in TRANSPOSES
        ):
            return "plain"
    _as_bmp(encoded)
    return "odd"


def _as_bmp(encoded: bytes) -> bytes:
    """A BMP file of the pixels that a viewer shows, with white behind transparency."""
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    shown = rgb_image(encoded)
    if (orientation := orientation_of(image)) in TRANSPOSES:
        shown = shown.transpose(TRANSPOSES[orientation])
    file = io.BytesIO()
    shown.save(file, "BMP")
    return file.getvalue()


def rgb_image(encoded: bytes) -> Image.Image:
    """The pixels that a viewer shows before it turns them, with white behind transparency."""
    image: Image.Image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    if image.format == "PNG":  # Pillow reads those of 16 bits and of less than 8 differently
        return Image.fromarray(decode_png(encoded).numpy())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def orientation_of(image: Image.Image) -> int | None:
    """The EXIF orientation, if there is one."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF data can be damaged although the image is not
        return None


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, BMP, GIF or WebP image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return first_line(error)

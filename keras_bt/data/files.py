"""Examines image files, reads them, and says why a file cannot be read.

`decode_image` decodes PNG and most JPEG files to the pixels that a viewer shows. Their kind is
"plain". All others (EXIF orientation, CMYK, BMP, GIF, WebP) are "odd": Pillow converts them to
BMP, so that one decoder reads all. The kind of a file is "unread" until it has been decoded once.
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
from keras_bt.data.decode import decode_image, decode_png

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
LARGE_REDUCED = 2**24  # at full size 64 times as large; TensorFlow 2.21 decodes less than 2**31
UNKNOWN = (-1, -1)
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG"


class FileRecord(NamedTuple):
    """Result of examining a file. Size and time are -1 if the system denied access."""

    size_bytes: int
    mtime_ns: int
    checksum: int  # CRC-32; 0 of an unread file
    kind: str  # unread, plain, odd or bad
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


def examine_header(path: str, max_pixels: int = MAX_PIXELS) -> FileRecord:
    """Reads the header of a file. Its kind is "unread", or "bad" if the header shows that.

    Args:
        path: Path of the file.
        max_pixels: Larger images count as bad.

    Example:
        >>> examine_header("/nowhere/cat.jpg").problem
        'no such file or directory'
    """
    return _examine(path, max_pixels, header_only=True)[0]


def encoded_image(
    path: str, record: FileRecord, max_pixels: int = MAX_PIXELS
) -> tuple[bytes, FileRecord]:
    """Reads an examined file.

    Args:
        path: Path of the file.
        record: Result of `examine` or `examine_header`. A file that is unread, or that has
            changed since, is examined.
        max_pixels: See `examine`.

    Returns:
        encoded: Bytes for `decode_image`, which has decoded them before.
        record: The record for the next call.

    Raises:
        UnreadableError: If the file is missing, or not an image.
    """
    if record.kind != "unread":
        encoded = read_bytes(path, record.size_bytes + 1)
        if len(encoded) == record.size_bytes and zlib.crc32(encoded) == record.checksum:
            return (encoded if record.kind == "plain" else _as_bmp(encoded)), record
    found, encoded = _examine(path, max_pixels)
    if found.problem:
        raise UnreadableError(found.problem)
    return encoded, found


def check_decodes(encoded: bytes) -> None:
    """Decodes an image with TensorFlow, to detect damage.

    Args:
        encoded: Bytes for `decode_image`.

    Raises:
        UnreadableError: If the image is damaged, cut off, or of another format.
    """
    # Eager operations run in the calling thread. A `tf.function` waits for a thread of the pool
    # from which `tf.data` calls this, and may wait forever.
    try:
        with tf.device("CPU:0"):
            content = tf.constant(encoded)  # an operation on bytes takes longer
            if encoded.startswith(JPEG_START):
                # All of the file is read, but only an eighth of each side is computed.
                reduced = tf.io.decode_jpeg(content, channels=3, ratio=8)
                if reduced.shape.num_elements() > LARGE_REDUCED:
                    tf.io.decode_jpeg(content, channels=3)
            elif encoded.startswith(PNG_START):
                tf.io.decode_png(content)
            else:
                decode_image(content)
    except tf.errors.OpError as error:
        raise UnreadableError("damaged or cut off") from error


def read_bytes(path: str, count: int, offset: int = 0) -> bytes:
    """Reads at most `count` bytes of a file.

    Args:
        path: Path of the file.
        count: Number of bytes.
        offset: Position of the first.

    Raises:
        UnreadableError: If the file is missing or cannot be read.
    """
    try:
        # Nonblocking, because a pipe in the place of the file would block forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, count)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableError(reason_of(error)) from error


def printable(path: str) -> str:
    """A path for messages, always on one line."""
    return path if path.isprintable() else repr(path)


def _examine(path: str, max_pixels: int, header_only: bool = False) -> tuple[FileRecord, bytes]:
    """The record of a file, and the bytes for `decode_image` if it was decoded."""
    size_and_time = UNKNOWN
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if not status.st_size:
            raise UnreadableError("empty file")
        with open(path, "rb") as file:
            encoded = b"" if header_only else file.read()
            image = open_image(file if header_only else io.BytesIO(encoded), max_pixels)
        if header_only:
            return FileRecord(status.st_size, status.st_mtime_ns, 0, "unread"), b""
        kind, decodable = _decodable(image, encoded)
    except Exception as error:  # Pillow raises any type of error for damaged files
        if not getattr(error, "errno", None):
            size_and_time = (status.st_size, status.st_mtime_ns)
        return FileRecord(*size_and_time, 0, "bad", reason_of(error)), b""
    return FileRecord(len(encoded), status.st_mtime_ns, zlib.crc32(encoded), kind), decodable


def check_max_pixels(max_pixels: int) -> None:
    """Rejects a number of pixels that is not positive or that Pillow refuses to decode."""
    if not 0 < max_pixels <= LARGEST_MAX_PIXELS:
        raise ValueError(
            f"max_pixels must be at least 1 and at most {LARGEST_MAX_PIXELS}, Pillow's limit, got "
            f"{max_pixels}."
        )


def open_image(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Reads the header of an image; rejects other formats and too many pixels."""
    image = Image.open(file, formats=FORMATS)
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise UnreadableError(f"{width} x {height} pixels; max_pixels is {max_pixels}")
    return image


def _decodable(image: Image.Image, encoded: bytes) -> tuple[str, bytes]:
    """The kind of an image, and its bytes for `decode_image`; decodes it to detect damage."""
    if image.format in ("JPEG", "MPO", "PNG"):
        check_decodes(encoded)  # also odd ones, because Pillow accepts some damaged files
        if (image.format == "PNG" or image.mode in PLAIN_JPEG_MODES) and (
            orientation_of(image) not in TRANSPOSES
        ):
            return "plain", encoded
    return "odd", _as_bmp(encoded)


def _as_bmp(encoded: bytes) -> bytes:
    """A BMP file of the pixels that a viewer shows, with white behind transparency."""
    orientation = orientation_of(Image.open(io.BytesIO(encoded), formats=FORMATS))
    image = rgb_image(encoded)
    if orientation in TRANSPOSES:
        image = image.transpose(TRANSPOSES[orientation])
    file = io.BytesIO()
    image.save(file, "BMP")
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

"""How the file of an image is read, and what is wrong with one that cannot be.

TensorFlow decodes most JPEG and PNG files to what a viewer shows: these are plain. All
others (CMYK, turned by EXIF, transparent, 16 bits of gray, BMP, GIF, WebP) are odd: Pillow
draws them, and hands them on as a BMP file, so that one decoder gets them all.
"""

import errno
import io
import os
import stat
import zlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from keras_bt._support.errors import first_line
from keras_bt.data.images import decode_jpeg_or_png

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 89_478_485  # where Pillow begins to warn
LARGEST_MAX_PIXELS = 178_956_970  # from there on it refuses
PLAIN_MODES = ("1", "L", "P", "RGB")
TURNS = {  # by the value of the EXIF tag
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
    """What is known of a file; size and time are -1 where the system let nobody look."""

    size_bytes: int
    mtime_ns: int
    checksum: int
    kind: str  # plain, odd or bad
    problem: str = ""  # of a bad one


class UnreadableError(Exception):
    """Why a file is no image, in a few words."""


def examine(path, max_pixels=MAX_PIXELS):
    """Reads and decodes a file, as training will.

    Args:
        path: String.
        max_pixels: Int. An image with more is bad; only its header is read.

    Returns:
        `FileRecord`.

    Example:
        >>> examine("/nowhere/cat.jpg").problem
        'no such file or directory'
    """
    return _examine(path, max_pixels)[0]


def encoded_image(path, record, max_pixels=MAX_PIXELS):
    """An image for `decode_image`, from a file that was examined before.

    Args:
        path: String.
        record: Its `FileRecord`. If the file has changed since, it is examined again.
        max_pixels: See `examine`.

    Returns:
        Bytes.

    Raises:
        UnreadableError: If the file is gone, or no longer an image.
    """
    try:
        encoded, plain = _first_bytes(path, record.size_bytes + 1), record.kind == "plain"
    except OSError as error:
        raise UnreadableError(_reason(error)) from error
    if len(encoded) != record.size_bytes or zlib.crc32(encoded) != record.checksum:
        now, encoded = _examine(path, max_pixels)
        if now.problem:
            raise UnreadableError(now.problem)
        plain = now.kind == "plain"
    return encoded if plain else _drawn(encoded)


def shown(path):
    """A path as a message shows it: on one line, whatever is in it."""
    return path if path.isprintable() else repr(path)


def _first_bytes(path, count):
    # Not to wait: a pipe may have taken the place of the file.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def _examine(path, max_pixels):
    known, encoded = UNKNOWN, b""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file of data")
        with open(path, "rb") as file:
            _check_header(file, status.st_size, max_pixels)
            encoded = file.read()
        kind = _kind(encoded)
    except Exception as error:  # Pillow raises all sorts at damaged files
        if not getattr(error, "errno", None):
            known = (status.st_size, status.st_mtime_ns)
        return FileRecord(*known, 0, "bad", _reason(error)), b""
    return FileRecord(len(encoded), status.st_mtime_ns, zlib.crc32(encoded), kind), encoded


def _check_header(file, size_bytes, max_pixels):
    if not size_bytes:
        raise UnreadableError("empty file")
    width, height = Image.open(file, formats=FORMATS).size
    if not 0 < width * height <= max_pixels:
        raise UnreadableError(f"{width} x {height} pixels; max_pixels is {max_pixels}")
    file.seek(0)


def _kind(encoded):
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    natively = image.format in ("JPEG", "MPO", "PNG")
    if natively:  # odd ones too: Pillow forgives damage
        try:
            decode_jpeg_or_png(encoded)
        except tf.errors.OpError as error:
            raise UnreadableError("damaged or cut off") from error
    whole = image.mode in PLAIN_MODES and not image.has_transparency_data
    if natively and whole and _orientation(image) not in TURNS:
        return "plain"
    _drawn(encoded)
    return "odd"


def _drawn(encoded):
    """A BMP file of what a viewer shows, on white where the image is transparent."""
    image: Image.Image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    orientation = _orientation(image)
    if image.mode.startswith("I"):
        image = _high_bytes(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    file = io.BytesIO()
    image.save(file, "BMP")
    return file.getvalue()


def _high_bytes(image):
    """8 bits of 16; Pillow's own conversion cuts everything above 255 off."""
    deep = np.asarray(image)
    gray = (deep >> 8).astype("uint8")
    gray[deep == image.info.get("transparency", -1)] = 255
    return Image.fromarray(gray)


def _orientation(image):
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data of an image that may be whole
        return None


def _reason(error):
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, BMP, GIF or WebP image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return first_line(error)

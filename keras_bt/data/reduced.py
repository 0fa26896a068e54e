"""Reads one image file and reduces it to the pixels that training needs, encoded again.

The shorter side is reduced to the load size, so that every framing and every evaluation can be
made of the result. Images that are no larger stay as they are, to the byte.
"""

import errno
import io
import os
import stat
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_bt.data.files import (
    LARGEST_MAX_PIXELS,
    PLAIN_JPEG_MODES,
    TRANSPOSES,
    UnreadableError,
    check_decodes,
    open_image,
    orientation_of,
    reason_of,
    rgb_image,
)

LOSSLESS_SIDE = 64  # up to this load size images are PNG files, above it JPEG files
JPEG_QUALITY = 98
MOST_ASPECT = 8  # the longer side is reduced to this many load sizes at most
# A JPEG decodes much faster to a part of its size. So many pixels are then left for each pixel
# of the result that the proper filter decides how it looks.
RATIOS, LEFT_PIXELS = (8, 4, 2), 2
SIDEWAYS = tuple(TRANSPOSES[orientation] for orientation in (5, 6, 7, 8))


class ReducedImage(NamedTuple):
    """An image as it is stored: its bytes for `decode_image`, and its true size in pixels."""

    encoded: bytes
    height: int
    width: int


def reduce_file(
    path: str, load_size: int, max_pixels: int, size_and_time: tuple[int, int]
) -> ReducedImage:
    """Reads a file, and reduces its image.

    Args:
        path: Path of the file.
        load_size: See `reduce_image`.
        max_pixels: Larger images count as unreadable.
        size_and_time: Size in bytes and time of change, in nanoseconds, that the file must have
            after it was read.

    Raises:
        UnreadableError: If the file is not a readable image, or has changed.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(path, "rb") as file:
            encoded = file.read()
        if not encoded:
            raise UnreadableError("empty file")
        status = os.stat(path)
        if (status.st_size, status.st_mtime_ns) != size_and_time:
            raise UnreadableError("it changed while the images were prepared")
        return reduce_image(encoded, load_size, max_pixels)
    except Exception as error:  # Pillow raises any type of error for damaged files
        raise UnreadableError(reason_of(error)) from error


def reduce_image(
    encoded: bytes, load_size: int, max_pixels: int = LARGEST_MAX_PIXELS
) -> ReducedImage:
    """Reduces an image until its shorter side has `load_size` pixels.

    The filter is bicubic and antialiased. A JPEG is decoded at a half, a quarter or an eighth of
    its size if each side then still has twice the pixels of the result. The result is a JPEG of
    quality 98 with colors at full resolution, or a PNG for a load size of up to 64.

    Args:
        encoded: A JPEG, PNG, BMP, GIF or WebP file.
        load_size: In pixels. The longer side is at most eight times as long; the shorter side
            of an image of a more extreme shape is shorter than `load_size`.
        max_pixels: Larger images are refused.

    Returns:
        The image as a viewer shows it: turned as EXIF says, with white behind transparency. The
        same bytes if a JPEG or PNG file needs no change.

    Raises:
        UnreadableError: If the image is damaged or too large. Pillow raises other errors too.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (400, 300)).save(file, "JPEG")
        >>> image = reduce_image(file.getvalue(), load_size=30)
        >>> image.height, image.width, Image.open(io.BytesIO(image.encoded)).size
        (300, 400, (40, 30))
    """
    image = open_image(io.BytesIO(encoded), max_pixels)
    width, height = image.size
    transpose = TRANSPOSES.get(orientation_of(image) or 0)
    size = reduced_size(width, height, load_size)
    is_jpeg = image.format in ("JPEG", "MPO")
    plain = image.format == "PNG" or (is_jpeg and image.mode in PLAIN_JPEG_MODES)
    if plain and size == image.size and transpose is None:
        check_decodes(encoded)
        return ReducedImage(encoded, height, width)
    box = (0.0, 0.0, float(width), float(height))
    if is_jpeg and plain:
        ratio = _decoding_ratio(image.size, size)
        shown = Image.fromarray(_decode_jpeg(encoded, ratio))
        # A side that the ratio does not divide has a fraction of a pixel too much.
        box = (0.0, 0.0, width / ratio, height / ratio)
    else:
        if is_jpeg or image.format == "PNG":
            check_decodes(encoded)  # because Pillow accepts some damaged files
        shown = rgb_image(encoded)
    if size != shown.size:
        shown = shown.resize(size, Image.Resampling.BICUBIC, box)
    if transpose is not None:
        shown = shown.transpose(transpose)
    if transpose in SIDEWAYS:
        height, width = width, height
    return ReducedImage(_encode(np.asarray(shown), load_size), height, width)


def reduced_size(width: int, height: int, load_size: int) -> tuple[int, int]:
    """Width and height of the reduced image.

        scale = min(1, load_size / shorter side, 8 * load_size / longer side)

    Args:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        load_size: See `reduce_image`.

    Example:
        >>> reduced_size(4000, 3000, 60), reduced_size(50, 40, 60), reduced_size(9000, 90, 60)
        ((80, 60), (50, 40), (480, 5))
    """
    shorter, longer = sorted((width, height))
    scale = min(1.0, load_size / shorter, MOST_ASPECT * load_size / longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def encoding_in_words(load_size: int) -> str:
    """How images of a load size are stored.

    Example:
        >>> encoding_in_words(64), encoding_in_words(320)
        ('PNG', 'JPEG, quality 98, 4:4:4')
    """
    return "PNG" if load_size <= LOSSLESS_SIDE else f"JPEG, quality {JPEG_QUALITY}, 4:4:4"


def _decoding_ratio(size: tuple[int, int], reduced: tuple[int, int]) -> int:
    """The largest ratio of decoding that leaves pixels enough on both sides."""
    for ratio in RATIOS:
        if all(
            side >= LEFT_PIXELS * ratio * small for side, small in zip(size, reduced, strict=True)
        ):
            return ratio
    return 1


def _decode_jpeg(encoded: bytes, ratio: int) -> np.ndarray:
    """The RGB pixels of a JPEG, uint8 [height, width, 3], as `decode_jpeg` computes them."""
    try:
        return tf.io.decode_jpeg(
            encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
        ).numpy()
    except tf.errors.OpError as error:
        raise UnreadableError("damaged or cut off") from error


def _encode(pixels: np.ndarray, load_size: int) -> bytes:
    """A PNG or JPEG file of uint8 pixels [height, width, 3]."""
    with tf.device("CPU:0"):  # without a copy to a GPU and back
        if load_size <= LOSSLESS_SIDE:
            return tf.io.encode_png(pixels).numpy()
        return tf.io.encode_jpeg(
            pixels, format="rgb", quality=JPEG_QUALITY, chroma_downsampling=False
        ).numpy()

"""JPEG images as data URIs."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from keras_bt.report.snapshots import evenly_spaced
from keras_bt.report.svg import label_colors

if TYPE_CHECKING:
    from PIL import Image

MAP_SIDE, TILE_SIDE, BORDER = 840, 35, 2  # pixels
MAX_THUMBNAILS = 220
UNLABELED = (0.55, 0.55, 0.55)


def thumbnail_map_uri(
    points: np.ndarray,
    thumbnails: np.ndarray,
    labels: np.ndarray | None = None,
    classes: int = 0,
) -> str:
    """Draws images at their positions on a map, framed by the color of their label.

    Args:
        points: Float array [images, 2].
        thumbnails: uint8 array [images, side, side, 3].
        labels: Integer array [images], or None.
        classes: Number of classes.

    Returns:
        The data URI of a JPEG image.
    """
    from PIL import Image, ImageDraw

    side = TILE_SIDE + 2 * BORDER
    low, high = points.min(axis=0), points.max(axis=0)
    places = (points - low) / np.maximum(high - low, 1e-12) * (MAP_SIDE - side)
    canvas = Image.new("RGB", (MAP_SIDE, MAP_SIDE), "#f4f4f2")
    draw, colors = ImageDraw.Draw(canvas), label_colors(classes)
    for index in evenly_spaced(len(points), MAX_THUMBNAILS):
        left, top = int(places[index, 0]), MAP_SIDE - side - int(places[index, 1])
        rgb = UNLABELED if labels is None else colors[labels[index]][:3]
        color = tuple(int(255 * part) for part in rgb)
        draw.rectangle((left, top, left + side - 1, top + side - 1), color)
        image = Image.fromarray(thumbnails[index])
        image = image.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BICUBIC)
        canvas.paste(image, (left + BORDER, top + BORDER))
    return _jpeg_uri(canvas)


def image_uri(pixels: np.ndarray, side: int) -> str:
    """Encodes an image, at least `side` and at most 2 · `side` pixels large.

    Small images are enlarged without interpolation, so that their pixels stay visible.

    Args:
        pixels: uint8 array [height, width, 3].
        side: Smallest length of the longer side, in pixels.

    Returns:
        The data URI of a JPEG image.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = -(-side // max(image.size))
    if factor > 1:
        width, height = image.size
        image = image.resize((factor * width, factor * height), Image.Resampling.NEAREST)
    image.thumbnail((2 * side, 2 * side))
    return _jpeg_uri(image)


def _jpeg_uri(image: "Image.Image") -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

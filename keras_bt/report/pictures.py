"""The pictures of a run's page: JPEG within the page itself."""

import base64
import io

import numpy as np

from keras_bt.report.figures import palette
from keras_bt.report.snapshots import evenly_spaced

CANVAS, TILE, BORDER, MOST_THUMBNAILS = 840, 35, 2, 220  # pixels, but for the last
UNLABELLED = (0.55, 0.55, 0.55)


def thumbnail_map(points, thumbnails, labels=None, classes=0):
    """Images at their places on a map, framed by the color of their label; JPEG as a data URI."""
    from PIL import Image, ImageDraw

    side = TILE + 2 * BORDER
    low, high = points.min(axis=0), points.max(axis=0)
    places = (points - low) / np.maximum(high - low, 1e-12) * (CANVAS - side)
    canvas = Image.new("RGB", (CANVAS, CANVAS), "#f4f4f2")
    draw, colors = ImageDraw.Draw(canvas), palette(classes)
    for index in evenly_spaced(len(points), MOST_THUMBNAILS):
        left, top = int(places[index, 0]), CANVAS - side - int(places[index, 1])
        color = UNLABELLED if labels is None else colors[labels[index]]
        color = tuple(int(255 * part) for part in color[:3])
        draw.rectangle((left, top, left + side - 1, top + side - 1), color)
        image = Image.fromarray(thumbnails[index]).resize((TILE, TILE), Image.Resampling.BICUBIC)
        canvas.paste(image, (left + BORDER, top + BORDER))
    return _jpeg(canvas)


def picture(pixels, side):
    """An image for the page, small ones enlarged with their pixels square; a data URI.

    Args:
        pixels: uint8 array [height, width, 3].
        side: Int, pixels at least, and twice that at the most.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = -(-side // max(image.size))
    if factor > 1:
        image = image.resize([factor * s for s in image.size], Image.Resampling.NEAREST)
    image.thumbnail((2 * side, 2 * side))
    return _jpeg(image)


def _jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

"""Draws what a recipe's two views make of images, before anything is trained on them.

    python examples/show_views.py --image_dir=photos --image_size=96 --out=views.png
    python examples/show_views.py --recipe=cifar10 --crop_area=0.5,1 --rows=8 --out=views.png

A row an image: the image, then pairs of view A and view B, as different steps would draw them.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import recipe_and_source
import tensorflow as tf
from absl import app, flags, logging
from PIL import Image, ImageDraw, ImageFont

from keras_bt._support import atomic
from keras_bt.functional.image import as_unit_range
from keras_bt.report.gallery import as_bytes

FLAGS = flags.FLAGS
GAP, HEADING, SMALLEST = 4, 22, 96  # pixels: between images, above them, an image's least side

flags.adopt_module_key_flags(recipe_and_source)
flags.DEFINE_string("out", None, "The PNG file to write.", required=True)
flags.DEFINE_integer("rows", 6, "How many images.", 1)
flags.DEFINE_integer("pairs", 3, "How many pairs of views of each.", 1)
flags.DEFINE_integer("seed", 0, "Of the views.", 0, 2**32 - 1)
flags.DEFINE_string("workdir", None, "Of the run that is to be; its index of the images is used.")


def pictures(recipe, source):
    """Columns of pictures: the images, then view A and view B, as many times as there are pairs."""
    train = source.train  # of a data set that is read in order only the first are at hand
    rows = train.at_most(FLAGS.rows) if train.fetch else train
    images = as_unit_range(next(iter(rows.batches(FLAGS.rows, recipe.load_size)))["image"])
    views = recipe.build_views(FLAGS.seed)
    columns = [images]
    for _ in range(FLAGS.pairs):
        columns += [view(images, training=True) for view in views]
    side = max(SMALLEST, recipe.side_of_views)
    return [[enlarged(pixels, side) for pixels in as_bytes(column)] for column in columns]


def enlarged(pixels, side):
    """An image as it is drawn: small ones keep their pixels square."""
    smooth = Image.Resampling.NEAREST if len(pixels) < side else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize((side, side), smooth)


def sheet(columns):
    """The columns side by side, a wider gap after the images and after each pair."""
    side = columns[0][0].width
    lefts = np.cumsum([0, *(side + (1 + 2 * (n % 2 == 0)) * GAP for n in range(len(columns)))])
    height = HEADING + len(columns[0]) * (side + GAP) - GAP
    drawn = Image.new("RGB", (int(lefts[-1]) - 3 * GAP, height), "white")
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(14)
    for number, (left, column) in enumerate(zip(map(int, lefts[:-1]), columns, strict=True)):
        name = ("view B", "view A")[number % 2] if number else "image"
        draw.text((left, 2), name, "black", font)
        for row, image in enumerate(column):
            drawn.paste(image, (left, HEADING + row * (side + GAP)))
    return drawn


def main(arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        if not FLAGS.out.lower().endswith(".png"):
            raise ValueError(f"--out must end in .png, got {FLAGS.out}.")
        recipe, _, open_source = recipe_and_source.settle(tf.distribute.get_strategy())
        if FLAGS.describe:
            print(recipe.describe())
            return
        drawn = sheet(pictures(recipe, open_source()))
        with atomic.replacing(Path(FLAGS.out)) as aside:
            drawn.save(aside)
        print(FLAGS.out)
    except (ValueError, OSError) as error:
        sys.exit(f"show_views: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

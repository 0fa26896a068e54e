"""Draws the augmented views of your images, before anything is trained.

    keras-bt views --image_dir=photos --image_size=96 --out=views.png
    keras-bt views --recipe=cifar10 --crop_area=0.5,1 --rows=8 --out=views.png

Each row shows an image, then pairs of view A and view B as different training steps would draw
them. Check that the views keep what matters in your images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl.flags import FlagValues
from PIL import Image, ImageDraw, ImageFont

from keras_bt._support import atomic
from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.cli.image_flags import IMAGES
from keras_bt.cli.recipe_flags import define_recipe_flags, settle
from keras_bt.config.recipe import Recipe
from keras_bt.data import Source
from keras_bt.layers.augment import augment
from keras_bt.report.gallery import images_and_sizes, to_uint8

GAP, HEADING, SMALLEST = 4, 22, 96  # pixels: between images, above them, an image's least side


def _define_flags(values: FlagValues) -> None:
    define_recipe_flags(values)
    picture = FlagGroup(values, "Picture")
    picture.string("out", None, "PNG file to write.")
    picture.integer("rows", 6, "Number of images.", 1)
    picture.integer("pairs", 3, "Pairs of views of each image.", 1)
    picture.integer("seed", 0, "Seed of the views.", 0, 2**32 - 1)
    picture.string("workdir", None, "Folder of a later run, which shares its index of the images.")


def run(invocation: Invocation) -> None:
    """Draws the views, and prints the path of the picture."""
    flags = invocation.flags
    if not flags.out.lower().endswith(".png"):
        raise ValueError(f"--out must end in .png, got {flags.out}.")
    settled = settle(flags, tf.distribute.get_strategy())
    recipe, open_source = settled.recipe, settled.open_images
    if flags.describe:
        print(recipe.describe())
        return
    picture = _sheet(_columns(flags, recipe, open_source()))
    with atomic.replacing(Path(flags.out)) as aside:
        picture.save(aside)
    print(flags.out, flush=True)


def _columns(flags: FlagValues, recipe: Recipe, source: Source) -> list[list[Image.Image]]:
    """The images, then view A and view B of them, `pairs` times."""
    train = source.train.framed(recipe.framing)  # without random access, the first images
    rows = train.at_most(flags.rows) if train.fetch else train
    shown, images, sizes = images_and_sizes(rows, flags.rows, recipe.load_size)
    views = recipe.build_views(flags.seed)
    columns = [shown]
    for _ in range(flags.pairs):
        columns += [augment(view, images, sizes, training=True) for view in views]
    side = max(SMALLEST, recipe.side_of_views)
    return [[_enlarged(pixels, side) for pixels in to_uint8(column)] for column in columns]


def _enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """Resizes an image to a side; enlarges small images without smoothing."""
    smooth = Image.Resampling.NEAREST if len(pixels) < side else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize((side, side), smooth)


def _sheet(columns: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """The columns side by side, with a wider gap after the images and after each pair."""
    side = columns[0][0].width
    lefts = np.cumsum([0, *(side + (1 + 2 * (n % 2 == 0)) * GAP for n in range(len(columns)))])
    height = HEADING + len(columns[0]) * (side + GAP) - GAP
    sheet = Image.new("RGB", (int(lefts[-1]) - 3 * GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (left, column) in enumerate(zip(map(int, lefts[:-1]), columns, strict=True)):
        name = ("view B", "view A")[number % 2] if number else "image"
        draw.text((left, 2), name, "black", font)
        for row, image in enumerate(column):
            sheet.paste(image, (left, HEADING + row * (side + GAP)))
    return sheet


COMMAND = Command(
    name="views",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("image_dir", "dataset", "data_dir", "recipe", "image_size", "out", "rows", "pairs"),
    required=("out",),
    exclusive=(IMAGES,),
)
main = COMMAND.main

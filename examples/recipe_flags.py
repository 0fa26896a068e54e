"""The flags of a recipe: its name, and one for each of its fields."""

import dataclasses
import inspect
import re
import typing

from absl import flags

from keras_bt import BarlowTwinsView
from keras_bt.config.named import find_recipe, recipes
from keras_bt.config.recipe import Recipe

FLAGS = flags.FLAGS
FIELDS = [field for field in dataclasses.fields(Recipe) if field.name not in ("name", "sources")]
DEFAULT_IMAGE_SIZE = 32  # of images that no recipe is for
DEFINE = {
    int: flags.DEFINE_integer,
    int | None: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def _described(cls):
    """The arguments of a class and what its docstring says of them."""
    arguments = inspect.getdoc(cls).split("Args:")[1].split("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


HELP = {**_described(BarlowTwinsView), **_described(Recipe)}

flags.DEFINE_string(
    "recipe",
    None,
    f"Settings to start from: {', '.join(recipes)}. Without it that of --dataset; for other images "
    "settings by rules from their number, --image_size, --batch_size and --projector_dims.",
)
flags.DEFINE_bool("describe", False, "Print every setting, with where it comes from, and end.")
for _field in FIELDS:
    _define = DEFINE.get(_field.type, flags.DEFINE_list)
    _define(_field.name, None, HELP[_field.name])


def named_recipe(other_images):
    """The recipe the flags name, without the fields they give.

    Args:
        other_images: Bool. Whether flags name images that are no data set.

    Returns:
        `Recipe`; None for images that there is no recipe for.
    """
    if FLAGS.recipe:
        return find_recipe(FLAGS.recipe)
    if FLAGS.dataset:
        of_dataset = {recipe.dataset: recipe for recipe in recipes.values()}
        return of_dataset.get(FLAGS.dataset)
    return None if other_images else recipes["digits"]


def recipe_of_flags(named, images):
    """A recipe with the fields the flags give in place of its own.

    Args:
        named: From `named_recipe`.
        images: Int. How many there are; asked for if `named` is None.

    Raises:
        ValueError: If a value cannot be, or a flag contradicts the others.
    """
    fields = _given_fields()
    if named is None:
        dims = fields.get("projector_dims")
        named = Recipe.for_images(
            images,
            fields.get("image_size", DEFAULT_IMAGE_SIZE),
            batch_size=fields.get("batch_size"),
            dim=dims[-1] if dims else None,
            epochs=fields.get("epochs"),
        )
    elif "image_size" in fields:
        in_proportion = fields["image_size"] * named.load_size / named.image_size
        fields.setdefault("load_size", round(in_proportion))
    recipe = named.override(**fields)
    for name in fields:
        if why := recipe.without_effect(name):
            raise ValueError(f"--{name} has no effect: {why}.")
    if {"warmup_epochs", "epochs"} <= set(fields) and recipe.warmup_epochs >= recipe.epochs:
        raise ValueError(
            f"--warmup_epochs={recipe.warmup_epochs:g} leaves nothing of --epochs={recipe.epochs}."
        )
    return recipe


def _given_fields():
    values = {field.name: FLAGS[field.name].value for field in FIELDS}
    return {
        field.name: _numbers(field, values[field.name])
        if isinstance(values[field.name], list)
        else values[field.name]
        for field in FIELDS
        if values[field.name] is not None
    }


def _numbers(field, texts):
    kind = typing.get_args(field.type)[0]
    try:
        return tuple(kind(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"--{field.name} takes {kind.__name__}s with commas between, got {','.join(texts)}."
        ) from error

"""The flags of a recipe: its name, and one for each of its fields."""

import dataclasses
import inspect
import re
import typing

from absl import flags

from keras_bt import BarlowTwinsView
from keras_bt.recipes import Recipe, find_recipe, recipes

FLAGS = flags.FLAGS
FIELDS = [field for field in dataclasses.fields(Recipe) if field.name not in ("name", "sources")]
DEFINE = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}


def _described(cls):
    """The arguments of a class and what its docstring says of them."""
    arguments = inspect.getdoc(cls).split("Args:")[1].split("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


HELP = {**_described(BarlowTwinsView), **_described(Recipe)}

flags.DEFINE_string(
    "recipe",
    None,
    f"Settings to start from: {', '.join(recipes)}. Without it cifar10 for images of your own, "
    "else digits.",
)
for _field in FIELDS:
    _define = DEFINE.get(_field.type, flags.DEFINE_list)
    _define(_field.name, None, HELP[_field.name])


def recipe_of_flags(default):
    """The recipe the flags name, with the fields they give in place of its own."""
    fields = {}
    for field in FIELDS:
        value = FLAGS[field.name].value
        if isinstance(value, list):
            value = _numbers(field, value)
        if value is not None:
            fields[field.name] = value
    if "image_size" in fields:
        fields.setdefault("load_size", fields["image_size"])
    return find_recipe(FLAGS.recipe or default).override(**fields)


def _numbers(field, texts):
    kind = typing.get_args(field.type)[0]
    try:
        return tuple(kind(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"--{field.name} takes {kind.__name__}s with commas between, got {','.join(texts)}."
        ) from error

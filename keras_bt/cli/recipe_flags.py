"""The flags of a recipe: its name and one for each of its fields."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from absl.flags import FlagValues

from keras_bt.cli.command import FlagGroup
from keras_bt.cli.image_flags import define_image_flags, open_source
from keras_bt.config.named import find_recipe, recipes
from keras_bt.config.recipe import Recipe
from keras_bt.config.rules import SMALL_SIDE, image_size_for
from keras_bt.data import Source
from keras_bt.distribution import workers
from keras_bt.distribution.strategies import on_accelerators
from keras_bt.run.identity import settings_at_start

FIELDS = [
    field
    for field in dataclasses.fields(Recipe)
    if field.name not in ("name", "dataset", "sources")
]
# The first field under each heading.
HEADINGS = {
    "epochs": "Training",
    "image_size": "Sizes",
    "encoder": "Networks",
    "redundancy": "Loss",
    "optimizer": "Optimizer",
    "crop_area": "Views",
}


def define_recipe_flags(values: FlagValues) -> None:
    """Adds the flags that name images, a recipe, and the recipe's fields."""
    define_image_flags(values)
    settings = FlagGroup(values, "Settings")
    settings.string(
        "recipe",
        None,
        f"Settings to start from: {', '.join(recipes)}. By default the recipe of --dataset; for "
        "other images, rules choose the settings from their number, --image_size, --batch_size "
        "and --projector_dims.",
    )
    settings.bool("describe", "Print every setting with its source, and exit.")
    title = ""
    for field in FIELDS:
        title = HEADINGS.get(field.name, title)
        group = FlagGroup(values, title)
        by_type: dict[Any, Callable] = {
            int: group.integer,
            int | None: group.integer,
            float: group.float,
            str: group.string,
        }
        define = by_type.get(field.type, group.list)
        define(field.name, None, field.metadata["description"])


@dataclasses.dataclass(frozen=True)
class Settled:
    """What flags have settled.

    Args:
        recipe: The settings. Their precision may be "auto".
        workdir: Folder of the run.
        open_images: Opens the images; the chief does so first.
        given: The fields that flags set, with their values.
        begun_with: Settings at the first start of the run in `workdir`; None before that.
    """

    recipe: Recipe
    workdir: str
    open_images: Callable[[], Source]
    given: dict[str, Any]
    begun_with: dict[str, Any] | None


def settle(flags: FlagValues, strategy: tf.distribute.Strategy) -> Settled:
    """The recipe, the folder of the run, and a function that opens the images.

    A run that has begun keeps its settings, except those that flags set. All workers get the
    same recipe.

    Args:
        flags: Flags of `define_recipe_flags`, and `workdir`.
        strategy: The strategy to train under.

    Raises:
        ValueError: If a value is not allowed, or a flag contradicts the others.
    """
    named = workers.run_on_all_workers(strategy, lambda: named_recipe(flags))
    workdir = workdir_of(flags)

    @functools.cache
    def open_images() -> Source:
        dataset = flags.dataset or (named.dataset if named else None)
        return workers.run_on_chief_first(strategy, lambda: open_source(flags, dataset, workdir))

    def recipe_for(images: int, image_size: int = 0) -> Recipe:
        return workers.run_on_all_workers(
            strategy, lambda: recipe_of_flags(flags, named, images, image_size)
        )

    recipe = recipe_for(images=1000)  # refuses wrong flags before the images are read
    begun = workers.run_on_all_workers(strategy, lambda: settings_at_start(workdir))
    begun = workers.gather_from_workers(strategy, begun)[0]
    if begun is not None:
        recipe = _begun_recipe(recipe, begun, _given_fields(flags), workdir)
    elif named is None:
        images = open_images().train.count
        if images < 2:
            name = open_images().train.name
            raise ValueError(f"{name} holds a single image; at least 2 are needed.")
        if flags.image_size is None:
            train = open_images().train
            side = image_size_for(train.short_side(), on_accelerators(strategy), train.largest_size)
            reason = "the images' own short side, at most 64 pixels, or 224 on an accelerator"
            recipe = recipe_for(images, side).with_sourced({"image_size": (side, reason)})
        else:
            recipe = recipe_for(images)
    return Settled(recipe, workdir, open_images, _given_fields(flags), begun)


def workdir_of(flags: FlagValues) -> str:
    """Folder of the run, given or named after the recipe."""
    named = named_recipe(flags)
    return flags.workdir or f"runs/{named.name if named else 'images'}"


def named_recipe(flags: FlagValues) -> Recipe | None:
    """The recipe that the flags name, before their fields; None for images without a recipe."""
    if flags.recipe:
        return find_recipe(flags.recipe)
    if flags.dataset:
        return {recipe.dataset: recipe for recipe in recipes.values()}.get(flags.dataset)
    own = flags.image_dir or flags.tfrecords or flags.tars
    return None if own else recipes["digits"]


def recipe_of_flags(
    flags: FlagValues, named: Recipe | None, images: int = 0, image_size: int = 0
) -> Recipe:
    """A recipe whose fields are replaced by the values of the flags.

    Args:
        flags: Flags of `define_recipe_flags`.
        named: From `named_recipe`; None for rules by the number of images.
        images: Number of images; only the rules need it.
        image_size: Side of the encoder's images unless a flag says another; only the rules need
            it. 0 before the images are opened.

    Raises:
        ValueError: If a value is not allowed, or a flag contradicts the others.
    """
    fields = _given_fields(flags)
    if named is None:
        dims = fields.get("projector_dims")
        named = Recipe.for_images(
            images,
            fields.get("image_size", image_size or SMALL_SIDE),
            batch_size=fields.get("batch_size"),
            dim=dims[-1] if dims else None,
            epochs=fields.get("epochs"),
        )
    elif "image_size" in fields:
        in_proportion = fields["image_size"] * named.load_size / named.image_size
        fields.setdefault("load_size", round(in_proportion))
    recipe = named.override(**fields)
    for name in fields:
        if reason := recipe.without_effect(name):
            raise ValueError(f"--{name} has no effect: {reason}.")
    if {"warmup_epochs", "epochs"} <= set(fields) and recipe.warmup_epochs >= recipe.epochs:
        raise ValueError(
            f"--warmup_epochs={recipe.warmup_epochs:g} must be below --epochs={recipe.epochs}."
        )
    return recipe


def _begun_recipe(
    recipe: Recipe, begun: Mapping[str, Any], given: Mapping[str, Any], workdir: str
) -> Recipe:
    """The recipe with the settings that a run began with, except those that are given."""
    # "auto" is whatever the run chose.
    asked = {name for name, value in given.items() if (name, value) != ("precision", "auto")}
    names = recipe.settings().keys() & begun.keys() - asked - {"name"}
    kept = {name: begun[name] for name in names}
    # JSON has lists only.
    kept = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
    source = f"the run in {workdir} began with it"
    sources = {name: source for name, value in kept.items() if value != getattr(recipe, name)}
    return dataclasses.replace(recipe, **kept, sources={**recipe.sources, **sources})


def _given_fields(flags: FlagValues) -> dict[str, Any]:
    """The fields that flags set, with their values."""
    values = {field.name: getattr(flags, field.name) for field in FIELDS}
    given = {
        field.name: _numbers(field, values[field.name])
        if isinstance(values[field.name], list)
        else values[field.name]
        for field in FIELDS
        if values[field.name] is not None
    }
    return {"dataset": flags.dataset, **given} if flags.dataset else given


def _numbers(field: dataclasses.Field, texts: list[str]) -> tuple:
    """The value of a flag that takes several numbers."""
    kind = typing.get_args(field.type)[0]
    try:
        return tuple(kind(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"--{field.name} takes {kind.__name__}s separated by commas, got {','.join(texts)}."
        ) from error

"""What the flags of a script that trains have settled: a recipe, and images to score it on."""

import tensorflow as tf

from keras_bt.cli.recipe_flags import settle


def recipe_and_images(flags, arguments):
    """Returns the recipe and the labelled images that flags name.

    Args:
        flags: Flags of `define_recipe_flags`, and `workdir`.
        arguments: Of absl's `main`: the script, and what is no flag.

    Raises:
        ValueError: If there are other arguments, or the images have no labels.
    """
    if len(arguments) > 1:
        raise ValueError(f"unexpected arguments {arguments[1:]}; write flags as --name=value.")
    settled = settle(flags, tf.distribute.get_strategy())
    source = settled.open_images()
    if source.test is None:
        raise ValueError(f"{source.name} has no labels to score with.")
    return settled.recipe.resolve_precision(), source

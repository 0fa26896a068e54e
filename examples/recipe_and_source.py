"""What to train on what, as the flags of image_source.py and recipe_flags.py say it."""

import functools

import image_source
import recipe_flags
from absl import flags

from keras_bt import run
from keras_bt.distribution import workers

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(image_source)
flags.adopt_module_key_flags(recipe_flags)
flags.mark_flags_as_mutual_exclusive(["image_dir", "tfrecords", "dataset"])


def settle(strategy):
    """The recipe, the run's folder, and a function that opens the images."""
    other_images = bool(FLAGS.image_dir or FLAGS.tfrecords)
    named = workers.run_on_all_workers(strategy, lambda: recipe_flags.named_recipe(other_images))
    workdir = FLAGS.workdir or f"runs/{named.name if named else 'images'}"

    @functools.cache
    def open_source():
        dataset = FLAGS.dataset or (named.dataset if named else None)
        return workers.run_on_chief_first(
            strategy, lambda: image_source.open_source(dataset, workdir)
        )

    def recipe_for(images):
        return workers.run_on_all_workers(
            strategy, lambda: recipe_flags.recipe_of_flags(named, images)
        )

    if named:
        return recipe_for(None), workdir, open_source
    recipe_for(images=1000)  # meets wrong flags before the images are read
    # A run goes on with the settings it began with, though images may have come or gone.
    begun_with = None if FLAGS.describe else run.images_at_start(workdir)
    images = workers.gather_from_workers(strategy, begun_with)[0] or open_source().train.count
    return recipe_for(images), workdir, open_source

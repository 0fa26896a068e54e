"""Training of keras_bt by `fit`, as in a run of a recipe."""

import time

import keras
import tensorflow as tf
from images import load_images

from keras_bt import data
from keras_bt.config.named import recipes
from keras_bt.run import Pretraining

WARM_UP_STEPS = 2  # of each `fit`, until `tf.data` has filled its buffer


def prepare(images, width, batch, dims, **fields):
    """Returns a function that trains for some steps; `fields` override the recipe."""
    settings = {"optimizer": "lars", "learning_rate": 0.2, "projector_dims": dims, **fields}
    recipe = recipes["cifar10"].override(width=width, batch_size=batch, **settings)
    source = data.Source("cifar10", data.from_arrays(load_images(images)))
    training = Pretraining(recipe, source, tf.distribute.get_strategy())

    def run(steps):
        clock = Clock()
        batches, steps = training.batches(), WARM_UP_STEPS + steps
        training.model.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0)
        return clock.end_times[-1] - clock.end_times[WARM_UP_STEPS - 1]

    return run


class Clock(keras.callbacks.Callback):
    """Records the time at which each step ends."""

    def on_train_begin(self, logs=None):
        self.end_times = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.end_times.append(time.perf_counter())

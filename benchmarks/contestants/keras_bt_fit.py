"""Training by `fit` as a run of a recipe does it."""

import time

import keras
import tensorflow as tf
from images import images_of

from keras_bt import data
from keras_bt.config.named import recipes
from keras_bt.run import Pretraining

WARM_UP_STEPS = 2  # at the start of each `fit`, until batches are made ahead


def prepare(images, width, batch, dims, **fields):
    """Some steps of a training; `fields` are a recipe's."""
    settings = {"optimizer": "lars", "learning_rate": 0.2, "projector_dims": dims, **fields}
    recipe = recipes["cifar10"].override(width=width, batch_size=batch, **settings)
    source = data.Source("cifar10", data.from_arrays(images_of(images)))
    training = Pretraining(recipe, source, tf.distribute.get_strategy())

    def run(steps):
        clock = Clock()
        batches, steps = training.batches(), WARM_UP_STEPS + steps
        training.model.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0)
        return clock.ends[-1] - clock.ends[WARM_UP_STEPS - 1]

    return run


class Clock(keras.callbacks.Callback):
    """When each step had its loss."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.ends.append(time.perf_counter())

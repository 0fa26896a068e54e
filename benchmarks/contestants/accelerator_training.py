"""Models and trainings that are measured on an accelerator, and the device itself."""

from keras_bt_fit import Clock  # isort: split

import dataclasses
import functools
import os
import time

import keras
import numpy as np
import tensorflow as tf

import keras_bt
from keras_bt.config.named import recipes
from keras_bt.config.recipe import Recipe

WARM_UP_STEPS, LEAST_STEPS, MOST_STEPS = 2, 3, 1000
LARS_2048 = {"optimizer": "lars", "learning_rate": 0.2, "projector_dims": (2048, 2048, 2048)}
NETWORKS = {
    "ResNet-50, 224 px": recipes["imagenet"],
    "ResNet-18, 32 px": recipes["cifar10"].override(**LARS_2048),
}
TOY = "one convolution, 8 px"
TOY_SIZES = {"projector_dims": (16, 8), "image_size": 8, "load_size": 8}
ONLY_CROPS = {"jitter_rate": 0.0, "grayscale_rate": 0.0, "flip_rate": 0.0}


class ToyRecipe(Recipe):
    """A recipe that is traced in a second."""

    def build_encoder(self):
        images = keras.Input((self.image_size, self.image_size, 3))
        features = keras.layers.Conv2D(4, 3, strides=2, activation="gelu")(images)
        return keras.Model(images, keras.layers.GlobalAveragePooling2D()(features))


class TimedClock(Clock):
    """Stops a training when some of its steps, after the first ones, have taken some seconds.

    The peak of the memory is that of the steps after the first.
    """

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.losses, self.started = seconds, [], time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.losses.append(float(logs["loss"]))
        if len(self.end_times) == 1 and device_memory() is not None:
            tf.config.experimental.reset_memory_stats(device_name())
        steps = len(self.end_times) - WARM_UP_STEPS
        if steps >= LEAST_STEPS and self.total() >= self.seconds:
            self.model.stop_training = True

    def total(self):
        """Returns the seconds of all steps after the first ones."""
        return self.end_times[-1] - self.end_times[WARM_UP_STEPS - 1]

    def images_per_second(self, batch):
        """Returns the mean rate of all steps after the first ones."""
        return significant(batch * (len(self.end_times) - WARM_UP_STEPS) / self.total())

    def metrics(self, batch):
        """Returns the times of the steps, and whether their losses are finite."""
        return {
            **statistics_of(np.diff(self.end_times[WARM_UP_STEPS - 1 :]), batch),
            "first_step_seconds": significant(self.end_times[0] - self.started),
            "finite": bool(np.isfinite(self.losses).all()),
        }


def recipe_of(network, **fields):
    """Returns the published recipe of a network, or one of toy sizes."""
    if network != TOY:
        return NETWORKS[network].override(**fields)
    recipe = recipes["cifar10"].override(**TOY_SIZES, **ONLY_CROPS, **fields)
    names = [field.name for field in dataclasses.fields(recipe)]
    return ToyRecipe(**{name: getattr(recipe, name) for name in names})


def compiled(recipe, strategy, placement, jit_compile=False, make_optimizer=None):
    """Returns the model of a recipe, compiled as in a run, or with another optimizer."""
    with strategy.scope():
        model = recipe.build_model(seed=0)
        model.compile(
            make_optimizer() if make_optimizer else recipe.build_optimizer(1000, 100_000),
            recipe.build_loss(),
            hold_nonfinite=True,
            view_placement=placement,
            jit_compile=jit_compile,
        )
    return model


def train(model, batches, seconds):
    """Trains for some seconds and returns the clock."""
    clock = TimedClock(seconds)
    model.fit(batches, steps_per_epoch=MOST_STEPS, callbacks=[clock], verbose=0)
    return clock


def repeated(batch):
    """Returns an endless dataset of one batch in the memory of the host."""
    with tf.device("CPU:0"):
        return tf.data.Dataset.from_tensors(batch).repeat()


def statistics_of(seconds, batch):
    """Returns median, fastest and slowest of some seconds per step, and the rate."""
    median = float(np.median(seconds))
    return {
        "unit": "s",
        "median": significant(median),
        "fastest": significant(min(seconds)),
        "slowest": significant(max(seconds)),
        "rounds": len(seconds),
        "images_per_second": significant(batch / median),
    }


def significant(number):
    """Returns a number with four significant digits; None for one that is not finite."""
    return float(f"{number:.4g}") if np.isfinite(number) else None


def device_type():
    """Returns "TPU", "GPU" or "CPU"."""
    if "TPU_NAME" in os.environ or tf.config.list_physical_devices("TPU"):
        return "TPU"
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


def device_name():
    """Returns the name of the first device."""
    return f"{device_type()}:0"


def device_memory(which="current"):
    """Returns the bytes in use on the device, now or at their peak; None if it counts none."""
    if device_type() == "CPU":
        return None
    try:
        return tf.config.experimental.get_memory_info(device_name())[which]
    except (ValueError, tf.errors.OpError):
        return None


@functools.cache
def one_device():
    """Returns TensorFlow's default strategy; on a TPU, whose cores need one, that of all cores."""
    return keras_bt.strategy("tpu" if device_type() == "TPU" else "one")

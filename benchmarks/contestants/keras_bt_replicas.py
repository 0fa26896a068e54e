"""A training on all devices beside one on one device: do they agree, and how fast is each?"""

import keras
import numpy as np
import tensorflow as tf
from accelerator_training import (
    TimedClock,
    compiled,
    device_type,
    one_device,
    recipe_of,
    significant,
    train,
)
from images import smooth_images

import keras_bt
from keras_bt import data
from keras_bt.distribution.strategies import distribute_batches

STEPS, RATE = 3, 1e-5
# Relative differences. In a ResNet of float32, a change of 1e-7 in the weights changes the gradient
# by 3e-3.
LOSS_TOLERANCE, LATER_LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-4, 5e-2, 5e-2
LOGICAL_GPU_MEGABYTES = 6144


def mirrored(network, batch, seconds):
    """Compares weights after one step, and losses of some steps. Needs a process of its own.

    Later weights are not compared: each step amplifies the rounding of those before it.
    """
    many, devices = all_devices()
    recipe = recipe_of(network, batch_size=batch, precision="float32")
    images = data.from_arrays(smooth_images(batch * STEPS, recipe.load_size))

    def batches_of_worker(context):
        return images.shuffled_batches(batch, recipe.load_size, seed=0, context=context)

    losses, changes, rates = [], [], []
    for strategy in (tf.distribute.get_strategy(), many):
        keras.utils.set_random_seed(0)
        model = compiled(recipe, strategy, "step", make_optimizer=sgd)
        show_all_gradients(model.encoder)
        batches, clock = distribute_batches(strategy, batches_of_worker), TimedClock(seconds=0)
        weights = [all_weights(model)]
        # TensorFloat-32 has 10 bits, and would differ by more than a mistake.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        for steps in (1, STEPS - 1):
            model.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0)
            losses.append(clock.losses[-1])
            weights.append(all_weights(model))
        tf.config.experimental.enable_tensor_float_32_execution(True)
        changes.append(weights[1] - weights[0])
        rates.append(train(model, batches, seconds).images_per_second(batch))
    first, later = (abs(losses[number + 2] / losses[number] - 1) for number in (0, 1))
    weight = np.linalg.norm(changes[1] - changes[0]) / np.linalg.norm(changes[0])
    return {
        "precision": "float32",
        "replicas": many.num_replicas_in_sync,
        "on": devices,
        "equal": bool(
            first < LOSS_TOLERANCE and later < LATER_LOSS_TOLERANCE and weight < WEIGHT_TOLERANCE
        ),
        "loss_difference": significant(first),
        "weight_difference": significant(weight),  # of the change in the first step
        f"loss_difference_after_{STEPS}": significant(later),
        "images_per_second": rates[1],
        "images_per_second_on_one": rates[0],
    }


def show_all_gradients(encoder):
    """Sets every gamma to 1; those of 0 hide the gradients of the weights before them."""
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(tf.ones_like(layer.gamma))


def sgd():
    """Returns an optimizer whose steps depend on the size of a gradient, unlike those of LARS."""
    return keras.optimizers.SGD(RATE)


def all_weights(model):
    """Returns all trainable weights as one vector."""
    return np.concatenate([weight.numpy().ravel() for weight in model.trainable_variables])


def all_devices():
    """Returns a strategy over all devices of the kind, and what they are, in words.

    A single GPU or CPU becomes two logical devices.
    """
    if device_type() == "TPU":
        strategy = one_device()
        return strategy, f"{strategy.num_replicas_in_sync} cores of a TPU (bfloat16) and the CPU"
    if device_type() == "CPU":
        return keras_bt.strategy("mirrored", devices="cpu:2"), "two logical devices of the CPU"
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        return keras_bt.strategy("mirrored"), f"{len(gpus)} GPUs"
    half = tf.config.LogicalDeviceConfiguration(memory_limit=LOGICAL_GPU_MEGABYTES)
    tf.config.set_logical_device_configuration(gpus[0], [half, half])
    return keras_bt.strategy("mirrored"), "two logical devices of one GPU"

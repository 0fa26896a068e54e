"""Measurements on an accelerator. Each function makes one and returns what its row holds."""

import gc
import tempfile
import time

import keras
import keras_bt_views
import numpy as np
import tensorflow as tf
from accelerator_training import (
    LEAST_STEPS,
    WARM_UP_STEPS,
    compiled,
    device_memory,
    device_type,
    one_device,
    recipe_of,
    repeated,
    significant,
    statistics_of,
    train,
)
from images import smooth_images, write_jpegs

from keras_bt import data
from keras_bt.distribution.strategies import distribute_batches
from keras_bt.run import ledger

ROUNDS = 5
KEEPS_UP = 0.9  # share of the speed without files
DISTINCT_IMAGES = 64  # in a batch
JPEG_SIZE = 375, 500  # ImageNet's usual height and width


def describe(command_line):
    """Returns the device, and the command, commit, date and machine of all rows."""
    kind, build, name = device_type(), {}, device_type()
    devices = tf.config.list_physical_devices(kind)
    if kind == "GPU":
        name = tf.config.experimental.get_device_details(devices[0]).get("device_name", kind)
        build = tf.sysconfig.get_build_info()  # that of ROCm has neither
    built_for = {key: build.get(f"{key}_version") for key in ("cuda", "cudnn")}
    return {
        "device": name,
        "device_type": kind,
        "devices": len(devices),
        "built_for": {key: version for key, version in built_for.items() if version},
        **ledger.circumstances(command_line),
    }


def step(network, batch, precision, placement, seconds, jit_compile=False, micro_batches=1):
    """Measures the training step on a batch in the memory of the host, in `fit`."""
    forget_models()
    before = device_memory()
    fields = {"batch_size": batch, "precision": precision, "micro_batches": micro_batches}
    recipe = recipe_of(network, **fields)
    strategy = one_device()
    model = compiled(recipe, strategy, placement, jit_compile)
    images = np.resize(
        smooth_images(DISTINCT_IMAGES, recipe.load_size),
        (batch // strategy.num_replicas_in_sync, recipe.load_size, recipe.load_size, 3),
    )
    clock = train(model, distribute_batches(strategy, lambda _: repeated(images)), seconds)
    after = device_memory("peak")
    peak = None if after is None else significant((after - before) / 1e6)
    return {**clock.metrics(batch), "peak_megabytes": peak}


def views(network, batch, placement, seconds):
    """Measures the two views of a batch in the memory of the device."""
    if device_type() == "TPU":
        raise ValueError("The views alone are measured on a GPU or the CPU, not on a TPU.")
    forget_models()
    recipe = recipe_of(network)
    sizes = recipe.load_size, recipe.image_size, any(recipe.blur_rates)
    run = keras_bt_views.prepare(batch, *sizes, placement)
    calls = [time.perf_counter()]
    for _ in range(2):
        run(1)
        calls.append(time.perf_counter())
    first, second = np.diff(calls)
    steps, rounds = max(1, round(seconds / ROUNDS / second)), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(steps)
        rounds.append((time.perf_counter() - started) / steps)
    return {**statistics_of(rounds, batch), "first_step_seconds": significant(first)}


def files(network, batch, precision, placement, seconds):
    """Measures images per second read from JPEG files, trained on in memory, and both."""
    forget_models()
    recipe = recipe_of(network, batch_size=batch, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        megabytes = write_jpegs(folder, *JPEG_SIZE, count=2 * batch)
        images = data.from_folder(folder).train.framed(recipe.framing)
        batches = images.shuffled_batches(batch, recipe.load_size, seed=0)
        iterator = iter(batches)
        for _ in range(WARM_UP_STEPS):
            in_memory = next(iterator)
        started, read = time.perf_counter(), 0
        while time.perf_counter() - started < seconds or read < LEAST_STEPS:
            next(iterator)
            read += 1
        reading = significant(read * batch / (time.perf_counter() - started))
        model = compiled(recipe, tf.distribute.get_strategy(), placement)
        step_alone = train(model, repeated(in_memory), seconds).images_per_second(batch)
        trained = train(model, batches, seconds).images_per_second(batch)
    return {
        "images_per_second": trained,
        "read_images_per_second": reading,
        "step_images_per_second": step_alone,
        "keeps_up": trained > KEEPS_UP * step_alone,
        "megabytes_per_image": significant(megabytes),
    }


def forget_models():
    """Frees the memory of earlier measurements."""
    keras.utils.clear_session()
    gc.collect()

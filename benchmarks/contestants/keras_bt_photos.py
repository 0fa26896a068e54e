"""Batches of keras_bt from photographs, which it reduces in the first epoch."""

import itertools
import tempfile
import time
from pathlib import Path

import tensorflow as tf

import keras_bt
from keras_bt import data
from keras_bt.config import rules
from keras_bt.layers.augment import augment


def prepare(folder, size, batch, first, cropped):
    """Returns a function that reads the images of some epochs, each from the files if `first`."""
    numbers = itertools.count()
    load_size = rules.load_size(size)
    view = keras_bt.BarlowTwinsView(
        size,
        flip_rate=0.0,
        jitter_rate=0.0,
        grayscale_rate=0.0,
        blur_rate=0.0,
        solarize_rate=0.0,
        seed=0,
    )
    crop = tf.function(lambda images, sizes: augment(view, images, sizes, training=True))
    aside = tempfile.TemporaryDirectory()  # removed at the end of the process

    def open_images():
        """Reduces the photographs, and returns their batches and the number of an epoch's."""
        out = Path(aside.name, str(next(numbers)))
        data.prepare(Path(folder, "photos"), out, load_size)
        train = data.from_folder(out).train.framed("whole")
        return iter(train.shuffled_batches(batch, load_size, seed=0)), train.count // batch

    def read(batches, count):
        """Reads batches, and crops each image of them if that is wanted."""
        for _ in range(count):
            found = next(batches)
            images = found["image"]
            if cropped:
                images = crop(images, found["size"])
        float(images[0, 0, 0, 0])

    if not first:
        batches, of_epoch = open_images()

    def run(epochs):
        started = time.perf_counter()
        for _ in range(epochs):
            read(*open_images() if first else (batches, of_epoch))
        return time.perf_counter() - started

    return run

"""Views of keras_bt: where they are computed is `placement`."""

import os
import time

import tensorflow as tf
from images import smooth_images

import keras_bt

PREFETCHED, CORES = 2, os.cpu_count()


def prepare(batch, load_size, size, blur, placement):
    """Two views of a batch; `placement` as in `BarlowTwins.compile`."""
    make = keras_bt.paper_views if blur else keras_bt.small_image_views
    view_a, view_b = make(size, seed=0)
    images = tf.constant(smooth_images(batch, load_size))

    def two_views(images):
        return view_a(images), view_b(images)

    if placement == "data":
        return in_dataset(tf.function(two_views, jit_compile=True), images)
    step = tf.function(two_views, jit_compile=placement == "compiled")

    def run(steps):
        for _ in range(steps):
            step(images)

    return run


def in_dataset(two_views, images):
    """Views of batches computed ahead by `tf.data`."""
    batches = tf.data.Dataset.from_tensors(images).repeat()
    views = batches.map(two_views, num_parallel_calls=CORES).prefetch(PREFETCHED)
    views = iter(views)  # once, for to make an iterator takes as long as some batches
    ahead = PREFETCHED + CORES

    def seconds_for(batches):
        began = time.perf_counter()
        for _ in range(batches):
            next(views)
        return time.perf_counter() - began

    def run(steps):
        seconds_for(ahead)  # ready since the last time
        batches = steps + -steps % CORES  # for they come as many at once
        seconds = seconds_for(batches) / batches
        time.sleep(ahead * seconds)  # until as many are ready again
        return seconds * steps

    return run

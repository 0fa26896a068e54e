"""Views of keras_bt, computed where `placement` says."""

import time

import tensorflow as tf
from images import smooth_images

import keras_bt
from keras_bt.model.view_placement import ViewsAhead


def prepare(batch, load_size, size, blur, placement):
    """Returns a function that computes two views of some batches.

    `placement` is that of `BarlowTwins.compile`.
    """
    make = keras_bt.paper_views if blur else keras_bt.small_image_views
    view_a, view_b = make(size, seed=0)
    images = tf.constant(smooth_images(batch, load_size))

    if placement == "data":
        batches = tf.data.Dataset.from_tensors(images).repeat()
        return read_ahead(ViewsAhead((view_a, view_b)).prepare(batches), batches_ahead=2)

    def two_views(images):
        return view_a(images), view_b(images)

    step = tf.function(two_views, jit_compile=placement == "compiled")

    def run(steps):
        for _ in range(steps):
            _, view = step(images)
        float(view[0, 0, 0, 0])  # on a GPU, calls return before they are computed

    return run


def read_ahead(views, batches_ahead, parallel=1):
    """Returns a function that reads batches which `tf.data` computes ahead.

    Args:
        views: Endless dataset.
        batches_ahead: Number of batches that are finished or in progress while nobody reads.
        parallel: Number of batches computed at the same time.
    """
    iterator = iter(views)

    def seconds_for(batches):
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return time.perf_counter() - start

    def run(steps):
        seconds_for(batches_ahead)  # computed before this run
        batches = steps + -steps % parallel
        seconds = seconds_for(batches) / batches
        time.sleep(2 * batches_ahead * seconds)  # until as many are computed again
        return seconds * steps

    return run

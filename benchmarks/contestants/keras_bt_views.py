"""Views of keras_bt: where they are computed is `placement`."""

import time

import tensorflow as tf
from images import smooth_images

import keras_bt
from keras_bt.model.view_placement import ViewsAhead

AHEAD = 2  # one is ready, one under way


def prepare(batch, load_size, size, blur, placement):
    """Two views of a batch; `placement` as in `BarlowTwins.compile`."""
    make = keras_bt.paper_views if blur else keras_bt.small_image_views
    view_a, view_b = make(size, seed=0)
    images = tf.constant(smooth_images(batch, load_size))

    if placement == "data":
        return in_dataset(ViewsAhead((view_a, view_b), make_compiled), images)

    def two_views(images):
        return view_a(images), view_b(images)

    step = tf.function(two_views, jit_compile=placement == "compiled")

    def run(steps):
        for _ in range(steps):
            step(images)

    return run


@tf.function(jit_compile=True)
def make_compiled(views, images):
    """As `BarlowTwins` has them made."""
    return [view(images) for view in views]


def in_dataset(ahead, images):
    """Views of batches computed ahead by `tf.data`."""
    views = iter(ahead.dataset(tf.data.Dataset.from_tensors(images).repeat()))

    def seconds_for(batches):
        began = time.perf_counter()
        for _ in range(batches):
            next(views)
        return time.perf_counter() - began

    def run(steps):
        seconds_for(AHEAD)  # ready since the last time
        seconds = seconds_for(steps)
        time.sleep(2 * AHEAD * seconds / steps)  # until as many are ready again
        return seconds

    return run

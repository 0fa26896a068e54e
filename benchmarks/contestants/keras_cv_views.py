"""Views of keras-cv's layers in a batched map of `tf.data`, where they are fastest."""

import os

import tensorflow as tf
from images import smooth_images
from keras_bt_views import read_ahead
from keras_cv import layers

CORES, PREFETCHED = len(os.sched_getaffinity(0)), 2


def prepare(batch, load_size, size, blur):
    """Returns a function that computes two views of some batches."""
    unit = {"value_range": (0, 1)}
    radius = size // 20  # the usual kernel, a tenth of the image

    def view(blur_rate, solarize_rate):
        jitter = layers.RandomColorJitter(
            **unit,
            brightness_factor=0.4,
            contrast_factor=0.4,
            saturation_factor=(0.4, 0.6),  # 0.5 changes nothing: factors from 0.8 to 1.2
            hue_factor=0.1,
        )
        steps = [
            layers.RandomCropAndResize((size, size), (0.08, 1.0), (3 / 4, 4 / 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomApply(jitter, rate=0.8),
            layers.RandomApply(layers.Grayscale(output_channels=3), rate=0.2),
        ]
        if blur_rate:
            gaussian = layers.RandomGaussianBlur(2 * radius + 1, (0.1, 2.0))
            steps.append(layers.RandomApply(gaussian, rate=blur_rate))
        if solarize_rate:
            solarize = layers.Solarization(**unit, threshold_factor=0.5)
            steps.append(layers.RandomApply(solarize, rate=solarize_rate))
        return steps

    layers_a, layers_b = view(1.0 if blur else 0.0, 0.0), view(0.1 if blur else 0.0, 0.2)

    def apply(steps, images):
        for layer in steps:
            images = layer(images, training=True)
        return images

    def two_views(images):
        images = tf.cast(images, tf.float32) / 255.0
        return apply(layers_a, images), apply(layers_b, images)

    batches = tf.data.Dataset.from_tensors(smooth_images(batch, load_size)).repeat()
    views = batches.map(two_views, num_parallel_calls=CORES).prefetch(PREFETCHED)
    return read_ahead(views, PREFETCHED + CORES, parallel=CORES)

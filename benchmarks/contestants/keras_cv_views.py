"""Views made of keras-cv's own layers, in a batched map of `tf.data`, where they are fastest."""

import tensorflow as tf
from images import smooth_images
from keras_bt_views import in_dataset
from keras_cv import layers


def prepare(batch, load_size, size, blur):
    """Two views of a batch."""
    unit = {"value_range": (0, 1)}
    radius = size // 20  # the usual kernel, a tenth of the image

    def view(blur_rate, solarize_rate):
        jitter = layers.RandomColorJitter(
            **unit,
            brightness_factor=0.4,
            contrast_factor=0.4,
            saturation_factor=(0.4, 0.6),  # 0.5 leaves as is: factors from 0.8 to 1.2
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

    of_a, of_b = view(1.0 if blur else 0.0, 0.0), view(0.1 if blur else 0.0, 0.2)

    def apply(steps, images):
        for layer in steps:
            images = layer(images, training=True)
        return images

    def two_views(images):
        images = tf.cast(images, tf.float32) / 255.0
        return apply(of_a, images), apply(of_b, images)

    return in_dataset(two_views, tf.constant(smooth_images(batch, load_size)))

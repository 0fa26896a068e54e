"""Views of your own: two pipelines of keras-cv's layers.

    python examples/keras_cv_views.py

Needs no network and takes a few minutes on two CPU cores. The views of `BarlowTwins` are two Keras
layers from images to images. Here each is a pipeline of keras-cv's augmentation layers: view A
moves the digit, view B turns it, changes its size and cuts a part out. Views get floats in [0, 1]
and must return them, so every layer that has a `value_range` gets (0, 1). The script prints the
loss of each epoch, then the accuracy of linear probes with ten labels per class, on raw pixels and
on the encoder.
"""

# Before keras and tensorflow, because it sets TensorFlow up.
import keras_bt  # isort: split

import keras
from absl import app, flags, logging
from keras_cv import layers

from keras_bt import data

FLAGS = flags.FLAGS
flags.DEFINE_integer("epochs", 60, "Passes over the images.")
flags.DEFINE_integer("width", 16, "Channels of the encoder's first stage.")

SIZE, BATCH_SIZE = 8, 128


def change_light():
    """Returns the layers that both views begin with."""
    return [
        layers.RandomBrightness(factor=0.3, value_range=(0, 1)),
        layers.RandomContrast(factor=0.3, value_range=(0, 1)),
    ]


def main(_):
    keras.utils.set_random_seed(0)
    digits = data.digits()

    view_a = keras.layers.Pipeline(
        [*change_light(), layers.RandomTranslation(0.15, 0.15, fill_mode="constant")]
    )
    view_b = keras.layers.Pipeline(
        [
            *change_light(),
            layers.RandomRotation(0.06, fill_mode="constant"),
            layers.RandomZoom((-0.3, 0.2), fill_mode="constant"),
            layers.RandomCutout(0.3, 0.3),
        ]
    )

    encoder = keras_bt.resnet18((SIZE, SIZE, 3), width=FLAGS.width, stem="small")
    projector = keras_bt.projector(encoder.output_shape[-1], dims=(256, 256))
    model = keras_bt.BarlowTwins(encoder, projector, views=(view_a, view_b))
    model.compile(keras.optimizers.AdamW(2e-3))
    batches = digits.train.shuffled_batches(BATCH_SIZE, SIZE, seed=0)
    steps_per_epoch = digits.train.count // BATCH_SIZE
    model.fit(batches, epochs=FLAGS.epochs, steps_per_epoch=steps_per_epoch, verbose=2)

    for name, features_of in (("raw pixels", keras.layers.Flatten()), ("encoder", encoder)):
        train, test = (
            keras_bt.extract_features(features_of, images.batches(256, SIZE))
            for images in (digits.train, digits.test)
        )
        accuracy = keras_bt.few_label_accuracy(*train, *test)
        print(f"accuracy with ten labels per class, {name}: {accuracy:.3f}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

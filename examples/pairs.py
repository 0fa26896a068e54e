"""Barlow Twins without images: pairs of noisy one-dimensional signals.

    python examples/pairs.py

Needs no network and takes half a minute on two CPU cores. With `views=None` the data set yields
pairs, and any two measurements of the same thing make one. Here a class is a chord of three
frequencies, and a pair is one signal measured twice, each time with new noise that is louder than
the signal. The noise differs between the two and the chord does not, so the encoder learns the
chord. The script prints the loss of each epoch, then the accuracy of a linear probe on 500 labelled
signals: of the raw signals, of the untrained encoder and of the trained encoder.
"""

# Before keras and tensorflow, because it sets TensorFlow up.
import keras_bt  # isort: split

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from keras import layers

FLAGS = flags.FLAGS
flags.DEFINE_integer("pairs", 2000, "Pairs of signals to train on.")
flags.DEFINE_integer("epochs", 20, "Passes over the pairs.")
flags.DEFINE_float("noise", 2.0, "Standard deviation of the noise.")

CLASSES, TIME_STEPS = 8, 128
random = np.random.default_rng(0)
chords = random.uniform(2, 40, size=(CLASSES, 3))  # periods per signal


def measure_twice(count):
    """Returns two noisy copies [count, time, 1] of each signal, and the classes [count]."""
    labels = random.integers(CLASSES, size=count)
    time = np.linspace(0, 1, TIME_STEPS)
    phases = random.uniform(0, 2 * np.pi, size=(count, 3, 1))
    signals = np.sin(2 * np.pi * chords[labels][..., None] * time + phases).sum(axis=1)
    copies = signals + FLAGS.noise * random.normal(size=(2, count, TIME_STEPS))
    view_a, view_b = copies[..., None].astype("float32")
    return view_a, view_b, labels


def convolution(filters, width):
    """Returns the layers of a convolution that halves the number of time steps."""
    convolve = layers.Conv1D(filters, width, strides=2, padding="same", use_bias=False)
    return [convolve, layers.BatchNormalization(), layers.ReLU()]


def main(_):
    keras.utils.set_random_seed(0)
    view_a, view_b, labels = measure_twice(FLAGS.pairs)
    test, _, test_labels = measure_twice(1000)
    encoder = keras.Sequential(
        [
            keras.Input((TIME_STEPS, 1)),
            *convolution(32, width=15),
            *convolution(64, width=9),
            *convolution(64, width=9),
            layers.GlobalAveragePooling1D(),
        ]
    )

    def probe(features_of):
        few, new = features_of(view_a[:500]), features_of(test)
        return keras_bt.linear_probe(few, labels[:500], new, test_labels)

    def encode(signals):
        return encoder.predict(signals, verbose=0)

    print(f"linear probe of raw signals: {probe(lambda signals: signals[..., 0]):.3f}")
    print(f"linear probe of the untrained encoder: {probe(encode):.3f}")

    model = keras_bt.BarlowTwins(encoder, keras_bt.projector(64, dims=(128, 128)), views=None)
    model.compile(keras.optimizers.AdamW(1e-3))
    pairs = tf.data.Dataset.from_tensor_slices((view_a, view_b))
    pairs = pairs.shuffle(FLAGS.pairs).batch(128, drop_remainder=True)
    model.fit(pairs, epochs=FLAGS.epochs, verbose=2)

    print(f"linear probe of the trained encoder: {probe(encode):.3f}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

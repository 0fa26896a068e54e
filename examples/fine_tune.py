"""Fine-tuning: an exported encoder becomes a Keras layer of a classifier.

    python examples/pretrain.py --dataset=digits --batch_size=128 --epochs=100
    python examples/fine_tune.py --encoder=runs/by_hand/encoder

The second takes half a minute on two CPU cores. It trains two classifiers on ten labelled digits
per class: one on the frozen encoder, and one together with the encoder. It prints the accuracy of
both on the held-out digits. `--dataset` can be any image data set of TensorFlow Datasets.
"""

# Before keras and tensorflow, because it sets TensorFlow up.
import keras_bt  # isort: split

import keras
import numpy as np
from absl import app, flags, logging

from keras_bt import data

FLAGS = flags.FLAGS
flags.DEFINE_string("encoder", None, "Folder of the exported encoder.", required=True)
flags.DEFINE_string("dataset", "digits", '"digits" or a name of TensorFlow Datasets.')
flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
flags.DEFINE_integer("image_size", 8, "Side of the encoder's images, in pixels.")
flags.DEFINE_integer("labels_per_class", 10, "Labelled images of each class to learn from.")
flags.DEFINE_integer("epochs", 50, "Passes over the labelled images.")


def as_arrays(images):
    """Returns all images [count, size, size, 3], uint8, and their labels [count]."""
    batches = list(images.batches(256, FLAGS.image_size))
    return tuple(np.concatenate([batch[key] for batch in batches]) for key in ("image", "label"))


def main(_):
    keras.utils.set_random_seed(0)
    source = data.from_name(FLAGS.dataset, FLAGS.data_dir)
    images, labels = as_arrays(source.train)
    chosen = [np.flatnonzero(labels == c)[: FLAGS.labels_per_class] for c in range(source.classes)]
    few = np.concatenate(chosen)
    test_images, test_labels = as_arrays(source.test)

    for name, trainable in (("frozen", False), ("fine-tuned", True)):
        # The layer takes uint8, or floats in [0, 1], and returns features [batch, features].
        encoder = keras_bt.load_encoder(FLAGS.encoder, trainable=trainable)
        pixels = keras.Input((FLAGS.image_size, FLAGS.image_size, 3), dtype="uint8")
        classifier = keras.Model(pixels, keras.layers.Dense(source.classes)(encoder(pixels)))
        classifier.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        classifier.fit(images[few], labels[few], batch_size=32, epochs=FLAGS.epochs, verbose=0)
        _, accuracy = classifier.evaluate(test_images, test_labels, verbose=0)
        print(f"accuracy with {len(few)} labels, encoder {name}: {accuracy:.3f}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

"""Barlow Twins in one file: images, views, networks, loss, training, monitors, export.

    python examples/pretrain.py --dataset=digits --batch_size=128 --epochs=100
    python examples/pretrain.py --dataset=cifar10 --epochs=5

On two CPU cores the first takes a few minutes and needs no network, the second a quarter of an
hour. `--dataset` is "digits", or an image data set of TensorFlow Datasets with the splits train and
test. After each epoch the script prints the loss, the k-NN accuracy and the health of the
embedding. At the end it prints the k-NN accuracy beside that of raw pixels, and writes the encoder
to `--encoder_dir` as a SavedModel. `keras-bt pretrain` adds recipes, checkpoints and a report.
"""

# Before keras and tensorflow, because it sets TensorFlow up.
import keras_bt  # isort: split

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import app, flags, logging
from sklearn.datasets import load_digits

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "cifar10", '"digits" or a name of TensorFlow Datasets.')
flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
flags.DEFINE_string("encoder_dir", "runs/by_hand/encoder", "Folder to write the encoder to.")
flags.DEFINE_integer("width", 16, "Channels of the encoder's first stage.")
flags.DEFINE_integer("batch_size", 256, "Images per step, over all devices.")
flags.DEFINE_integer("epochs", 10, "Passes over the images.")


def open_digits():
    """Returns scikit-learn's digits of 8x8 pixels as two datasets of (image, label)."""
    digits = load_digits()
    images, labels = np.uint8(digits.images * (255 / 16))[..., None], digits.target
    is_test = np.arange(len(images)) % 5 == 0
    return [
        tf.data.Dataset.from_tensor_slices((images[part], labels[part]))
        for part in (~is_test, is_test)
    ]


def main(_):
    keras.utils.set_random_seed(0)

    # 1. Images. The labels only measure the encoder; training does not see them.
    if FLAGS.dataset == "digits":
        size, (train, test) = 8, open_digits()
        # A mirrored digit is no digit, and a small part of a digit could be any digit.
        view_options = {"crop_area": (0.5, 1.0), "flip_rate": 0.0}
    else:
        size, view_options = 32, {"crop_area": (0.3, 1.0)}
        train, test = tfds.load(
            FLAGS.dataset, split=["train", "test"], data_dir=FLAGS.data_dir, as_supervised=True
        )

    def to_rgb(image, label):
        """Returns a float32 image [size, size, 3] in [0, 1]."""
        image = tf.image.resize(image, [size, size], antialias=True) / 255.0
        return tf.image.grayscale_to_rgb(image) if image.shape[-1] == 1 else image, label

    train, test = (images.map(to_rgb, tf.data.AUTOTUNE) for images in (train, test))
    batches = train.shuffle(10_000).batch(FLAGS.batch_size, drop_remainder=True).prefetch(2)
    neighbors, held_out = train.take(5000).batch(256), test.take(1000).batch(256)
    total_steps = FLAGS.epochs * len(batches)

    # 2. Model. It is built and compiled under the strategy, which uses all devices there are.
    with keras_bt.strategy().scope():
        encoder = keras_bt.resnet18((size, size, 3), width=FLAGS.width, stem="small")
        projector = keras_bt.projector(encoder.output_shape[-1], dims=(256, 256))
        views = keras_bt.small_image_views(size, seed=0, **view_options)
        model = keras_bt.BarlowTwins(encoder, projector, views)
        learning_rate = keras_bt.warmup_cosine(2e-3, total_steps // 10, total_steps)
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=1e-4)
        model.compile(optimizer, keras_bt.BarlowTwinsLoss(redundancy_weight=0.0051))

    # 3. Training. Monitors measure the encoder and warn of a collapse.
    knn = keras_bt.KNNMonitor(neighbors, held_out)
    health = keras_bt.EmbeddingHealth(held_out.take(2), FLAGS.batch_size)
    model.fit(batches, epochs=FLAGS.epochs, callbacks=[knn, health], verbose=2)

    # 4. The encoder: how good it is beside raw pixels, and its SavedModel.
    for name, features_of in (("raw pixels", keras.layers.Flatten()), ("encoder", encoder)):
        known, known_labels = keras_bt.extract_features(features_of, neighbors)
        new, new_labels = keras_bt.extract_features(features_of, held_out)
        accuracy = keras_bt.knn_accuracy(known, known_labels, new, new_labels)
        print(f"k-NN accuracy of {name}: {accuracy:.3f}")
    keras_bt.export_encoder(encoder, FLAGS.encoder_dir, overwrite=True)
    print(f"The encoder is in {FLAGS.encoder_dir}.")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

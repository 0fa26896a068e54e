"""What a model says under four replicas, printed as JSON: the message of each situation."""

import json
import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from training import encoder, projector

import keras_bt
from keras_bt.model.optimizers import steps_made

strategy = keras_bt.strategy("mirrored", devices="cpu:4")
IMAGES = np.random.default_rng(0).uniform(size=(32, 8, 8, 3)).astype("float32")


def model(optimizer=None, parts=None, synchronised=True, **arguments):
    with strategy.scope():
        parts = parts or (encoder(), projector(6), keras_bt.small_image_views(8, seed=0))
        made = keras_bt.BarlowTwins(*parts)
        if synchronised:
            keras_bt.sync_batch_norm(made)
        made.compile(optimizer or keras.optimizers.SGD(0.01), **arguments)
    return made


def outside_the_scope():
    model(parts=(encoder(), projector(6), keras_bt.small_image_views(8, seed=0)))


def accumulated():
    model(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))


def central_storage():
    with tf.distribute.experimental.CentralStorageStrategy(["CPU:0"]).scope():
        made = keras_bt.BarlowTwins(encoder(), projector(6), keras_bt.small_image_views(8))
        made.compile("sgd")


def unsynchronised():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(synchronised=False)
    return " ".join(str(warning.message) for warning in caught)


def short_last_batch_of_a_dataset():
    images = tf.data.Dataset.from_tensor_slices(IMAGES[:13]).batch(8)
    model().fit(images, verbose=0)


def looked_at():
    made = model()
    health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(IMAGES), batch_size=8)
    made.fit(IMAGES, batch_size=8, verbose=0, callbacks=[health])
    return f"{steps_made(made.optimizer)} steps, the first loss {health.untrained_loss:.1f}"


SITUATIONS = {
    "jit": lambda: model(jit_compile=True),
    "outside the scope": outside_the_scope,
    "accumulated": accumulated,
    "central storage": central_storage,
    "not synchronised": unsynchronised,
    "indivisible": lambda: model().fit(IMAGES, batch_size=6, verbose=0),
    "fewer images than replicas": lambda: model().fit(IMAGES[:1], batch_size=8, verbose=0),
    "a replica without images": lambda: model().fit(IMAGES[:13], batch_size=8, verbose=0),
    "a replica without images, of a dataset": short_last_batch_of_a_dataset,
    "looked at": looked_at,
}


def message(situation):
    try:
        return situation() or "nothing"
    except (ValueError, RuntimeError, tf.errors.InvalidArgumentError) as error:
        return str(error)


if __name__ == "__main__":
    print(json.dumps({name: message(each) for name, each in SITUATIONS.items()}))

"""The errors of a model under four replicas, printed as JSON: a message for each situation."""

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


def build_model(optimizer=None, parts=None, synchronized=True, **arguments):
    with strategy.scope():
        parts = parts or (encoder(), projector(6), keras_bt.small_image_views(8, seed=0))
        model = keras_bt.BarlowTwins(*parts)
        if synchronized:
            keras_bt.sync_batch_norm(model)
        model.compile(optimizer or keras.optimizers.SGD(0.01), **arguments)
    return model


def outside_the_scope():
    build_model(parts=(encoder(), projector(6), keras_bt.small_image_views(8, seed=0)))


def accumulated():
    build_model(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))


def central_storage():
    with tf.distribute.experimental.CentralStorageStrategy(["CPU:0"]).scope():
        model = keras_bt.BarlowTwins(encoder(), projector(6), keras_bt.small_image_views(8))
        model.compile("sgd")


def unsynchronized():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_model(synchronized=False)
    return " ".join(str(warning.message) for warning in caught)


def short_last_batch_of_a_dataset():
    images = tf.data.Dataset.from_tensor_slices(IMAGES[:13]).batch(8)
    build_model().fit(images, verbose=0)


def monitored():
    model = build_model()
    health = keras_bt.EmbeddingHealth(tf.data.Dataset.from_tensors(IMAGES), batch_size=8)
    model.fit(IMAGES, batch_size=8, verbose=0, callbacks=[health])
    return f"{steps_made(model.optimizer)} steps, the first loss {health.untrained_loss:.1f}"


SITUATIONS = {
    "jit": lambda: build_model(jit_compile=True),
    "outside the scope": outside_the_scope,
    "accumulated": accumulated,
    "central storage": central_storage,
    "not synchronized": unsynchronized,
    "indivisible": lambda: build_model().fit(IMAGES, batch_size=6, verbose=0),
    "fewer images than replicas": lambda: build_model().fit(IMAGES[:1], batch_size=8, verbose=0),
    "a replica without images": lambda: build_model().fit(IMAGES[:13], batch_size=8, verbose=0),
    "a replica without images, of a dataset": short_last_batch_of_a_dataset,
    "monitored": monitored,
}


def message_of(situation):
    try:
        return situation() or "nothing"
    except (ValueError, RuntimeError, tf.errors.InvalidArgumentError) as error:
        return str(error)


if __name__ == "__main__":
    print(json.dumps({name: message_of(each) for name, each in SITUATIONS.items()}))

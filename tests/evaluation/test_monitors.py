import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.evaluation.monitors import EncoderMonitor


@pytest.mark.slow
def test_knn_monitor_logs_its_accuracy(tiny_model, images):
    labels = np.arange(16) % 2
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    model = tiny_model()
    model.compile("sgd")
    seen = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    monitor = keras_bt.KNNMonitor(data, data, every_epochs=2, k=3)
    model.fit(images, batch_size=8, epochs=5, verbose=0, callbacks=[monitor, after])
    assert ["knn_accuracy" in logs for logs in seen] == [False, True, False, True, True]
    train, _ = keras_bt.extract_features(model.encoder, data)
    expected = keras_bt.knn_accuracy(train, labels, train, labels, k=3)
    assert seen[-1]["knn_accuracy"] == pytest.approx(expected)


@pytest.mark.slow
def test_linear_probe_monitor_uses_the_frozen_encoder(tiny_model, images):
    labels = np.arange(16) % 2
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    model = tiny_model()
    model.compile("sgd")
    monitor = keras_bt.LinearProbeMonitor(data, data, every_epochs=2)
    logs = model.fit(images, batch_size=8, epochs=3, verbose=0, callbacks=[monitor]).history
    assert len(logs["linear_accuracy"]) == 2
    train, _ = keras_bt.extract_features(model.encoder, data)
    expected = keras_bt.linear_probe(train, labels, train, labels)
    assert logs["linear_accuracy"][-1] == pytest.approx(expected)


@pytest.mark.slow
def test_features_are_extracted_once_for_both_accuracies():
    read = []

    def images():
        read.append("once")
        yield np.zeros((4, 8, 8, 3), "uint8"), [0, 0, 1, 1]

    specs = (tf.TensorSpec((4, 8, 8, 3), tf.uint8), tf.TensorSpec(4, tf.int32))
    data = tf.data.Dataset.from_generator(images, output_signature=specs)
    both = {"knn_accuracy": keras_bt.knn_accuracy, "linear_accuracy": keras_bt.linear_probe}
    monitor = EncoderMonitor(data, data, 1, both)
    monitor.set_model(keras.Sequential([keras.layers.Flatten()]))
    monitor.on_train_begin()
    assert set(monitor.compute_metrics(0, {})) == set(both)
    assert len(read) == 2  # the training images and the held-out ones


def test_rejects_every_epochs_below_1():
    with pytest.raises(ValueError, match="every_epochs must be at least 1, got 0"):
        keras_bt.KNNMonitor(None, None, every_epochs=0)


@pytest.mark.slow
def test_raises_if_features_are_not_finite(tiny_model, images):
    labelled = tf.data.Dataset.from_tensors((images, np.arange(16) % 2))
    monitor = keras_bt.KNNMonitor(labelled, labelled, k=3)
    model = tiny_model()
    model.compile(keras.optimizers.SGD(1e38))
    with pytest.raises(FloatingPointError, match="features after epoch 1 are not finite"):
        model.fit(images, batch_size=8, callbacks=[monitor], verbose=0)

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt import extract_features


@pytest.fixture
def encoder():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])


def test_reads_every_form_of_batches(encoder, images):
    labels = np.arange(16)
    expected = (images / 255).mean((1, 2))
    arrays = (images, labels)
    for data, labelled in (
        (tf.data.Dataset.from_tensor_slices(images), False),
        (tf.data.Dataset.from_tensor_slices(arrays), True),
        (tf.data.Dataset.from_tensor_slices((*arrays, labels)), True),
        (tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}), True),
        (tf.data.Dataset.from_tensor_slices({"image": images / np.float32(255)}), False),
    ):
        features, got = extract_features(encoder, data.batch(5))
        np.testing.assert_allclose(features, expected, atol=1e-5)
        assert features.dtype == np.float32
        assert (got is None) != labelled
        if labelled:
            np.testing.assert_array_equal(got, labels)


def test_neither_uses_nor_changes_batch_statistics(images):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    before = [weight.copy() for weight in encoder.get_weights()]
    data = tf.data.Dataset.from_tensors(images)
    alone = extract_features(encoder, tf.data.Dataset.from_tensors(images[:1]))[0]
    np.testing.assert_allclose(extract_features(encoder, data)[0][:1], alone, atol=1e-6)
    for got, wanted in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_errors_name_the_wrong_input(encoder, images):
    data = tf.data.Dataset.from_tensors(images)
    with pytest.raises(ValueError, match="is empty"):
        extract_features(encoder, data.take(0))
    with pytest.raises(ValueError, match=r"\[batch, features\], got \(16, 8, 8, 3\)"):
        extract_features(keras.layers.ReLU(), data)

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.layers.augment import augment, takes_sizes


def test_views_of_keras_bt_take_sizes_and_others_do_not():
    flip = keras.layers.RandomFlip(name="flip")
    assert takes_sizes(keras_bt.BarlowTwinsView(4)) and not takes_sizes(flip)
    images, sizes = tf.zeros([2, 8, 8, 3]), tf.constant([[8, 16], [4, 4]])
    assert augment(keras_bt.BarlowTwinsView(4), images, sizes).shape == (2, 4, 4, 3)
    with pytest.raises(ValueError, match="flip takes no sizes, so it would see squashed images"):
        augment(flip, images, sizes)


def test_options_reach_the_view():
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    images = tf.random.stateless_uniform([8, 4, 4, 3], [0, 1])
    np.testing.assert_array_equal(augment(flip, images, training=False), images)
    assert (augment(flip, images, training=True) != images).numpy().any()

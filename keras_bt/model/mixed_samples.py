"""The random mixtures of two views that `BarlowTwins` may train on besides."""

import keras
import tensorflow as tf

from keras_bt.functional.mixed_samples import mix
from keras_bt.layers.random import PHILOX_WORDS, add_seed_and_calls, uniform_draws


class MixedSamples(keras.layers.Layer):
    """Mixes each image of view A with another one's view B.

    One share and one permutation are drawn for a batch. They follow from a seed, drawn from
    Python's `random` as Keras does, and the number of calls so far, which are a weight: they
    are the same eagerly, in graphs and under XLA, and go on where they were after a reload.

    Call arguments:
        view_a: Float tensor [batch, height, width, channels].
        view_b: Float tensor of the same shape.

    Returns:
        The mixed images, a tensor of that shape; the share of view A in them, a scalar in
        [0, 1); and of view B's images the order, an int tensor [batch].

    Example:
        >>> black, white = tf.zeros([4, 8, 8, 3]), tf.ones([4, 8, 8, 3])
        >>> mixed, share, order = MixedSamples()(black, white)
        >>> bool(tf.reduce_all(mixed == 1 - share)), sorted(order.numpy().tolist())
        (True, [0, 1, 2, 3])

    Source: arXiv 2312.02151; wgcban/mix-bt main.py@f915e4e, with Beta(1, 1).
    """

    def __init__(self, name="mixed_samples"):
        super().__init__(name=name)
        self.seed_and_calls = add_seed_and_calls(self, None)

    def call(self, view_a, view_b):
        images = view_a.shape[0] or tf.shape(view_a)[0]
        draws = uniform_draws(self.seed_and_calls, images, PHILOX_WORDS)
        share, order = draws[0, 0], tf.argsort(draws[:, 1], stable=True)
        return mix(view_a, view_b, share, order), share, order


def check_mixed_samples(weight, replicas, micro_batches):
    """Refuses a weight out of range, and what mixed samples do not go with.

    Args:
        weight: Float.
        replicas: Int.
        micro_batches: Int.

    Raises:
        ValueError: If the weight is below 0 or not finite, or above 0 where a batch is in
            parts.

    Example:
        >>> check_mixed_samples(4.0, replicas=1, micro_batches=2)
        Traceback (most recent call last):
            ...
        ValueError: mixed_sample_weight=4.0 needs the whole batch at once, for images are ...
    """
    if not 0 <= weight < float("inf"):
        raise ValueError(f"mixed_sample_weight must be finite and at least 0, got {weight}.")
    if weight and (replicas > 1 or micro_batches > 1):
        raise ValueError(
            f"mixed_sample_weight={weight} needs the whole batch at once, for images are mixed "
            f"with any other of it; got {replicas} replicas and micro_batches={micro_batches}."
        )

"""`MixedSampleBarlowTwins`: Barlow Twins with a loss on mixtures of the two views."""

from typing import Any

import keras
import tensorflow as tf

from keras_bt.functional.mixed_samples import mix, mixed_sample_penalty
from keras_bt.layers.random import PHILOX_WORDS, add_seed_and_calls, uniform_draws
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.view_placement import Views


@keras.saving.register_keras_serializable(package="keras_bt")
class MixedSampleBarlowTwins(BarlowTwins):
    """`BarlowTwins` whose embeddings of mixed images must mix too.

        loss = Barlow Twins loss + mixed_sample_weight * redundancy_weight * penalty

    Its logs have the unweighted penalty as `mixed`.

    Args:
        encoder: See `BarlowTwins`.
        projector: See `BarlowTwins`.
        views: See `BarlowTwins`.
        mixed_sample_weight: Above 0. The source uses 4 for CIFAR.
        **kwargs: As in `BarlowTwins`.

    Raises:
        ValueError: If the weight is out of range, or if a batch is split among replicas or
            micro-batches: every image can be mixed with any other image of the batch.

    Example:
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> projector = keras.Sequential([keras.Input((192,)), keras.layers.Dense(4)])
        >>> model = MixedSampleBarlowTwins(encoder, projector, None, mixed_sample_weight=4.0)
        >>> model.compile("sgd")
        >>> views = tf.random.stateless_uniform([2, 6, 8, 8, 3], [1, 2])
        >>> sorted(model.fit(*views, verbose=0).history)
        ['invariance', 'loss', 'mixed', 'redundancy']

    Source: arXiv 2312.02151; wgcban/mix-bt main.py@f915e4e. The penalty is
        `functional.mixed_samples.mixed_sample_penalty`.
    """

    def __init__(
        self,
        encoder: keras.Layer,
        projector: keras.Layer,
        views: Views | None,
        mixed_sample_weight: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, projector, views, **kwargs)
        if not 0 < mixed_sample_weight < float("inf"):
            raise ValueError(
                f"mixed_sample_weight must be finite and above 0, got {mixed_sample_weight}."
            )
        if self.replicas > 1 or self.micro_batches > 1:
            raise ValueError(
                "Mixed samples need the whole batch at once, because any two images can be mixed; "
                f"got {self.replicas} replicas and micro_batches={self.micro_batches}."
            )
        self.mixed_sample_weight = mixed_sample_weight
        self.mixed_samples = MixedSamples()
        self.mixed_tracker = keras.metrics.Mean(name="mixed")

    def extra_loss(
        self, view_a: tf.Tensor, view_b: tf.Tensor, z_a: tf.Tensor, z_b: tf.Tensor, training: bool
    ) -> tf.Tensor:
        mixed, share, order = self.mixed_samples(view_a, view_b)
        z_mixed = tf.cast(self.embedding(mixed, training), z_a.dtype)
        with tf.name_scope("loss"):
            penalty = mixed_sample_penalty(
                z_a,
                z_b,
                z_mixed,
                share,
                order,
                epsilon=self.loss.epsilon,
                centered=self.loss.centered,
                form=self.loss.form,
            )
        self.mixed_tracker.update_state(penalty)
        return self.mixed_sample_weight * self.loss.redundancy_weight * penalty

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mixed_sample_weight": self.mixed_sample_weight}


class MixedSamples(keras.layers.Layer):
    """Mixes each image of view A with another image of view B.

        mixed = share * view_a + (1 - share) * view_b[order]

    A batch has one share and one order. They depend on a seed and on the number of calls so far,
    which is a weight. They are the same eagerly, in graphs and under XLA, and a reloaded layer
    continues the sequence. The seed is drawn from Python's `random`, as in Keras.

    Call arguments:
        view_a: Float tensor [batch, ...].
        view_b: Float tensor of the same shape.

    Returns:
        The mixed images, a tensor of that shape; the share, a scalar in [0, 1); the order, an int
        tensor [batch].

    Example:
        >>> black, white = tf.zeros([4, 8, 8, 3]), tf.ones([4, 8, 8, 3])
        >>> mixed, share, order = MixedSamples()(black, white)
        >>> bool(tf.reduce_all(mixed == 1 - share)), sorted(order.numpy().tolist())
        (True, [0, 1, 2, 3])

    Source: arXiv 2312.02151; wgcban/mix-bt main.py@f915e4e, with Beta(1, 1).
    """

    def __init__(self, name: str = "mixed_samples") -> None:
        super().__init__(name=name)
        self.seed_and_calls = add_seed_and_calls(self, None)

    def call(self, view_a: tf.Tensor, view_b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rows = view_a.shape[0] or tf.shape(view_a)[0]
        draws = uniform_draws(self.seed_and_calls, rows, PHILOX_WORDS)
        share, order = draws[0, 0], tf.argsort(draws[:, 1], stable=True)
        return mix(view_a, view_b, share, order), share, order

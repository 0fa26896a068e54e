"""Losses and models that lack something of Barlow Twins, or have something more."""

import keras
import tensorflow as tf

from keras_bt.encoders.projector import projector
from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss


class RedundancyOnly(BarlowTwinsLoss):
    """The loss without its invariance term.

    Source: arXiv 2103.03230, table 5, "only redundancy reduction term".
    """

    def terms(self, z_a, z_b):
        invariance, redundancy = super().terms(z_a, z_b)
        return tf.zeros_like(invariance), redundancy


class FeatureNormalized(BarlowTwinsLoss):
    """Standardized embeddings are also brought to one length, image by image.

        u[b] = sqrt(dim) z_hat[b] / ||z_hat[b]||
        c = mean over the batch of  u_a[b, i] * u_b[b, j]

    On a single replica, by the matrix form.

    Source: arXiv 2103.03230, table 5, "normalization along feature dimension".
    Differs from source: the length is sqrt(dim), with which the mean of c_ii can be 1; the
        source does not say its scale.
    """

    def terms(self, z_a, z_b):
        def normalized(z):
            z_hat = standardize(z, epsilon=self.epsilon, centered=self.centered)
            return z_hat.shape[1] ** 0.5 * tf.math.l2_normalize(z_hat, axis=1)

        c = cross_correlation(normalized(z_a), normalized(z_b))
        return terms_of(c, self.redundancy_target)


class CrossCovariance(BarlowTwinsLoss):
    """The loss of the cross-covariance matrix: embeddings are centered, but not scaled.

    On a single replica, by the matrix form.

    Source: arXiv 2103.03230, table 5, "no BN in MLP + no normalization".
    """

    def terms(self, z_a, z_b):
        z_a, z_b = (z - tf.reduce_mean(z, axis=0) for z in (z_a, z_b))
        return terms_of(cross_correlation(z_a, z_b), self.redundancy_target)


def terms_of(c, redundancy_target):
    """The two terms of the loss from a matrix [dim, dim]: invariance and redundancy.

    Example:
        >>> [float(term) for term in terms_of(tf.constant([[1.0, 2.0], [0.0, 0.5]]), 0.0)]
        [0.25, 4.0]
    """
    diagonal = tf.linalg.diag_part(c)
    redundancy = tf.linalg.set_diag(c - redundancy_target, tf.zeros_like(diagonal))
    return tf.reduce_sum(tf.square(1.0 - diagonal)), tf.reduce_sum(tf.square(redundancy))


class WithoutBatchNorm(BarlowTwins):
    """`BarlowTwins` whose projector, a chain of layers, has no batch norms.

    Source: arXiv 2103.03230, table 5, "no BN in MLP".
    """

    def __init__(self, encoder, projector, *arguments, **kwargs):
        kept = [
            type(layer).from_config(layer.get_config())
            for layer in projector.layers
            if not isinstance(layer, (keras.layers.InputLayer, keras.layers.BatchNormalization))
        ]
        inputs = keras.Input(projector.input_shape[1:])
        projector = keras.Sequential([inputs, *kept], name=projector.name)
        super().__init__(encoder, projector, *arguments, **kwargs)


class StopGradient(BarlowTwins):
    """`BarlowTwins` that learns from view A alone.

    Source: arXiv 2103.03230, table 6.
    """

    def embeddings(self, view_a, view_b, training):
        z_a, z_b, regularization = super().embeddings(view_a, view_b, training)
        return z_a, tf.stop_gradient(z_b), regularization


class WithPredictor(BarlowTwins):
    """`BarlowTwins` with two dense layers more, BN and ReLU between, for view A alone.

    Source: arXiv 2103.03230, table 6.
    """

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        dim = self.projector.output_shape[-1]
        self.predictor = projector(dim, (dim, dim))

    def embeddings(self, view_a, view_b, training):
        z_a, z_b, regularization = super().embeddings(view_a, view_b, training)
        return self.predictor(z_a, training=training), z_b, regularization


class WithPredictorAndStopGradient(WithPredictor, StopGradient):
    """Both: view B's embedding is what a predictor of view A's is to find.

    Source: arXiv 2103.03230, table 6.
    """

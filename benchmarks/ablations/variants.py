"""Variants of the loss and the model for ablations."""

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
    """The loss of standardized embeddings that are also scaled to one length per image.

        u[b] = sqrt(dim) z_hat[b] / ||z_hat[b]||
        c = mean over the batch of  u_a[b, i] * u_b[b, j]

    For a single replica; uses the matrix form.

    Source: arXiv 2103.03230, table 5, "normalization along feature dimension".
    Differs from source: the length is sqrt(dim), so that the mean of c_ii can be 1. The source
        does not say which length it uses.
    """

    def terms(self, z_a, z_b):
        def normalized(z):
            z_hat = standardize(z, epsilon=self.epsilon, centered=self.centered)
            return z_hat.shape[1] ** 0.5 * tf.math.l2_normalize(z_hat, axis=1)

        c = cross_correlation(normalized(z_a), normalized(z_b))
        return _terms_of_matrix(c, self.redundancy_target)


class CrossCovariance(BarlowTwinsLoss):
    """The loss of the cross-covariance matrix: embeddings are centered but not scaled.

    For a single replica; uses the matrix form.

    Source: arXiv 2103.03230, table 5, "no BN in MLP + no normalization".
    """

    def terms(self, z_a, z_b):
        z_a, z_b = (z - tf.reduce_mean(z, axis=0) for z in (z_a, z_b))
        return _terms_of_matrix(cross_correlation(z_a, z_b), self.redundancy_target)


def _terms_of_matrix(c, redundancy_target):
    """Returns the invariance and the redundancy term of a matrix [dim, dim]."""
    diagonal = tf.linalg.diag_part(c)
    redundancy = tf.linalg.set_diag(c - redundancy_target, tf.zeros_like(diagonal))
    return tf.reduce_sum(tf.square(1.0 - diagonal)), tf.reduce_sum(tf.square(redundancy))


class WithoutBatchNorm(BarlowTwins):
    """`BarlowTwins` whose projector has no batch normalization.

    The projector must be a sequence of layers.

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
    """`BarlowTwins` without a gradient through view B.

    Source: arXiv 2103.03230, table 6.
    """

    def embeddings(self, view_a, view_b, training):
        z_a, z_b, extra = super().embeddings(view_a, view_b, training)
        return z_a, tf.stop_gradient(z_b), extra


class WithPredictor(BarlowTwins):
    """`BarlowTwins` with a predictor after the projector, for view A only.

    The predictor has two dense layers with batch normalization and ReLU between them.

    Source: arXiv 2103.03230, table 6.
    """

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        dim = self.projector.output_shape[-1]
        self.predictor = projector(dim, (dim, dim))

    def embeddings(self, view_a, view_b, training):
        z_a, z_b, extra = super().embeddings(view_a, view_b, training)
        return self.predictor(z_a, training=training), z_b, extra


class WithPredictorAndStopGradient(WithPredictor, StopGradient):
    """`BarlowTwins` with a predictor for view A and no gradient through view B.

    Source: arXiv 2103.03230, table 6.
    """

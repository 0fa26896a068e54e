"""The Barlow Twins loss as a Keras loss: configuration around `functional.correlation`."""

import functools
import logging

import keras
import tensorflow as tf

from keras_bt.distribution.collectives import current_replicas
from keras_bt.functional.correlation import FORMS, invariance_and_redundancy, loss_floor
from keras_bt.functional.costs import cheaper_form


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwinsLoss(keras.losses.Loss):
    """Pulls the cross-correlation of two views' embeddings to the identity.

        loss = sum_i (1 - c_ii)^2
               + redundancy_weight * sum_{i != j} (c_ij - redundancy_target)^2

    On several replicas it is the loss of the global batch, the same on each: compiled into
    a `BarlowTwins` or into any other Keras model.

    Args:
        redundancy_weight: Float, at least 0. The paper's lambda.
        epsilon: Float, above 0. Added to the variance of each embedding dimension.
        centered: Bool. False leaves the batch mean in: c is then the cosine between
            dimensions instead of their correlation.
        form: "matrix", "gram" or "auto": how the redundancy is computed, not what.
            See `functional.correlation.invariance_and_redundancy`.
        redundancy_target: Float in [-1, 1]. Correlation wanted between different dimensions:
            0 in the paper, -1 in the HSIC form.
        name: Name of the loss.
        dtype: "float32" or "float64"; None for Keras's floatx.

    Call arguments:
        z_a: Float tensor [batch, dim]. Embeddings of view A (in `y_true`'s place).
        z_b: Float tensor [batch, dim]. Embeddings of view B (in `y_pred`'s place).

    Raises:
        ValueError: If an argument is out of range, the shapes of the embeddings differ
            or are not of rank 2, or the batch holds a single image.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(BarlowTwinsLoss(redundancy_weight=0.5)(z, z)), 3)
        1.0

    Source: arXiv 2103.03230, equation 1; facebookresearch/barlowtwins main.py@8e8d284. Of
        redundancy_target -1: arXiv 2104.13712.
    """

    def __init__(
        self,
        redundancy_weight=0.0051,
        epsilon=1e-5,
        centered=True,
        form="auto",
        redundancy_target=0.0,
        name="barlow_twins_loss",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}.")
        if not redundancy_weight >= 0:
            raise ValueError(f"redundancy_weight must be at least 0, got {redundancy_weight}.")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {epsilon}.")
        if form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}, got {form!r}.")
        if not -1 <= redundancy_target <= 1:
            raise ValueError(f"redundancy_target must lie in [-1, 1], got {redundancy_target}.")
        self.redundancy_weight = redundancy_weight
        self.epsilon = epsilon
        self.centered = centered
        self.form = form
        self.redundancy_target = redundancy_target

    def terms(self, z_a, z_b):
        """The two terms by themselves, unweighted.

        Args:
            z_a: Float tensor [batch, dim]. Embeddings of view A, of this replica's images.
            z_b: Float tensor [batch, dim]. Embeddings of view B.

        Returns:
            Two scalar tensors, the same on every replica: invariance and redundancy.
        """
        replicas = current_replicas()
        if self.form == "auto":
            _log_form(z_a.shape[0], z_a.shape[-1], replicas.count)
        with tf.name_scope("loss"):
            return invariance_and_redundancy(
                z_a,
                z_b,
                epsilon=self.epsilon,
                centered=self.centered,
                form=self.form,
                redundancy_target=self.redundancy_target,
                replicas=replicas,
            )

    def floor(self, batch_size, dim):
        """The least value the loss can reach, as far as it is known.

        Args:
            batch_size: Int. Of the global batch.
            dim: Int. Width of the embedding.

        Returns:
            Float, see `loss_floor`; None with a `redundancy_target` other than 0 or a
            `redundancy_weight` of 1 and more.
        """
        if self.redundancy_target != 0 or self.redundancy_weight >= 1:
            return None
        return loss_floor(batch_size, dim, self.redundancy_weight, centered=self.centered)

    def call(self, z_a, z_b):
        invariance, redundancy = self.terms(z_a, z_b)
        loss = invariance + self.redundancy_weight * redundancy
        # One entry an image, for Keras scales a vector to the replicas but not a scalar.
        return tf.fill([tf.shape(z_a)[0]], loss)

    def get_config(self):
        return {
            "redundancy_weight": self.redundancy_weight,
            "epsilon": self.epsilon,
            "centered": self.centered,
            "form": self.form,
            "redundancy_target": self.redundancy_target,
            "name": self.name,
            "dtype": self.dtype,
        }


@functools.lru_cache
def _log_form(rows, dim, replicas):
    form = cheaper_form(rows, dim, replicas)
    logging.getLogger(__name__).info(
        "The loss takes the %s form, for %s images a replica (of %d) and %s dimensions.",
        "cheaper" if form == "unknown" else form,
        "any number of" if rows is None else rows,
        replicas,
        dim,
    )

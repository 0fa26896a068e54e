"""The Barlow Twins loss as a Keras loss; its mathematics is in `functional.loss`."""

import functools
import logging
from typing import Any

import keras
import tensorflow as tf

from keras_bt.distribution.collectives import current_replicas
from keras_bt.functional.costs import cheaper_form, check_form
from keras_bt.functional.loss import (
    REDUNDANCY_WEIGHTS,
    check_redundancy,
    invariance_and_redundancy,
    loss_floor,
)


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwinsLoss(keras.losses.Loss):
    """Drives the cross-correlation of the embeddings of two views to the identity.

        loss = sum_i (1 - c_ii)^2
               + redundancy_weight * sum_{i != j} (c_ij - redundancy_target)^2

    On several replicas it is the loss of the global batch, the same on each. It can be compiled
    into a `BarlowTwins` or into any other Keras model.

    Args:
        redundancy_weight: At least 0. The paper's lambda; None for 0.0051, or 1 for a
            log-determinant.
        epsilon: Above 0. Added to the variance of each embedding dimension.
        centered: Whether the batch mean is subtracted. Without, c is the cosine between
            dimensions instead of their correlation.
        form: "matrix", "gram" or "auto". Decides how the redundancy is computed, not its value.
            See `functional.loss.invariance_and_redundancy`.
        redundancy_target: In [-1, 1]. Target correlation of different dimensions: 0 in the
            paper, -1 in the HSIC form.
        redundancy: "squares", the paper's, as above, or "log_determinant":

                loss = sum_i (1 - c_ii)^2 - redundancy_weight * log det(R)

            where R is the correlation matrix of the embedding, plus a ridge. It learns faster in
            the first thousand steps, with some hundred dimensions. See
            `functional.log_determinant.correlate_by_log_determinant`.
        name: Name of the loss.
        dtype: "float32" or "float64"; None for Keras's floatx.

    Call arguments:
        z_a: Float tensor [batch, dim]. Embeddings of view A (in the place of `y_true`).
        z_b: Float tensor [batch, dim]. Embeddings of view B (in the place of `y_pred`).

    Raises:
        ValueError: If an argument is out of range, the shapes of the embeddings differ
            or are not of rank 2, or the batch holds a single image.

    Example:
        >>> z = tf.constant([[1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(BarlowTwinsLoss(redundancy_weight=0.5)(z, z)), 3)
        1.0

    Source: arXiv 2103.03230, equation 1; facebookresearch/barlowtwins main.py@8e8d284. For
        redundancy_target -1: arXiv 2104.13712.
    """

    def __init__(
        self,
        redundancy_weight: float | None = None,
        epsilon: float = 1e-5,
        centered: bool = True,
        form: str = "auto",
        redundancy_target: float = 0.0,
        redundancy: str = "squares",
        name: str = "barlow_twins_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}.")
        check_form(form)
        check_redundancy(redundancy, form, redundancy_target)
        if redundancy_weight is None:
            redundancy_weight = REDUNDANCY_WEIGHTS[redundancy]
        if not redundancy_weight >= 0:
            raise ValueError(f"redundancy_weight must be at least 0, got {redundancy_weight}.")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {epsilon}.")
        if not -1 <= redundancy_target <= 1:
            raise ValueError(f"redundancy_target must lie in [-1, 1], got {redundancy_target}.")
        self.redundancy_weight = redundancy_weight
        self.epsilon = epsilon
        self.centered = centered
        self.form = form
        self.redundancy_target = redundancy_target
        self.redundancy = redundancy

    def terms(self, z_a: tf.Tensor, z_b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes both terms of the loss, unweighted.

        Args:
            z_a: Float tensor [batch, dim]. Embeddings of view A, of this replica's images.
            z_b: Float tensor [batch, dim]. Embeddings of view B.

        Returns:
            Invariance and redundancy, two scalar tensors, the same on every replica.
        """
        replicas = current_replicas()
        if self.form == "auto" and self.redundancy == "squares":
            _log_form(z_a.shape[0], z_a.shape[-1], replicas.count)
        with tf.name_scope("loss"):
            return invariance_and_redundancy(
                z_a,
                z_b,
                epsilon=self.epsilon,
                centered=self.centered,
                form=self.form,
                redundancy_target=self.redundancy_target,
                redundancy=self.redundancy,
                replicas=replicas,
            )

    def floor(self, batch_size: int, dim: int) -> float | None:
        """The least value that the loss can reach.

        Args:
            batch_size: Images in the global batch.
            dim: Width of the embedding.

        Returns:
            See `loss_floor`. None if no formula is known: with a `redundancy_target` other than 0,
            and for a log-determinant of more dimensions than images.
        """
        if self.redundancy_target != 0:
            return None
        if self.redundancy == "log_determinant":
            rank = batch_size - 1 if self.centered else batch_size
            return 0.0 if dim <= rank else None
        return loss_floor(batch_size, dim, self.redundancy_weight, centered=self.centered)

    def call(self, z_a: tf.Tensor, z_b: tf.Tensor) -> tf.Tensor:
        invariance, redundancy = self.terms(z_a, z_b)
        loss = invariance + self.redundancy_weight * redundancy
        # One value per image: Keras 3.15 divides a vector by the replicas, but not a scalar.
        return tf.fill([tf.shape(z_a)[0]], loss)

    def get_config(self) -> dict[str, Any]:
        return {
            "redundancy_weight": self.redundancy_weight,
            "epsilon": self.epsilon,
            "centered": self.centered,
            "form": self.form,
            "redundancy_target": self.redundancy_target,
            "redundancy": self.redundancy,
            "name": self.name,
            "dtype": self.dtype,
        }


@functools.lru_cache
def _log_form(rows: int | None, dim: int, replicas: int) -> None:
    """Logs once which form "auto" stands for."""
    form = cheaper_form(rows, dim, replicas)
    logging.getLogger(__name__).info(
        "The loss uses the %s form (images per replica: %s, replicas: %d, dimensions: %s).",
        "cheaper" if form == "unknown" else form,
        "any number" if rows is None else rows,
        replicas,
        dim,
    )

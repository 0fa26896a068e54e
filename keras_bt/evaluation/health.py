"""Health metrics of features and embeddings, and the callback that logs them during `fit`."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support.variables import restored
from keras_bt.evaluation.diagnosis import Finding, diagnose
from keras_bt.evaluation.features import compile_for_any_batch_size
from keras_bt.evaluation.monitors import Monitor, check_finite
from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.image import as_unit_range
from keras_bt.functional.spectrum import effective_rank, spread
from keras_bt.model.inputs import unpack_images
from keras_bt.model.optimizers import steps_made
from keras_bt.model.view_placement import ViewsInStep

BLOCK_ROWS = 1024  # of c, held in memory at a time
DEAD_SPREAD = 1e-3  # of the median spread
ROUNDING = 1e-6  # of the size of the embeddings

log = logging.getLogger("keras_bt")


class EmbeddingHealth(Monitor):
    """Logs health metrics of features and embeddings during `fit`, and warns about problems.

    Evaluates the images, and two views of each, in inference mode. Training with and without
    this callback gives the same weights, bit for bit. Adds these metrics to the logs:

        representation_rank  effective rank of the features, less than the number of images;
                             see `functional.spectrum.effective_rank`
        embedding_rank       the same for z_a
        embedding_spread     median over dimensions of the standard deviation of z_a
        dead_dimensions      number of dimensions of z_a with at most 0.001 of that spread
        mean_diagonal        mean of c_ii
        mean_off_diagonal    mean of |c_ij|, i != j
        loss_above_floor     (loss - floor) / loss, of the loss of the epoch; see `loss_floor`.
                             Missing if the floor is unknown

    Logs a warning for each finding of `diagnose`, once in a training.

    Args:
        images: Batches as `BarlowTwins.fit` takes them, of the size of the encoder. All are
            evaluated; a few hundred images are enough.
        batch_size: Of the training, over all replicas. The floor depends on it.
        every_epochs: At least 1. Computes the metrics every `every_epochs` epochs and after the
            last epoch.
        untrained_loss: None uses the loss of the first step if the optimizer has made none yet.

    Attributes:
        untrained_accuracy: The k-NN accuracy before training, and the number of its images, for
            a warning if that during training is lower. None for no comparison.
        findings: The problems in the warnings.
        outputs: Latest outputs for the images: features [images, features], z_a and z_b
            [images, dim]. None before the first evaluation.

    Raises:
        FloatingPointError: At the end of an epoch, if an embedding is NaN or infinite.
        ValueError: At the beginning of `fit`, if the model has no views.

    Example:
        >>> import keras, keras_bt
        >>> encoder = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
        >>> projector = keras.Sequential([keras.Input((12,)), keras.layers.Dense(4)])
        >>> views = keras.layers.GaussianNoise(0.1), keras.layers.GaussianNoise(0.1)
        >>> model = keras_bt.BarlowTwins(encoder, projector, views)
        >>> model.compile("sgd")
        >>> images = tf.random.stateless_uniform([8, 2, 2, 3], seed=(0, 0))
        >>> health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        >>> history = model.fit(images, batch_size=8, callbacks=[health], verbose=0)
        >>> len(history.history["embedding_rank"]), health.outputs[1].shape
        (1, TensorShape([8, 4]))
    """

    def __init__(
        self,
        images: tf.data.Dataset,
        batch_size: int,
        every_epochs: int = 1,
        untrained_loss: float | None = None,
    ) -> None:
        super().__init__(every_epochs)
        self.images = images
        self.batch_size = batch_size
        self.untrained_loss = untrained_loss
        self.untrained_accuracy: tuple[float, int] | None = None
        self.findings: list[Finding] = []
        self.outputs: list[tf.Tensor] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.model.views is None:
            raise ValueError("EmbeddingHealth needs a model with views, got views=None.")
        self._compute = _compile_outputs(self.model)
        self._starts_untrained = steps_made(self.model.optimizer) == 0
        self.findings.clear()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.untrained_loss is not None or not self._starts_untrained or not logs:
            return
        # A step that `hold_nonfinite` skips has a loss of 0.
        if float(logs["loss"]) > 0.0:
            self.untrained_loss = float(logs["loss"])

    def compute_metrics(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        features, z_a, z_b = self.compute_outputs()
        check_finite("embeddings", epoch, features, z_a, z_b)
        criterion, loss = self.model.loss, logs["loss"]
        floor = criterion.floor(self.batch_size, z_a.shape[1])
        metrics = {
            "representation_rank": float(effective_rank(features)),
            **embedding_metrics(z_a, z_b, criterion.epsilon, criterion.centered),
        }
        if floor is not None:
            metrics["loss_above_floor"] = (loss - floor) / loss if loss > floor else 0.0
        self._warn({**logs, **metrics}, (epoch + 1) / self.params["epochs"], floor)
        return metrics

    def compute_outputs(self) -> list[tf.Tensor]:
        """Computes `outputs` with the current weights and returns them."""
        with restored([variable for view in self.model.views for variable in view.variables]):
            batches = [self._compute(unpack_images(batch)) for batch in self.images]
        self.outputs = [tf.concat(parts, axis=0) for parts in zip(*batches, strict=True)]
        return self.outputs

    def _warn(self, metrics: Mapping[str, float], progress: float, floor: float | None) -> None:
        """Logs the findings that were not logged before."""
        found = diagnose(metrics, progress, self.untrained_loss, floor, self.untrained_accuracy)
        for finding in found:
            if finding.name not in [known.name for known in self.findings]:
                log.warning("%s", finding)
                self.findings.append(finding)


def _compile_outputs(model: keras.Model) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """Compiles a function from images to their features and the embeddings of two views."""
    views = ViewsInStep(model.views)  # not by XLA, which would compile them once more

    @compile_for_any_batch_size
    def compute_outputs(images: tf.Tensor) -> list[tf.Tensor]:
        images = as_unit_range(images)
        z_a, z_b = (model.embedding(view, training=False) for view in views.two_views(images))
        features = model.encoder(images, training=False)
        return [tf.cast(output, tf.float32) for output in (features, z_a, z_b)]

    return compute_outputs


def embedding_metrics(
    z_a: tf.Tensor | np.ndarray,
    z_b: tf.Tensor | np.ndarray,
    epsilon: float = 1e-5,
    centered: bool = True,
) -> dict[str, float]:
    """Returns the metrics that `EmbeddingHealth` logs for the embeddings of two views.

    Computes c in blocks of rows, so that memory is bounded for a wide embedding.

    Args:
        z_a: Float tensor [images, dim]. Embeddings of view A.
        z_b: Float tensor [images, dim]. The same images in the same order, view B.
        epsilon: See `BarlowTwinsLoss`.
        centered: See `BarlowTwinsLoss`.

    Returns:
        The metrics by name.

    Example:
        >>> z = np.float32([[1, 1, 0], [-1, -1, 0]])
        >>> for name, value in embedding_metrics(z, z, epsilon=0).items():
        ...     print(name, round(value, 3))
        embedding_rank 1.0
        embedding_spread 1.0
        dead_dimensions 1.0
        mean_diagonal 0.667
        mean_off_diagonal 0.333
    """
    spread_a = spread(z_a).numpy()
    median = float(np.median(spread_a))
    size, dim = float(np.sqrt(np.mean(np.square(z_a, dtype="float64")))), z_a.shape[1]
    a, b = (standardize(z, epsilon=epsilon, centered=centered) for z in (z_a, z_b))
    diagonal = tf.reduce_mean(a * b, axis=0)
    blocks = (
        cross_correlation(a[:, row : row + BLOCK_ROWS], b) for row in range(0, dim, BLOCK_ROWS)
    )
    total = sum(float(tf.reduce_sum(tf.abs(block))) for block in blocks)
    off_diagonal = total - float(tf.reduce_sum(tf.abs(diagonal)))
    return {
        "embedding_rank": float(effective_rank(z_a)),
        "embedding_spread": median,
        "dead_dimensions": float(np.sum(spread_a <= max(DEAD_SPREAD * median, ROUNDING * size))),
        "mean_diagonal": float(tf.reduce_mean(diagonal)),
        "mean_off_diagonal": off_diagonal / max(1, dim * (dim - 1)),
    }

"""Whether representations and embeddings are sound, and what is wrong where they are not."""

import dataclasses
import logging

import numpy as np
import tensorflow as tf

from keras_bt._support.variables import restored
from keras_bt.evaluation.features import any_batch_size
from keras_bt.evaluation.monitors import Monitor, check_finite
from keras_bt.functional.correlation import cross_correlation, standardize
from keras_bt.functional.image import as_unit_range
from keras_bt.functional.spectrum import effective_rank, spread
from keras_bt.model.inputs import images_of
from keras_bt.model.optimizers import steps_made

FIGURES = (
    "representation_rank",
    "embedding_rank",
    "embedding_spread",
    "dead_dimensions",
    "mean_diagonal",
    "mean_off_diagonal",
    "loss_above_floor",
)
BLOCK = 1024  # rows of c at a time
DEAD_SHARE = 1e-3  # of the median spread
ROUNDING = 1e-6  # beside the size of the embeddings

# Measured on digits (recipe, three seeds, 15 epochs), short runs on parts of fashion_mnist and
# cifar10, and small networks on digits. Sound trainings, from before the first step on: rank of
# representations 5 at least, spread 0.005; mean off-diagonal 0.59 at most, in passing, and 0.38
# at the end; from half of the training on a diagonal of 0.4 and a loss of 0.84 of the first. With
# a redundancy_weight of 0 the off-diagonal ends at 0.8 to 0.95, where training is slow at 0.6.
COLLAPSED_RANK = 1.5
COLLAPSED_SPREAD = 3e-4  # a tenth of the root of the loss's epsilon, which then divides c by 100
REDUNDANT_CORRELATION = 0.7
UNMATCHED_DIAGONAL = 0.1
LEARNED_FROM = 0.5  # of the training; before, a sound one may have little to show
NOT_LEARNING_RATIO = 0.9  # of the loss to that of the first step, both above the floor
DIVERGED_RATIO = 1.5

log = logging.getLogger("keras_bt")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something wrong with a training.

    Args:
        name: What it is called.
        sentence: What is seen, what it means, what usually causes it and what to try.

    Example:
        >>> print(Finding("dead dimensions", "3 are constant."))
        dead dimensions: 3 are constant.
    """

    name: str
    sentence: str

    def __str__(self):
        return f"{self.name}: {self.sentence}"


class EmbeddingHealth(Monitor):
    """Logs during `fit` how sound representations and embeddings are, and warns of what is not.

    Looks at images and at two views of each, in inference mode, and leaves the training as it
    was to the last bit. Adds to the logs of the epochs at whose end it looks

        representation_rank, embedding_rank
                            see `functional.spectrum.effective_rank`; below the number of images
        embedding_spread    median over dimensions of the standard deviation of z_a
        dead_dimensions     how many dimensions of z_a have a thousandth of that at the most
        mean_diagonal       mean of c_ii
        mean_off_diagonal   mean of |c_ij|, i != j
        loss_above_floor    (loss - floor) / loss, of the epoch's loss; see `loss_floor`. Not
                            where the floor is not known

    and logs a warning of each finding of `diagnose`, once in a training.

    Args:
        images: `tf.data.Dataset` of batches as `BarlowTwins.fit` takes them, of the encoder's
            size; all are looked at. Some hundreds are enough.
        batch_size: Int. Of the training, over all replicas; the floor depends on it.
        every_epochs: Int. Looks after each so many epochs, and after the last.
        untrained_loss: Float, or None for the loss of the first step, if the optimizer has
            made none before.

    Attributes:
        findings: List of `Finding`, those that were warned of.
        embedded: Of the images, at the last look: representations [images, features], z_a and z_b
            [images, dim]; None before.

    Raises:
        FloatingPointError: At the end of an epoch, if an embedding is NaN or infinite.
        ValueError: At the beginning of `fit`, if the model has no views.

    Example:
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 4, 4, 3], tf.uint8))
        >>> EmbeddingHealth(images, batch_size=256).findings
        []
    """

    def __init__(self, images, batch_size, every_epochs=1, untrained_loss=None):
        super().__init__(every_epochs)
        self.images = images
        self.batch_size = batch_size
        self.untrained_loss = untrained_loss
        self.findings: list[Finding] = []
        self.embedded = None

    def on_train_begin(self, logs=None):
        if self.model.views is None:
            raise ValueError("EmbeddingHealth needs a model with views, got views=None.")
        self._outputs = _compile_outputs(self.model)
        self._untrained = steps_made(self.model.optimizer) == 0
        self.findings.clear()

    def on_train_batch_end(self, batch, logs=None):
        # A step that is held leaves a loss of 0.
        if self.untrained_loss is None and self._untrained and logs and float(logs["loss"]) > 0.0:
            self.untrained_loss = float(logs["loss"])

    def look(self, epoch, logs):
        representations, z_a, z_b = self.embed_images()
        check_finite("embeddings", epoch, representations, z_a, z_b)
        criterion, loss = self.model.loss, logs["loss"]
        floor = criterion.floor(self.batch_size, z_a.shape[1])
        figures = {
            "representation_rank": float(effective_rank(representations)),
            **embedding_figures(z_a, z_b, criterion.epsilon, criterion.centered),
        }
        if floor is not None:
            figures["loss_above_floor"] = (loss - floor) / loss if loss > floor else 0.0
        self._warn({**logs, **figures}, (epoch + 1) / self.params["epochs"], floor)
        return figures

    def embed_images(self):
        """Computes `embedded` by the model as it is, and returns it."""
        with restored([variable for view in self.model.views for variable in view.variables]):
            outputs = [self._outputs(images_of(batch)) for batch in self.images]
        self.embedded = [tf.concat(batches, axis=0) for batches in zip(*outputs, strict=True)]
        return self.embedded

    def _warn(self, figures, progress, floor):
        for finding in diagnose(figures, progress, self.untrained_loss, floor):
            if finding.name not in [known.name for known in self.findings]:
                log.warning("%s", finding)
                self.findings.append(finding)


def _compile_outputs(model):
    """Function from images to their representations and to the embeddings of two views of them."""

    @any_batch_size
    def outputs(images):
        images = as_unit_range(images)
        embeddings = [model.embedding(view, training=False) for view in model.two_views(images)]
        representations = model.encoder(images, training=False)
        return [tf.cast(each, tf.float32) for each in (representations, *embeddings)]

    return outputs


def embedding_figures(z_a, z_b, epsilon=1e-5, centered=True):
    """What `EmbeddingHealth` logs of the embeddings of two views.

    Args:
        z_a: Float tensor [images, dim]. Embeddings of view A.
        z_b: Float tensor [images, dim]. The same images in the same order, view B.
        epsilon: See `BarlowTwinsLoss`.
        centered: See `BarlowTwinsLoss`.

    Returns:
        Dict of floats. Of c a block of rows is held at a time.

    Example:
        >>> z = np.float32([[1, 1, 0], [-1, -1, 0]])
        >>> for name, value in embedding_figures(z, z, epsilon=0).items():
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
    blocks = (cross_correlation(a[:, row : row + BLOCK], b) for row in range(0, dim, BLOCK))
    total = sum(float(tf.reduce_sum(tf.abs(block))) for block in blocks)
    off_diagonal = total - float(tf.reduce_sum(tf.abs(diagonal)))
    return {
        "embedding_rank": float(effective_rank(z_a)),
        "embedding_spread": median,
        "dead_dimensions": float(np.sum(spread_a <= max(DEAD_SHARE * median, ROUNDING * size))),
        "mean_diagonal": float(tf.reduce_mean(diagonal)),
        "mean_off_diagonal": off_diagonal / max(1, dim * (dim - 1)),
    }


def diagnose(figures, progress=1.0, untrained_loss=None, floor=0.0):
    """What is wrong with a training, in plain sentences.

    Args:
        figures: Dict of floats with the names that `EmbeddingHealth` logs, and `loss`.
        progress: Float in [0, 1]. Which part of the training is done.
        untrained_loss: Float, or None if it is not known.
        floor: Float, the least value of the loss, or None if it is not known.

    Returns:
        List of `Finding`, empty for a sound training.

    Example:
        >>> figures = dict(representation_rank=30.0, embedding_rank=8.0, embedding_spread=1.0)
        >>> figures |= dict(dead_dimensions=0.0, mean_diagonal=0.9, mean_off_diagonal=0.8)
        >>> [finding.name for finding in diagnose({**figures, "loss": 3.5})]
        ['dimensional collapse']
    """
    f, found = figures, []

    def find(name, sentence):
        found.append(Finding(name, sentence))

    if f["representation_rank"] < COLLAPSED_RANK or f["embedding_spread"] < COLLAPSED_SPREAD:
        find(
            "complete collapse",
            f"the representations have an effective rank of {f['representation_rank']:.3g} and the "
            f"embeddings a spread of {f['embedding_spread']:.2g}, so all images get nearly the "
            "same. Usual causes are units that died of too high a learning rate, and weight decay "
            "without batch norm; try a lower learning_rate, or batch norm in both networks.",
        )
    if f["mean_off_diagonal"] > REDUNDANT_CORRELATION:
        find(
            "dimensional collapse",
            f"two dimensions of the embedding correlate by {f['mean_off_diagonal']:.2f} in the "
            f"mean and its effective rank is {f['embedding_rank']:.3g}, so they say the same. The "
            "usual cause is a redundancy_weight of 0 or far too small; try the published 0.0051.",
        )
    if f["dead_dimensions"] > 0:
        find(
            "dead dimensions",
            f"{f['dead_dimensions']:.0f} dimensions of the embedding are the same for all images "
            "and tell nothing. Usual causes are a ReLU at the projector's end and too high a "
            "learning rate; end the projector with a Dense layer, or lower learning_rate.",
        )
    if progress >= LEARNED_FROM and f["mean_diagonal"] < UNMATCHED_DIAGONAL:
        find(
            "views not matched",
            f"the two views of an image correlate by {f['mean_diagonal']:.2f} in the mean, with "
            f"{100 * progress:.0f} % of the training done. Usual causes are views so strong that "
            "they have little in common, too few steps, and a learning rate far too small or too "
            "large; try a larger crop_area, then another learning_rate.",
        )
    known = untrained_loss is not None and floor is not None and untrained_loss > floor
    ratio = (f["loss"] - floor) / (untrained_loss - floor) if known else 0.0
    if ratio > DIVERGED_RATIO:
        find(
            "diverged",
            f"the loss is {f['loss']:.4g}, at the first step it was {untrained_loss:.4g}, so "
            "training made it worse. Usual causes are too high a learning rate and too short a "
            "warm-up; try a learning_rate ten times as small.",
        )
    elif progress >= LEARNED_FROM and ratio > NOT_LEARNING_RATIO:
        find(
            "not learning",
            f"the loss is {f['loss']:.4g}, at the first step it was {untrained_loss:.4g}, with "
            f"{100 * progress:.0f} % of the training done. Usual causes are too few steps and a "
            "learning rate far too small or too large; try more epochs, then a learning_rate ten "
            "times as large and as small.",
        )
    return found


def health_report(logs, untrained_loss=None, floor=0.0):
    """The health of a training that has ended.

    Args:
        logs: Dict, the logs of its last epoch, at whose end `EmbeddingHealth` looked.
        untrained_loss: See `diagnose`.
        floor: See `diagnose`.

    Returns:
        Dict of `EmbeddingHealth`'s figures, and as "findings" what `diagnose` says; None if
        it did not look.

    Example:
        >>> logs = {**dict.fromkeys(FIGURES, 0.5), "epoch": 9, "loss": 3.5}
        >>> report = health_report(logs)
        >>> report["mean_diagonal"], len(report["findings"])
        (0.5, 2)
    """
    figures = {name: logs[name] for name in FIGURES if name in logs}
    if not figures:
        return None
    findings = diagnose(logs, untrained_loss=untrained_loss, floor=floor)
    return {**figures, "findings": [str(finding) for finding in findings]}

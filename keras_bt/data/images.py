"""`Images` in a fixed order, batched in order or shuffled, and the `Source` of a run."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bt.functional.framing import check_framing, frame

SHUFFLE_BYTES = 2**30
INDICES_AHEAD = 2**14
HOLD_OUT_EVERY = 5
VALIDATION_EVERY = 10
SAMPLED_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order.

    Args:
        name: Name for messages.
        count: Number of images.
        elements: Dataset of small elements: indices, paths or encoded bytes.
        decode: Maps an element, after `fetch`, to {"image": [height, width, 3]} and, if
            `labelled`, "label": a class number. If the image was reduced or `squashed`, also to
            "size": the true height and width, int32 [2].
        labelled: Whether the images have labels.
        shuffle_buffer: Number of elements shuffled at a time; `count` shuffles all.
        fetch: Maps a dataset of elements to the dataset that `decode` takes, in the same
            order; None passes the elements on.
        replaced: Names of images (paths, or records) that could not be read and were replaced
            by others. Grows while images are read.
        file_names: One path per image; None for images that are not in files.
        framing: How images become squares; see `framed`.
        squashed: Whether `decode` returns images squashed to one size, for random crops only.
        largest_size: The largest size that the images can be loaded at; None for any.

    Example:
        >>> from keras_bt.data import from_arrays
        >>> images = from_arrays(tf.zeros([5, 8, 8, 3], tf.uint8), labels=range(5))
        >>> next(iter(images.batches(2, size=4)))["image"].shape
        TensorShape([2, 4, 4, 3])
    """

    name: str
    count: int
    elements: tf.data.Dataset
    decode: Callable[[Any], dict[str, tf.Tensor]]
    labelled: bool
    shuffle_buffer: int
    fetch: Callable[[tf.data.Dataset], tf.data.Dataset] | None = None
    replaced: set[str] = dataclasses.field(default_factory=set)
    file_names: Sequence[str] | None = None
    framing: str = "square"
    squashed: bool = False
    largest_size: int | None = None

    def framed(self, framing: str) -> "Images":
        """The same images, with another way to become squares of one size.

        | framing | for random crops | for evaluation |
        |---|---|---|
        | whole | the whole image, squashed, and its true size | the central square |
        | square | the central square | the central square |
        | pad | the whole image with gray bars | the same |
        | stretch | the whole image, its sides in another proportion | the same |

        Args:
            framing: "whole", "square", "pad" or "stretch".

        Raises:
            ValueError: If the framing is unknown, or the images are `squashed` already.

        Example:
            >>> from keras_bt.data import from_arrays
            >>> wide = from_arrays(tf.zeros([5, 8, 16, 3], tf.uint8)).framed("whole")
            >>> next(iter(wide.shuffled_batches(2, size=4, seed=0)))["size"].numpy().tolist()
            [[8, 16], [8, 16]]
        """
        if self.framing == check_framing(framing):
            return self
        self._refuse_squashed()
        return dataclasses.replace(self, framing=framing)

    def at_most(self, count: int) -> "Images":
        """All images if there are at most `count`, otherwise evenly spaced ones.

        The elements of evenly spaced images are read once and then kept in memory.
        """
        step = -(-self.count // count)
        if step == 1:
            return self
        kept = -(-self.count // step)
        return dataclasses.replace(
            self,
            count=kept,
            elements=self.elements.shard(step, 0).cache(),
            shuffle_buffer=kept,
            file_names=self.file_names and self.file_names[::step],
        )

    def chosen(self, indices: Sequence[int] | np.ndarray) -> "Images":
        """The images of the given indices, each once and in the original order.

        Args:
            indices: In 0...count - 1.

        Raises:
            ValueError: If there are no indices, or one is out of range.
        """
        indices = np.asarray(indices)
        if not indices.size or indices.min() < 0 or indices.max() >= self.count:
            raise ValueError(
                f"{self.name} holds {self.count} images; indices must lie in "
                f"0...{self.count - 1}, at least one, got {indices}."
            )
        is_chosen = np.zeros(self.count, bool)
        is_chosen[indices] = True
        kept = int(is_chosen.sum())
        # A filter that only returns a component of its input is five times as fast.
        marked = tf.data.Dataset.zip(self.elements, tf.data.Dataset.from_tensor_slices(is_chosen))
        elements = marked.filter(lambda _, chosen: chosen).map(lambda element, _: element)
        return dataclasses.replace(
            self,
            count=kept,
            elements=elements,
            shuffle_buffer=min(kept, self.shuffle_buffer),
            file_names=self.file_names
            and [self.file_names[i] for i in np.flatnonzero(is_chosen).tolist()],
        )

    def short_side(self) -> int:
        """The median of the shorter sides of the first images, in pixels."""

        def side(element: Any) -> tf.Tensor:
            return tf.reduce_min(tf.shape(self.decode(element)["image"])[:2])

        elements = self.elements.take(SAMPLED_IMAGES)
        elements = self.fetch(elements) if self.fetch else elements
        sides = elements.map(side).with_options(_without_tuning())
        return int(np.median([int(each) for each in sides]))

    def batches(self, batch_size: int, size: int, to_crop: bool = False) -> tf.data.Dataset:
        """All images once and in order, for evaluation.

        Args:
            batch_size: Images per batch. The last batch may be smaller.
            size: Side of the square images, in pixels; see `framed`.
            to_crop: Whether the images are those of `shuffled_batches`, for random crops.

        Returns:
            Dataset of dicts {"image", "label"}, without "label" if there are no labels.

        Raises:
            ValueError: If the images are `squashed`, and `to_crop` is false. Also if `size` is
                above `largest_size`.
        """
        if not to_crop:
            self._refuse_squashed()
        batches = self._decoded(self.elements, size, to_crop).batch(batch_size).prefetch(2)
        return batches.with_options(_without_tuning())

    def shuffled_batches(
        self,
        batch_size: int,
        size: int,
        seed: int,
        first_step: int = 0,
        context: tf.distribute.InputContext | None = None,
    ) -> tf.data.Dataset:
        """Endless epochs for training. The order of an epoch depends on `seed` and its number.

        Args:
            batch_size: Images per batch, over all replicas. Each epoch drops its last images
                if they do not fill a batch.
            size: Side of the square images, in pixels; see `framed`.
            seed: At least 0.
            first_step: Number of the first batch, counted over all epochs.
            context: Selects the input of one worker: parts of the batches, one per replica,
                distributed over the workers in turn. Images of other workers are not read.

        Returns:
            Endless dataset of dicts {"image", "label"}, without "label" if there are no
            labels. With framing "whole" also "size", int32 [batch, 2]: true heights and widths.
            An epoch is `count // batch_size` batches.

        Raises:
            ValueError: If there are fewer images than `batch_size`, the number of replicas
                does not divide it, `seed` is negative, or `size` is above `largest_size`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}.")
        if batch_size > self.count:
            raise ValueError(
                f"{self.name} holds {self.count} images, fewer than the batch_size of {batch_size}."
            )
        context = context or tf.distribute.InputContext()
        part = context.get_per_replica_batch_size(batch_size)
        steps_per_epoch = self.count // batch_size
        first_epoch, done = divmod(first_step, steps_per_epoch)

        def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
            # Sets the seed of this graph, so that the user's global seed does not change the
            # order. Not 0, which TensorFlow 2.21 compares with the symbolic epoch.
            tf.compat.v1.set_random_seed(seed + 1)
            order = self.elements.shuffle(
                self.shuffle_buffer, seed=epoch, reshuffle_each_iteration=False
            )
            return order.take(steps_per_epoch * batch_size)

        elements = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_order)
        elements = elements.skip(done * batch_size)
        if self.fetch:  # shuffling a million indices takes a second; no step waits for it
            elements = elements.prefetch(INDICES_AHEAD)
        if context.num_input_pipelines > 1:
            parts = elements.batch(part)
            elements = parts.shard(context.num_input_pipelines, context.input_pipeline_id).unbatch()
        decoded = self._decoded(elements, size, to_crop=True)
        batches = decoded.batch(part, drop_remainder=True).prefetch(2)
        batches = batches.with_options(_without_tuning())
        # Only batches of known infinite number keep their static shape when distributed.
        return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    def _decoded(self, elements: tf.data.Dataset, size: int, to_crop: bool) -> tf.data.Dataset:
        """Fetches, decodes and fits the elements to squares."""
        if self.largest_size is not None and size > self.largest_size:
            raise ValueError(
                f"{self.name}: the images are prepared for a load_size of {self.largest_size} "
                f"pixels, and {size} are needed; prepare them again for a larger image_size, or "
                "choose a smaller one."
            )
        squash = to_crop and self.framing == "whole"

        def load(element: Any) -> dict[str, tf.Tensor]:
            example = dict(self.decode(element))
            image = example["image"]
            true_size = example.pop("size", tf.shape(image)[:2])
            if squash:
                example["size"] = true_size
            return {**example, "image": frame(image, size, "stretch" if squash else self.framing)}

        elements = self.fetch(elements) if self.fetch else elements
        return elements.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _refuse_squashed(self) -> None:
        """Rejects images that fit nothing but random crops."""
        if self.squashed:
            raise ValueError(
                f"{self.name}: these images are squashed, for random crops only; evaluate those "
                "that `in_memory` was given."
            )


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of a run: training images and held-out images.

    Args:
        name: Name in the result.
        train: Images to pretrain on.
        test: Held-out labelled images, or None without labels.
        classes: Number of classes, or None without labels.
        skipped: Number of images left out because they cannot be read.
        labelled: Labelled images for training classifiers; None means `train`.
        class_names: One name per class; empty if classes have only numbers.
        digest: Identifies the images, wherever they lie; see `digest_of`. Empty if unknown.
    """

    name: str
    train: Images
    test: Images | None = None
    classes: int | None = None
    skipped: int = 0
    labelled: Images | None = None
    class_names: tuple[str, ...] = ()
    digest: str = ""

    def framed(self, framing: str) -> "Source":
        """The same images, with another way to become squares; see `Images.framed`.

        Args:
            framing: "whole", "square", "pad" or "stretch".

        Raises:
            ValueError: See `Images.framed`.
        """
        return dataclasses.replace(
            self,
            train=self.train.framed(framing),
            test=self.test and self.test.framed(framing),
            labelled=self.labelled and self.labelled.framed(framing),
        )

    def for_evaluation(self) -> tuple[Images, Images | None]:
        """Labelled images for training a classifier, and held-out images."""
        return self.labelled or self.train, self.test

    def for_validation(self) -> "Source":
        """A source that holds out every tenth labelled training image, for choosing settings.

        It does not contain the images in `test`.

        Raises:
            ValueError: If there are no labels, or fewer than ten labelled images.
        """
        labelled, test = self.for_evaluation()
        if test is None:
            raise ValueError(f"{self.name} has no labels to validate with.")
        if labelled.count < VALIDATION_EVERY:
            raise ValueError(
                f"{labelled.name} holds {labelled.count} images; validation needs at least "
                f"{VALIDATION_EVERY}."
            )
        is_held_out = np.arange(labelled.count) % VALIDATION_EVERY == 0
        held_out, kept = (labelled.chosen(np.flatnonzero(m)) for m in (is_held_out, ~is_held_out))
        name = f"{self.name} (validation)"
        if self.labelled:
            return dataclasses.replace(self, name=name, test=held_out, labelled=kept)
        return dataclasses.replace(self, name=name, test=held_out, train=kept)


def _without_tuning() -> tf.data.Options:
    """Options for a parallelism of the number of cores, which is not tuned.

    In TensorFlow 2.21 the thread that tunes sometimes misses the end of an iterator, which then
    takes up to a minute to be deleted.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def digest_of(entries: Iterable[Any]) -> str:
    """A text that changes with the entries, such as names and sizes of files.

    Args:
        entries: Their `repr` counts.

    Example:
        >>> digest_of([("0.jpg", 1200)]) == digest_of([("0.jpg", 1201)])
        False
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry!r}\n".encode())
    return digest.hexdigest()[:12]


def problems_message(kind: str, count: int, problems: Sequence[str]) -> str:
    """Returns a line with the number of unreadable images or records, and the first ten."""
    more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
    return f"{len(problems)} of {count} {kind} cannot be read: {'; '.join(problems[:10])}{more}."


def shuffle_buffer(count: int, size_bytes: int) -> int:
    """Number of elements to shuffle at a time, for `count` elements of `size_bytes` in total."""
    return max(1, min(count, count * SHUFFLE_BYTES // max(size_bytes, 1)))

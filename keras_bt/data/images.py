"""Images in a fixed order, and how `tf.data` reads them: whole, in order or shuffled."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

SHUFFLE_BYTES = 2**30
HOLD_OUT_EVERY = 5
VALIDATION_EVERY = 10


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order.

    Args:
        name: What to call them in messages.
        count: How many there are.
        elements: `tf.data.Dataset` of something small: an index, a path, encoded bytes.
        decode: From an element, or what `fetch` makes of it, to {"image": [height, width,
            3]} and, if `labelled`, "label": a class number.
        labelled: Whether there are labels.
        shuffle_buffer: Elements shuffled at a time; `count` shuffles them all.
        fetch: From a `tf.data.Dataset` of elements to one of what `decode` takes, in the same
            order; None if that is the elements themselves.
        replaced: Set of the paths of files that could no longer be read in training, and
            whose place others took. It grows meanwhile.
        file_names: Sequence of paths, one an image, or None where they are in no files.

    Example:
        >>> from keras_bt.data import from_arrays
        >>> images = from_arrays(tf.zeros([5, 8, 8, 3], tf.uint8), labels=range(5))
        >>> next(iter(images.batches(2, size=4)))["image"].shape
        TensorShape([2, 4, 4, 3])
    """

    name: str
    count: int
    elements: tf.data.Dataset
    decode: Callable
    labelled: bool
    shuffle_buffer: int
    fetch: Callable | None = None
    replaced: set = dataclasses.field(default_factory=set)
    file_names: Sequence[str] | None = None

    def at_most(self, count):
        """These images, or evenly spaced ones of them if they are more than `count`.

        Those are read once, and then kept in memory as they are stored.
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

    def chosen(self, indices):
        """These of the images, each once and in their order.

        Args:
            indices: Ints, in 0...count - 1.

        Returns:
            `Images`.

        Raises:
            ValueError: If there are none, or one is out of range.
        """
        indices = np.asarray(indices)
        if not indices.size or indices.min() < 0 or indices.max() >= self.count:
            raise ValueError(
                f"{self.name} holds {self.count} images; the chosen must be some of them, by "
                f"indices from 0 on, got {indices}."
            )
        is_chosen = np.zeros(self.count, bool)
        is_chosen[indices] = True
        kept = int(is_chosen.sum())
        # That the filter only passes on what it is given makes it five times as quick.
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

    def batches(self, batch_size, size):
        """All images once and in order, as for evaluation.

        Args:
            batch_size: Int. The last batch may be smaller.
            size: Int. Side of the square images, in pixels; see `fit_square`.

        Returns:
            `tf.data.Dataset` of dicts {"image", "label"}.
        """
        return self._decoded(self.elements, size).batch(batch_size).prefetch(2)

    def shuffled_batches(self, batch_size, size, seed, first_step=0, context=None):
        """Epoch after epoch without end, each in an order given by `seed` and its number.

        Args:
            batch_size: Int, over all replicas. Each epoch leaves out its last images that
                fill no batch.
            size: Int. Side of the square images, in pixels; see `fit_square`.
            seed: Int.
            first_step: Int. With which batch to begin, counted over all epochs.
            context: `tf.distribute.InputContext` or None. With it, what the replicas of one
                worker get: parts of the batches, dealt out to the workers in turn. Images
                of other workers are not read.

        Returns:
            Endless `tf.data.Dataset` of dicts {"image", "label"}, one epoch being
            `count // batch_size` batches.

        Raises:
            ValueError: If there are fewer images than `batch_size`, the replicas do not
                divide it, or `seed` is negative.
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

        def epoch_order(epoch):
            # This graph's own seed: the user's global one must not change the order. It is
            # never 0, which TensorFlow would compare with the symbolic epoch.
            tf.compat.v1.set_random_seed(seed + 1)
            order = self.elements.shuffle(
                self.shuffle_buffer, seed=epoch, reshuffle_each_iteration=False
            )
            return order.take(steps_per_epoch * batch_size)

        elements = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_order)
        elements = elements.skip(done * batch_size)
        if context.num_input_pipelines > 1:
            parts = elements.batch(part)
            elements = parts.shard(context.num_input_pipelines, context.input_pipeline_id).unbatch()
        batches = self._decoded(elements, size).batch(part, drop_remainder=True).prefetch(2)
        # Known to have no end, batches keep their static shape when they are distributed.
        return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    def _decoded(self, elements, size):
        def load(element):
            example = self.decode(element)
            return {**example, "image": fit_square(example["image"], size)}

        elements = self.fetch(elements) if self.fetch else elements
        return elements.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of a run: those to train on, and held-out ones to evaluate with.

    Args:
        name: What it is called in the result.
        train: `Images` to pretrain on.
        test: Held-out labelled `Images`, or None where there are no labels.
        classes: Number of classes, or None without labels.
        skipped: Number of images left out because they cannot be read.
        labelled: `Images` whose labels an evaluation learns from; None for `train`.
        class_names: Strings, one a class; none where classes have numbers only.
    """

    name: str
    train: Images
    test: Images | None = None
    classes: int | None = None
    skipped: int = 0
    labelled: Images | None = None
    class_names: tuple[str, ...] = ()

    def for_evaluation(self):
        """The labelled images to learn from, and the held-out ones."""
        return self.labelled or self.train, self.test

    def for_validation(self):
        """Every tenth labelled image, then left out of training, as the held-out ones.

        To choose settings by, so that the held-out images of before are not seen.

        Raises:
            ValueError: If there are no labels, or fewer than ten images have one.
        """
        labelled, test = self.for_evaluation()
        if test is None:
            raise ValueError(f"{self.name} has no labels to validate with.")
        if labelled.count < VALIDATION_EVERY:
            raise ValueError(f"{labelled.name} holds too few images: {labelled.count}.")
        is_held_out = np.arange(labelled.count) % VALIDATION_EVERY == 0
        held_out, rest = (labelled.chosen(np.flatnonzero(of)) for of in (is_held_out, ~is_held_out))
        changed = "labelled" if self.labelled else "train"
        name = f"{self.name} (validation)"
        return dataclasses.replace(self, name=name, test=held_out, **{changed: rest})


def fit_square(image, size):
    """The central square of an image, resized (bicubic, antialiased) to `size` pixels.

    Args:
        image: uint8 or float tensor [height, width, 3].
        size: Int.

    Returns:
        Tensor [size, size, 3] of the same dtype; an image of that size is left as it is.

    Example:
        >>> fit_square(tf.zeros([5, 9, 3], tf.uint8), 4).shape
        TensorShape([4, 4, 3])
    """

    def resize():
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(image[top : top + side, left : left + side], tf.float32)
        square = tf.image.resize(square, (size, size), "bicubic", antialias=True)
        high = 255.0 if image.dtype == tf.uint8 else 1.0
        square = tf.clip_by_value(square, 0.0, high)
        return tf.cast(tf.round(square) if image.dtype == tf.uint8 else square, image.dtype)

    if image.shape.is_fully_defined():
        return image if image.shape[:2] == (size, size) else resize()
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resize), (size, size, 3))


def image_and_label(image, label):
    """What `Images.decode` returns; a label of None stands for none."""
    return {"image": image} if label is None else {"image": image, "label": label}


def decode_image(encoded):
    """A JPEG, PNG, BMP or GIF (its first frame) as uint8 RGB [height, width, 3]."""
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: decode_jpeg_or_png(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_jpeg_or_png(encoded):
    """A JPEG or PNG as uint8 RGB, its pixels as in other software."""
    # TensorFlow's default method is up to 6 of 255 off.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def problems_message(name, count, problems):
    """What to say of images that cannot be read: how many, and the first ten."""
    listed = "\n  ".join(problems[:10])
    return f"{len(problems)} of {count} {name} cannot be read:\n  {listed}"


def shuffle_buffer(count, size_bytes):
    """How many of `count` elements of `size_bytes` in all to hold at a time."""
    return max(1, min(count, count * SHUFFLE_BYTES // max(size_bytes, 1)))

"""Computes the two views of a batch: in the training step, or ahead of it by `tf.data`."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support.compat import takes_training
from keras_bt._support.variables import restored
from keras_bt.functional.image import as_unit_range
from keras_bt.layers.augment import augment
from keras_bt.model.inputs import (
    as_encoder_input,
    assert_not_empty,
    unpack_images,
    unpack_pair,
    unpack_sizes,
)

PLACEMENTS = ("step", "compiled", "data")
SECONDS_TO_COMPILE = 5.0
SECONDS_SAVED_PER_PIXEL = 5e-8  # of a view; on two cores, for views of 32 to 224 pixels a side

Views = tuple[keras.Layer, keras.Layer]


def better_placement(views: float, pixels: int) -> str:
    """Whether it pays to compile views by XLA.

    Compiling takes seconds once. Compiled views take half the time of TensorFlow's kernels.

    Args:
        views: Number of pairs of views in the whole training.
        pixels: Pixels of a view.

    Returns:
        "compiled" or "step". See `BarlowTwins.compile`.

    Example:
        >>> better_placement(1000 * 50000, 32 * 32), better_placement(60 * 1797, 8 * 8)
        ('compiled', 'step')

    Source: results/views.jsonl.
    """
    pays = views * pixels * SECONDS_SAVED_PER_PIXEL > SECONDS_TO_COMPILE
    return "compiled" if pays else "step"


class ViewSource:
    """Where a model gets the two views of a batch from: the base class of the three below."""

    def two_views(self, data: Any) -> Sequence[tf.Tensor]:
        """View A and view B of a batch, as the encoder takes them."""
        raise NotImplementedError

    def prepare(self, x: Any) -> Any:
        """The data to train on, from the data given to `fit`."""
        return x

    def evaluation(self) -> contextlib.AbstractContextManager:
        """Context of an evaluation, which must not change the views of the training."""
        return contextlib.nullcontext()


class ReadyMadePairs(ViewSource):
    """Batches that hold both views.

    Example:
        >>> view_a, view_b = ReadyMadePairs().two_views(([[-1.0]], [[2.0]]))
        >>> view_b.numpy()
        array([[2.]], dtype=float32)
    """

    def two_views(self, data: Any) -> Sequence[tf.Tensor]:
        view_a, view_b = unpack_pair(data)
        assert_not_empty(view_a)
        return as_encoder_input(view_a), as_encoder_input(view_b)


class ViewsInStep(ViewSource):
    """Views computed as part of the step.

    Args:
        views: The layers of view A and view B.
        jit_compile: Whether XLA compiles the views. The rest of the step is not affected.

    Example:
        >>> flip, same = keras.layers.RandomFlip(), keras.layers.Identity()
        >>> view_a, view_b = ViewsInStep((flip, same)).two_views(tf.zeros([2, 8, 8, 3], tf.uint8))
        >>> view_a.shape, view_b.dtype
        (TensorShape([2, 8, 8, 3]), tf.float32)
    """

    def __init__(self, views: Views, jit_compile: bool = False) -> None:
        self._views = views
        self._augment = tf.function(_augment, jit_compile=True) if jit_compile else _augment

    def two_views(self, data: Any) -> Sequence[tf.Tensor]:
        return self._compute(self._views, data)

    def _compute(self, views: Sequence[keras.Layer], data: Any) -> Sequence[tf.Tensor]:
        """The views of the images in a batch, by the given layers."""
        images = as_unit_range(unpack_images(data))
        assert_not_empty(images)
        with tf.name_scope("views"):  # read by `keras_bt.training.profiling`
            return self._augment(views, images, unpack_sizes(data))


class ViewsAhead(ViewsInStep):
    """Views that `tf.data` computes on the CPU, compiled, during the step before.

    `tf.data` uses copies of the view layers, and their state runs ahead of the training. Each
    batch carries the state that follows it. A step assigns that state to the layers. They draw
    the same numbers as in the step, and a checkpoint counts trained batches only.

    Args:
        views: The layers of view A and view B.

    Example:
        >>> from keras_bt.layers.view_pairs import small_image_views
        >>> views = small_image_views(8, seed=0)
        >>> ahead = ViewsAhead(views)
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([2, 8, 8, 3]))
        >>> batch = next(iter(ahead.prepare(images)))
        >>> int(views[0].seed_and_calls[1]), ahead.two_views(batch)[0].shape
        (0, TensorShape([2, 8, 8, 3]))
        >>> int(views[0].seed_and_calls[1])
        1
    """

    def __init__(self, views: Views) -> None:
        super().__init__(views, jit_compile=True)
        with tf.device("CPU:0"):  # where tf.data computes
            self._copies = [type(view).from_config(view.get_config()) for view in views]

    def prepare(self, x: Any) -> tf.data.Dataset:
        """A dataset of views from a dataset of images, starting at the state of the layers."""
        if not isinstance(x, tf.data.Dataset):
            raise TypeError(
                f"view_placement='data' needs a tf.data.Dataset, got {type(x).__name__}."
            )
        for copied, variable in zip(_variables(self._copies), _variables(self._views), strict=True):
            copied.assign(variable)

        def views_and_state(*batch: Any) -> tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]]:
            view_a, view_b = self._compute(self._copies, batch[0] if len(batch) == 1 else batch)
            return view_a, view_b, tuple(variable.value for variable in _variables(self._copies))

        return x.map(views_and_state).prefetch(1)

    def two_views(self, data: Any) -> Sequence[tf.Tensor]:
        """The views in an element of `prepare`'s dataset, or those of a batch of images."""
        if not (isinstance(data, tuple) and len(data) == 3 and isinstance(data[2], tuple)):
            return super().two_views(data)
        view_a, view_b, state = data
        for variable, value in zip(_variables(self._views), state, strict=True):
            variable.assign(value)
        return view_a, view_b

    def evaluation(self) -> contextlib.AbstractContextManager:
        """Restores the state of the layers, which the copies do not follow."""
        return restored(_variables(self._views))


def place_views(views: Views | None, placement: str) -> ViewSource:
    """The source of views for a placement.

    Args:
        views: The layers of view A and view B; None for ready-made pairs.
        placement: One of `PLACEMENTS`, see `BarlowTwins.compile`.

    Raises:
        ValueError: If the placement is unknown, or needs views or a single device.

    Example:
        >>> place_views(None, "data")
        Traceback (most recent call last):
            ...
        ValueError: view_placement='data' needs views, got views=None.
    """
    if placement not in PLACEMENTS:
        raise ValueError(f"view_placement must be one of {PLACEMENTS}, got {placement!r}.")
    if placement != "step" and tf.distribute.has_strategy():
        raise ValueError(
            f"view_placement={placement!r} does not work inside a strategy's scope; use 'step'."
        )
    if views is not None:
        return ViewsAhead(views) if placement == "data" else ViewsInStep(views, placement != "step")
    if placement != "step":
        raise ValueError(f"view_placement={placement!r} needs views, got views=None.")
    return ReadyMadePairs()


def _augment(
    views: Sequence[keras.Layer], images: tf.Tensor, sizes: tf.Tensor | None
) -> list[tf.Tensor]:
    """Calls each view layer on the images."""
    # keras-cv's layers augment at every call and take no `training`.
    options = [{"training": True} if takes_training(view) else {} for view in views]
    return [
        augment(view, images, sizes, **option) for view, option in zip(views, options, strict=True)
    ]


def _variables(layers: Sequence[keras.Layer]) -> list[keras.Variable]:
    """All variables of the layers."""
    return [variable for layer in layers for variable in layer.variables]

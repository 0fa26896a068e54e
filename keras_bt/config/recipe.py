"""`Recipe`: the settings of a run, and the model, loss and optimizer built from them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from keras_bt.config import rules, short_runs
from keras_bt.config.fields import ENCODERS, Fields
from keras_bt.config.precision import choose_precision
from keras_bt.encoders.projector import projector
from keras_bt.functional.loss import REDUNDANCIES, REDUNDANCY_WEIGHTS
from keras_bt.model.adamw import AdamW
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.micro_batches import check_micro_batches
from keras_bt.model.mixed_samples import MixedSampleBarlowTwins
from keras_bt.model.optimizers import LARS, warmup_cosine

OWN_IMAGES = "images"  # the name of recipes by rules
SHARED_BY_VIEWS = (
    "crop_area",
    "aspect_ratio",
    "flip_rate",
    "jitter_rate",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale_rate",
    "blur_sigma",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Fields):
    """All settings of a pretraining run, except the seed.

    The description of each field states its unit and range. `sources` has the source of each
    value, and `describe` prints them.

    Example:
        >>> recipe = Recipe.for_images(count=5000, image_size=32).override(width=16)
        >>> recipe.build_encoder().output_shape
        (None, 128)
    """

    sources: Mapping[str, str] = dataclasses.field(compare=False, repr=False)

    @classmethod
    def for_images(
        cls,
        count: int,
        image_size: int,
        *,
        batch_size: int | None = None,
        dim: int | None = None,
        epochs: int | None = None,
    ) -> "Recipe":
        """A recipe for your own images, chosen by rules; `describe` gives the reasons.

        Args:
            count: Number of images, at least 2.
            image_size: Side of the encoder's images and of a view, in pixels.
            batch_size: Images per step, over all devices; None for the rule's.
            dim: Width of the embedding; None for the rule's.
            epochs: Passes over the images; None for the rule's.

        Returns:
            `Recipe`.

        Raises:
            ValueError: If an argument is too small.

        Example:
            >>> recipe = Recipe.for_images(count=30_000, image_size=224, batch_size=512)
            >>> recipe.learning_rate, round(recipe.bias_learning_rate_ratio, 3)
            (0.3, 0.024)
        """
        dataset = {"dataset": ("images of your own", "as given")}
        fields = rules.settings_for(count, image_size, batch_size, dim, epochs)
        return cls.from_sourced(OWN_IMAGES, {**dataset, **fields})

    @classmethod
    def from_sourced(cls, name: str, fields: Mapping[str, tuple[Any, str]]) -> "Recipe":
        """Builds a recipe from the values of the fields and their sources.

        Args:
            name: Name of the recipe.
            fields: Maps every other field to (value, source).
        """
        values = {field: value for field, (value, _) in fields.items()}
        sources = {field: source for field, (_, source) in fields.items()}
        return cls(name=name, **values, sources=MappingProxyType(sources))

    def override(self, **fields: Any) -> "Recipe":
        """The same recipe with other values in the given fields.

        Another redundancy brings its own weight, unless that is given too.
        """
        redundancy = fields.get("redundancy", self.redundancy)
        if redundancy != self.redundancy and redundancy in REDUNDANCIES:
            fields = {"redundancy_weight": REDUNDANCY_WEIGHTS[redundancy], **fields}
        given = {**self.sources, **dict.fromkeys(fields, "as given")}
        return dataclasses.replace(self, **{"sources": given, **fields})

    def fitted(
        self,
        count: int,
        minutes: float | None = None,
        images_per_second: float | None = None,
        **given: Any,
    ) -> "Recipe":
        """This recipe with the settings that learn most in the time there is.

        A long run keeps its settings. A short one gets another network, batch, loss and
        optimizer; views and sizes stay, but views may be smaller than images.

        Args:
            count: Number of images, at least 2.
            minutes: Time of the training; None trains for the epochs of the recipe.
            images_per_second: Speed of conv4 of width 32, for minutes;
                `config.speed.measure_speed` measures it.
            **given: Fields with values of your own; the others fit around them.

        Raises:
            ValueError: If minutes have no speed.

        Example:
            >>> photos = Recipe.for_images(count=3000, image_size=64)
            >>> photos.fitted(count=3000, minutes=8, images_per_second=500).encoder
            'conv4'
            >>> photos.fitted(count=3000, minutes=60, images_per_second=1e6).encoder
            'resnet18'
        """
        recipe = self.override(**given)
        passes = float(recipe.epochs * count)
        if minutes is not None:
            if images_per_second is None:
                raise ValueError(f"minutes={minutes:g} need images_per_second, the speed.")
            passes = 60 * minutes * images_per_second
        if short_runs.published_settings_fit(passes):
            return recipe
        fields = short_runs.settings_for(count, recipe.image_size, passes, given)
        if minutes is None:
            # The same flags and seed make the same run, so nothing may be measured.
            fields.pop("precision", None)
        if self.name == OWN_IMAGES:  # the views of a recipe with a name suit its images
            views = rules.views_for(small=True)
            fields |= {name: value for name, value in views.items() if name not in given}
        return recipe.with_sourced(fields)

    def with_sourced(self, fields: Mapping[str, tuple[Any, str]]) -> "Recipe":
        """The same recipe with other values in some fields, each with its source.

        Args:
            fields: From each field to (value, source).

        Example:
            >>> recipe = Recipe.for_images(count=5000, image_size=32)
            >>> recipe.with_sourced({"epochs": (7, "enough")}).sources["epochs"]
            'enough'
        """
        values = {field: value for field, (value, _) in fields.items()}
        sources = {field: source for field, (_, source) in fields.items()}
        return dataclasses.replace(self, **values, sources={**self.sources, **sources})

    def describe(self) -> str:
        """All fields as text, each with its value and the source of that value.

        Example:
            >>> print(Recipe.for_images(count=5000, image_size=32).describe())
            images
              dataset                   images of your own  as given
              epochs                    1000                1,000 epochs as on CIFAR-10 ...
        """
        values = {
            name: ",".join(map(_short, value)) if isinstance(value, tuple) else _short(value)
            for name, value in self.settings().items()
            if name != "name"
        }
        widest = [max(map(len, column)) for column in (values, values.values())]
        lines = [
            f"  {name:{widest[0]}}  {value:{widest[1]}}  {self.sources[name]}"
            for name, value in values.items()
        ]
        return "\n".join([self.name, *lines])

    def without_effect(self, field: str) -> str | None:
        """The reason why a field changes nothing in this recipe; None if it changes something."""
        if field in ("bias_learning_rate_ratio", "trust_coefficient") and self.optimizer != "lars":
            return f"optimizer {self.optimizer} does not use it"
        if field in ("brightness", "contrast", "saturation", "hue") and self.jitter_rate == 0:
            return "jitter_rate is 0"
        if field == "blur_sigma" and not any(self.blur_rates):
            return "blur_rates are 0"
        return None

    def settings(self) -> dict[str, Any]:
        """All fields except the sources, as plain values that JSON can hold."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "sources"]
        return {name: getattr(self, name) for name in names}

    def resolve_precision(self) -> "Recipe":
        """This recipe, with a precision of the current strategy's devices in place of "auto".

        `build_model` does the same. Call it before you store `settings`. With several workers,
        each of them must call it.

        Example:
            >>> recipe = Recipe.for_images(count=5000, image_size=32).override(precision="auto")
            >>> recipe.resolve_precision().precision in ("float32", "mixed_bfloat16")
            True
        """
        if self.precision != "auto":
            return self
        side = self.side_of_views if self.stem == "small" else -(-self.side_of_views // 4)
        parts = tf.distribute.get_strategy().num_replicas_in_sync * self.micro_batches
        chosen, reason = choose_precision(self.width, side, max(1, self.batch_size // parts))
        return self.with_sourced({"precision": (chosen, reason)})

    def build_encoder(self) -> keras.Model:
        """The untrained encoder; it takes images of any size if views have another size."""
        side = self.image_size if self.side_of_views == self.image_size else None
        build = ENCODERS[self.encoder]
        return build((side, side, 3), width=self.width, stem=self.stem)

    def build_views(self, seed: int) -> tuple[keras.Layer, keras.Layer]:
        """(view_a, view_b), whose random draws follow from `seed`."""
        from keras_bt.layers.view_pairs import two_views  # imports keras_cv, which takes seconds

        blur_a, blur_b = self.blur_rates
        solarize_a, solarize_b = self.solarize_rates
        return two_views(
            self.side_of_views,
            {"blur_rate": blur_a, "solarize_rate": solarize_a},
            {"blur_rate": blur_b, "solarize_rate": solarize_b},
            seed=seed,
            **{field: getattr(self, field) for field in SHARED_BY_VIEWS},
        )

    def build_model(self, seed: int) -> BarlowTwins:
        """The model of this recipe, not compiled, for the strategy whose scope is entered."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        check_micro_batches(self.batch_size // replicas, self.micro_batches)
        with self._precision():
            parts = *self.build_networks(), self.build_views(seed)
            if self.mixed_sample_weight:
                return MixedSampleBarlowTwins(
                    *parts, self.mixed_sample_weight, micro_batches=self.micro_batches
                )
            return BarlowTwins(*parts, self.micro_batches)

    def build_networks(self) -> tuple[keras.Model, keras.Model]:
        """(encoder, projector), in the precision of this recipe."""
        with self._precision():
            encoder = self.build_encoder()
            return encoder, projector(encoder.output_shape[-1], self.projector_dims)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        """Layers that are built inside compute in the precision of this recipe."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.resolve_precision().precision)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def build_loss(self) -> BarlowTwinsLoss:
        """The loss of this recipe."""
        return BarlowTwinsLoss(
            redundancy_weight=self.redundancy_weight,
            redundancy_target=self.redundancy_target,
            redundancy=self.redundancy,
        )

    @property
    def peak_rate(self) -> float:
        """Highest learning rate, for this batch."""
        return self.learning_rate * self.batch_size / 256

    def warmup_steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """Steps in which the learning rate rises, at most a quarter of all."""
        return min(round(self.warmup_epochs * steps_per_epoch), total_steps // 4)

    def build_optimizer(
        self, steps_per_epoch: int, total_steps: int, scheduled: bool = True
    ) -> keras.Optimizer:
        """The optimizer, its learning rate scheduled over `total_steps`.

        Args:
            steps_per_epoch: Steps of one pass over the images.
            total_steps: Steps of the whole training.
            scheduled: False for the highest rate all the time: a callback can set another.
        """
        warmup_steps = self.warmup_steps(steps_per_epoch, total_steps)
        rate = (
            warmup_cosine(self.peak_rate, warmup_steps, total_steps)
            if scheduled
            else self.peak_rate
        )
        if self.optimizer == "adamw":
            return AdamW(rate, weight_decay=self.weight_decay)
        return LARS(
            rate,
            weight_decay=self.weight_decay,
            trust_coefficient=self.trust_coefficient,
            bias_learning_rate_ratio=self.bias_learning_rate_ratio,
        )


def _short(value: Any) -> str:
    """A value as `describe` prints it."""
    return f"{value:g}" if isinstance(value, float) else str(value)

"""The settings of a whole run, and what is built from them."""

import dataclasses
from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_bt.config import rules
from keras_bt.encoders import resnet
from keras_bt.encoders.projector import projector
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.micro_batches import check_micro_batches
from keras_bt.model.optimizers import LARS, warmup_cosine

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LATER_FIELDS = {
    "micro_batches": 1,
    "precision": "float32",
    "view_size": None,
    "redundancy_target": 0.0,
    "mixed_sample_weight": 0.0,
}
ENCODERS = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
}
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
class Recipe:
    """Everything that decides a pretraining run, but for the seed.

    Args:
        name: Name of the recipe.
        dataset: "digits" or a TensorFlow Datasets name.
        epochs: Passes over the images.
        batch_size: Images a step, over all devices.
        micro_batches: In how many parts the networks take them, to save memory; see `BarlowTwins`.
        precision: "float32", "mixed_bfloat16" or "mixed_float16": what the networks compute in.
            Weights, loss and views stay in float32.
        image_size: Side of the encoder's images, in pixels.
        view_size: Side of a view, in pixels; None for `image_size`. Smaller views train faster, and
            the encoder, of images of any size then, still gets those of `image_size` afterwards.
        load_size: Side to which images are brought before they are viewed, in pixels.
        encoder: "resnet18", "resnet34", "resnet50" or "resnet101".
        width: Channels of the encoder's first stage.
        stem: "imagenet" or "small".
        projector_dims: Width of each projector layer.
        redundancy_weight: The paper's lambda.
        redundancy_target: Of C's off-diagonal; see `BarlowTwinsLoss`.
        mixed_sample_weight: See `BarlowTwins`.
        optimizer: "lars" or "adamw".
        learning_rate: Peak for a batch of 256; in proportion to the batch.
        bias_learning_rate_ratio: Of LARS: rate of biases and batch norm over that of weights.
        trust_coefficient: Of LARS.
        weight_decay: Of the optimizer.
        warmup_epochs: Over which the rate rises from 0, before its cosine to a thousandth.
        crop_area, aspect_ratio, flip_rate, jitter_rate, brightness, contrast, saturation,
            hue, grayscale_rate, blur_sigma: Of both views, see `BarlowTwinsView`.
        blur_rates: Probability of a blur, of view A and of view B.
        solarize_rates: Probability of solarizing, of view A and of view B.
        sources: Where the values come from, by field.

    Example:
        >>> recipe = Recipe.for_images(count=5000, image_size=32).override(width=16)
        >>> recipe.build_encoder().output_shape
        (None, 128)
    """

    name: str
    dataset: str
    epochs: int
    batch_size: int
    micro_batches: int
    precision: str
    image_size: int
    view_size: int | None
    load_size: int
    encoder: str
    width: int
    stem: str
    projector_dims: tuple[int, ...]
    redundancy_weight: float
    redundancy_target: float
    mixed_sample_weight: float
    optimizer: str
    learning_rate: float
    bias_learning_rate_ratio: float
    trust_coefficient: float
    weight_decay: float
    warmup_epochs: float
    crop_area: tuple[float, float]
    aspect_ratio: tuple[float, float]
    flip_rate: float
    jitter_rate: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grayscale_rate: float
    blur_rates: tuple[float, float]
    blur_sigma: tuple[float, float]
    solarize_rates: tuple[float, float]
    sources: Mapping[str, str] = dataclasses.field(compare=False, repr=False)

    def __post_init__(self):
        for field, allowed in (
            ("encoder", ENCODERS),
            ("optimizer", ("lars", "adamw")),
            ("precision", PRECISIONS),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"{field} must be one of {sorted(allowed)}, got {getattr(self, field)!r}."
                )
        leasts = {"epochs": 1, "batch_size": 2, "micro_batches": 1, "image_size": 1, "load_size": 1}
        for field, least in leasts.items():
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be at least {least}, got {getattr(self, field)}.")
        if self.view_size is not None and self.view_size < 1:
            raise ValueError(f"view_size must be at least 1, got {self.view_size}.")
        if not self.projector_dims:
            raise ValueError("projector_dims must hold one width a layer, got none.")
        for field in ("crop_area", "aspect_ratio", "blur_rates", "blur_sigma", "solarize_rates"):
            if len(getattr(self, field)) != 2:
                raise ValueError(f"{field} must be two numbers, got {getattr(self, field)}.")

    @classmethod
    def for_images(cls, count, image_size, *, batch_size=None, dim=None, epochs=None):
        """The recipe for images of one's own, by rules; `describe` says why each value.

        Args:
            count: Int, at least 2. How many images there are.
            image_size: Int. Side of the encoder's images and of a view, in pixels.
            batch_size: Int or None. Images a step, over all devices; None takes the rule's.
            dim: Int or None. Width of the embedding; None takes the rule's.
            epochs: Int or None. Passes over the images; None takes the rule's.

        Returns:
            `Recipe`.

        Raises:
            ValueError: If an argument is too small.

        Example:
            >>> recipe = Recipe.for_images(count=30_000, image_size=224, batch_size=512)
            >>> recipe.learning_rate, round(recipe.bias_learning_rate_ratio, 3)
            (0.3, 0.024)
        """
        fields = rules.settings_for(count, image_size, batch_size, dim, epochs)
        return cls(
            name="images",
            dataset="images of your own",
            **{field: value for field, (value, _) in fields.items()},
            sources={"dataset": "as given", **{field: why for field, (_, why) in fields.items()}},
        )

    def override(self, **fields):
        """The same recipe with other values in the fields given."""
        given = {**self.sources, **dict.fromkeys(fields, "as given")}
        return dataclasses.replace(self, **{"sources": given, **fields})

    def describe(self):
        """A text of all fields, their values and where those come from.

        Example:
            >>> print(Recipe.for_images(count=5000, image_size=32).describe())
            images
              dataset                   images of your own  as given
              epochs                    1000                from 200,000 images on 300, ...
        """
        values = {
            name: ",".join(map(_short, value)) if isinstance(value, tuple) else _short(value)
            for name, value in self._fields().items()
            if name != "name"
        }
        widest = [max(map(len, column)) for column in (values, values.values())]
        lines = [
            f"  {name:{widest[0]}}  {value:{widest[1]}}  {self.sources[name]}"
            for name, value in values.items()
        ]
        return "\n".join([self.name, *lines])

    def without_effect(self, field):
        """Why a field's value changes nothing in this recipe; None if it does."""
        if field in ("bias_learning_rate_ratio", "trust_coefficient") and self.optimizer != "lars":
            return f"optimizer is {self.optimizer}, which has none"
        if field in ("brightness", "contrast", "saturation", "hue") and self.jitter_rate == 0:
            return "jitter_rate is 0"
        if field == "blur_sigma" and not any(self.blur_rates):
            return "blur_rates are 0"
        return None

    def settings(self):
        """All fields but the sources, as plain values that JSON can hold."""
        settings = self._fields()
        for field, default in LATER_FIELDS.items():
            if settings[field] == default:
                del settings[field]  # as in runs from before it was one, which then go on
        return settings

    def _fields(self):
        names = [field.name for field in dataclasses.fields(self) if field.name != "sources"]
        return {name: getattr(self, name) for name in names}

    @property
    def side_of_views(self):
        """Side of a view, in pixels."""
        return self.view_size or self.image_size

    def build_encoder(self):
        """The untrained encoder, for square images of `image_size`; of any, if views differ."""
        side = self.image_size if self.side_of_views == self.image_size else None
        build = ENCODERS[self.encoder]
        return build((side, side, 3), width=self.width, stem=self.stem)

    def build_views(self, seed):
        """(view_a, view_b), drawing by `seed`."""
        from keras_bt.layers.views import two_views  # imports keras_cv, which takes long

        blur_a, blur_b = self.blur_rates
        solarize_a, solarize_b = self.solarize_rates
        return two_views(
            self.side_of_views,
            {"blur_rate": blur_a, "solarize_rate": solarize_a},
            {"blur_rate": blur_b, "solarize_rate": solarize_b},
            seed=seed,
            **{field: getattr(self, field) for field in SHARED_BY_VIEWS},
        )

    def build_model(self, seed):
        """`BarlowTwins` of this recipe, not yet compiled, for the strategy in whose scope it is."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        check_micro_batches(self.batch_size // replicas, self.micro_batches)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            encoder = self.build_encoder()
            head = projector(encoder.output_shape[-1], self.projector_dims)
            views = self.build_views(seed)
            return BarlowTwins(encoder, head, views, self.micro_batches, self.mixed_sample_weight)
        finally:
            keras.config.set_dtype_policy(before)

    def build_loss(self):
        """`BarlowTwinsLoss` of this recipe."""
        return BarlowTwinsLoss(
            redundancy_weight=self.redundancy_weight, redundancy_target=self.redundancy_target
        )

    def build_optimizer(self, steps_per_epoch, total_steps):
        """The optimizer with its schedule over `total_steps`."""
        peak = self.learning_rate * self.batch_size / 256
        # A run shorter than the warm-up still has to come down again.
        warmup_steps = min(round(self.warmup_epochs * steps_per_epoch), total_steps // 4)
        schedule = warmup_cosine(peak, warmup_steps, total_steps)
        if self.optimizer == "adamw":
            return keras.optimizers.AdamW(schedule, weight_decay=self.weight_decay)
        return LARS(
            schedule,
            weight_decay=self.weight_decay,
            trust_coefficient=self.trust_coefficient,
            bias_learning_rate_ratio=self.bias_learning_rate_ratio,
        )


def _short(value):
    return f"{value:g}" if isinstance(value, float) else str(value)

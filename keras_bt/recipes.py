"""Named settings of whole runs, and what is built from them."""

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType

import keras
import tensorflow as tf

from keras_bt import networks
from keras_bt.losses import BarlowTwinsLoss
from keras_bt.micro_batches import check_micro_batches
from keras_bt.model import BarlowTwins
from keras_bt.optimizers import LARS, warmup_cosine

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
ENCODERS = {
    "resnet18": networks.resnet18,
    "resnet34": networks.resnet34,
    "resnet50": networks.resnet50,
    "resnet101": networks.resnet101,
}
_SHARED_BY_VIEWS = (
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
        image_size: Side of a view and of the encoder's images, in pixels.
        load_size: Side to which images are brought before they are viewed, in pixels.
        encoder: "resnet18", "resnet34", "resnet50" or "resnet101".
        width: Channels of the encoder's first stage.
        stem: "imagenet" or "small".
        projector_dims: Width of each projector layer.
        redundancy_weight: The paper's lambda.
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
        >>> recipe = recipes["cifar10"].override(width=16)
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
    load_size: int
    encoder: str
    width: int
    stem: str
    projector_dims: tuple[int, ...]
    redundancy_weight: float
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
        for field in ("crop_area", "aspect_ratio", "blur_rates", "blur_sigma", "solarize_rates"):
            if len(getattr(self, field)) != 2:
                raise ValueError(f"{field} must be two numbers, got {getattr(self, field)}.")

    def override(self, **fields):
        """The same recipe with other values in the fields given."""
        return dataclasses.replace(self, **fields)

    def settings(self):
        """All fields but the sources, as plain values that JSON can hold."""
        settings = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "sources"
        }
        for field, default in (("micro_batches", 1), ("precision", "float32")):
            if settings[field] == default:
                del settings[field]  # as in runs from before it was one, which then go on
        return settings

    def build_encoder(self):
        """The untrained encoder, for square images of `image_size`."""
        build = ENCODERS[self.encoder]
        return build((self.image_size, self.image_size, 3), width=self.width, stem=self.stem)

    def build_views(self, seed):
        """(view_a, view_b), drawing by `seed`."""
        from keras_bt.views import two_views  # imports keras_cv, which takes long

        blur_a, blur_b = self.blur_rates
        solarize_a, solarize_b = self.solarize_rates
        return two_views(
            self.image_size,
            {"blur_rate": blur_a, "solarize_rate": solarize_a},
            {"blur_rate": blur_b, "solarize_rate": solarize_b},
            seed=seed,
            **{field: getattr(self, field) for field in _SHARED_BY_VIEWS},
        )

    def build_model(self, seed):
        """`BarlowTwins` of this recipe, not yet compiled, for the strategy in whose scope it is."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        check_micro_batches(self.batch_size // replicas, self.micro_batches)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            encoder = self.build_encoder()
            head = networks.projector(encoder.output_shape[-1], self.projector_dims)
            return BarlowTwins(encoder, head, self.build_views(seed), self.micro_batches)
        finally:
            keras.config.set_dtype_policy(before)

    def build_loss(self):
        """`BarlowTwinsLoss` of this recipe."""
        return BarlowTwinsLoss(redundancy_weight=self.redundancy_weight)

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


def find_recipe(name):
    """The recipe of that name.

    Args:
        name: A key of `recipes`.

    Returns:
        `Recipe`.

    Raises:
        ValueError: If there is none, naming the nearest.

    Example:
        >>> find_recipe("cifar")
        Traceback (most recent call last):
            ...
        ValueError: There is no recipe 'cifar'; did you mean 'cifar10'? There are cifar10, ...
    """
    if name in recipes:
        return recipes[name]
    nearest = difflib.get_close_matches(name, recipes, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"There is no recipe {name!r}{hint} There are {', '.join(sorted(recipes))}.")


_OFFICIAL = "facebookresearch/barlowtwins main.py@8e8d284"
_TORCHVISION = "torchvision RandomResizedCrop's default, used by " + _OFFICIAL
_PAPER_RUN = {
    **dict.fromkeys(
        (*_SHARED_BY_VIEWS, "blur_rates", "solarize_rates"), _OFFICIAL + ", class Transform"
    ),
    "dataset": "arXiv 2103.03230, section 3",
    "epochs": _OFFICIAL + ", --epochs",
    "batch_size": _OFFICIAL + ", --batch-size",
    "micro_batches": "the source takes a replica's batch at once",
    "precision": "ours: the source has float16 with loss scaling, for GPUs",
    "image_size": _OFFICIAL + ", class Transform",
    "load_size": "ours: the source crops from the whole photo, whatever its size",
    "encoder": _OFFICIAL + ", resnet50(zero_init_residual=True)",
    "width": "torchvision's resnet50",
    "stem": "torchvision's resnet50",
    "projector_dims": _OFFICIAL + ", --projector",
    "redundancy_weight": _OFFICIAL + ", --lambd (the paper's text says 0.005)",
    "optimizer": _OFFICIAL + ", class LARS",
    "learning_rate": _OFFICIAL + ", --learning-rate-weights",
    "bias_learning_rate_ratio": _OFFICIAL
    + ", --learning-rate-biases 0.0048 / --learning-rate-weights 0.2",
    "trust_coefficient": _OFFICIAL + ", LARS eta",
    "weight_decay": _OFFICIAL + ", --weight-decay (the paper's text says 1.5e-6)",
    "warmup_epochs": _OFFICIAL + ", adjust_learning_rate",
    "crop_area": _TORCHVISION,
    "aspect_ratio": _TORCHVISION,
}

_IMAGENET = Recipe(
    name="imagenet",
    dataset="imagenet2012",
    epochs=1000,
    batch_size=2048,
    micro_batches=1,
    precision="float32",
    image_size=224,
    load_size=320,
    encoder="resnet50",
    width=64,
    stem="imagenet",
    projector_dims=(8192, 8192, 8192),
    redundancy_weight=0.0051,
    optimizer="lars",
    learning_rate=0.2,
    bias_learning_rate_ratio=0.024,
    trust_coefficient=1e-3,
    weight_decay=1e-6,
    warmup_epochs=10.0,
    crop_area=(0.08, 1.0),
    aspect_ratio=(3 / 4, 4 / 3),
    flip_rate=0.5,
    jitter_rate=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    grayscale_rate=0.2,
    blur_rates=(1.0, 0.1),
    blur_sigma=(0.1, 2.0),
    solarize_rates=(0.0, 0.2),
    sources=MappingProxyType(_PAPER_RUN),
)

_SOLO = "vturrisi/solo-learn scripts/pretrain/cifar/barlow.yaml@9187ea3"
_CIFAR10 = _IMAGENET.override(
    name="cifar10",
    dataset="cifar10",
    batch_size=256,
    image_size=32,
    load_size=32,
    encoder="resnet18",
    stem="small",
    projector_dims=(512, 512),
    optimizer="adamw",
    learning_rate=4e-3,
    weight_decay=1e-4,
    crop_area=(0.2, 1.0),
    blur_rates=(0.0, 0.0),
    sources=MappingProxyType(
        {
            **_PAPER_RUN,
            **dict.fromkeys(
                ("dataset", "epochs", "batch_size", "image_size", "load_size", "encoder", "stem")
                + ("blur_rates", "weight_decay"),
                _SOLO,
            ),
            **dict.fromkeys(
                ("optimizer", "learning_rate", "projector_dims", "crop_area"),
                "ours, for short runs: of a few tried at width 16 on a split of the training "
                "images; k-NN after one epoch 0.368, with projector 2048-2048-2048 0.344",
            ),
        }
    ),
)

_FASHION_MNIST = _CIFAR10.override(
    name="fashion_mnist",
    dataset="fashion_mnist",
    batch_size=128,
    image_size=28,
    load_size=28,
    learning_rate=2e-3,
    crop_area=(0.5, 1.0),
    flip_rate=0.0,
    saturation=0.0,
    hue=0.0,
    grayscale_rate=0.0,
    solarize_rates=(0.0, 0.0),
    sources=MappingProxyType(
        {
            **_CIFAR10.sources,
            **dict.fromkeys(("saturation", "hue", "grayscale_rate"), "the images are gray"),
            **dict.fromkeys(
                ("dataset", "image_size", "load_size", "solarize_rates"),
                "ours: clothes on black, never inverted",
            ),
            **dict.fromkeys(
                ("batch_size", "learning_rate", "crop_area", "flip_rate"),
                "ours, for short runs: of three tried at width 16 on a split of the training "
                "images; k-NN after one epoch 0.753, with cifar10's 0.723",
            ),
        }
    ),
)

_TRIED = "ours: the best of a few tried in two minutes on two CPU cores"
_DIGITS = _FASHION_MNIST.override(
    name="digits",
    dataset="digits",
    epochs=200,
    image_size=8,
    load_size=8,
    width=16,
    projector_dims=(256, 256),
    learning_rate=4e-3,
    blur_rates=(0.2, 0.2),
    sources=MappingProxyType(
        {
            **_FASHION_MNIST.sources,
            **dict.fromkeys(
                ("dataset", "epochs", "batch_size", "image_size", "load_size", "width")
                + ("projector_dims", "learning_rate", "crop_area", "blur_rates"),
                _TRIED,
            ),
            "flip_rate": "ours: a mirrored digit is another sign",
        }
    ),
)

recipes = MappingProxyType(
    {recipe.name: recipe for recipe in (_DIGITS, _FASHION_MNIST, _CIFAR10, _IMAGENET)}
)

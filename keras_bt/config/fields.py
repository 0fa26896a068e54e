"""The fields of a recipe: the settings of a run, each with its description."""

import dataclasses
from typing import Any

from keras_bt.encoders import resnet
from keras_bt.encoders.conv4 import conv4
from keras_bt.functional.framing import FRAMINGS
from keras_bt.functional.loss import REDUNDANCIES, check_redundancy

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
ENCODERS = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
    "conv4": conv4,
}


def _field(description: str) -> Any:
    """A field of `Recipe`; the command line shows its description as help."""
    return dataclasses.field(metadata={"description": description})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of `Recipe`, and what is wrong with their values.

    The description of a field is the help of its flag. It states unit and range.

    Raises:
        ValueError: If a value is out of range.
    """

    name: str = _field("Name of the recipe.")
    dataset: str = _field("digits, or a TensorFlow Datasets name.")
    epochs: int = _field("Passes over the images.")
    batch_size: int = _field("Images per step, over all devices.")
    micro_batches: int = _field(
        "Number of parts in which a batch passes through the networks, to save memory. The loss "
        "and its gradient are those of the whole batch."
    )
    precision: str = _field(
        "float32, mixed_bfloat16, mixed_float16 or auto: precision of the networks. Weights, loss "
        "and views stay in float32. auto: mixed_bfloat16 where the devices compute faster in it, "
        "else float32; some CPUs are measured for about two seconds."
    )
    image_size: int = _field(
        "Side of the encoder's images, in pixels. Of your own images by default their short side, "
        "at most 64, or 224 on an accelerator."
    )
    view_size: int | None = _field(
        "Side of a view, in pixels; image_size by default. Smaller views train faster. The "
        "encoder then takes images of any size, and is evaluated at image_size."
    )
    load_size: int = _field("Side to which images are resized before views are cut from them.")
    framing: str = _field(
        "How images that are no squares are used. whole: views are cut from the whole image, as "
        "published; evaluations take its central square. square: everything takes the central "
        "square. pad: the whole image with gray bars, for objects of which nothing may be lost. "
        "stretch: the whole image, squashed to a square."
    )
    encoder: str = _field(
        "resnet18, resnet34, resnet50, resnet101, or conv4: four convolutions, for short runs on "
        "few processor cores."
    )
    width: int = _field("Channels of the encoder's first stage.")
    stem: str = _field(
        "First layers of the encoder. imagenet: 7x7 with stride 2 and max pooling. small: 3x3 "
        "with stride 1 and no pooling."
    )
    projector_dims: tuple[int, ...] = _field("Width of each layer of the projector.")
    redundancy: str = _field(
        "squares or log_determinant. squares: sum of the squared correlations of different "
        "dimensions, as in the paper. log_determinant: minus that of the correlation matrix, which "
        "learns faster at first."
    )
    redundancy_weight: float = _field(
        "Weight of the redundancy term, the paper's lambda. A log_determinant has 1 unless it is "
        "given."
    )
    redundancy_target: float = _field(
        "Target correlation of different dimensions, in [-1, 1]: 0 in the paper, -1 in the "
        "HSIC form."
    )
    mixed_sample_weight: float = _field(
        "Weight of the penalty on mixed samples, times redundancy_weight; 0 turns it off."
    )
    optimizer: str = _field("lars or adamw.")
    learning_rate: float = _field(
        "Peak learning rate for a batch of 256; scaled in proportion to the batch."
    )
    bias_learning_rate_ratio: float = _field(
        "LARS only: learning rate of biases and batch norm, divided by that of weights."
    )
    trust_coefficient: float = _field(
        "LARS only: length of a step, divided by the norm of the weight."
    )
    weight_decay: float = _field("Weight decay of the optimizer.")
    warmup_epochs: float = _field(
        "Epochs in which the learning rate rises from 0. A cosine then lowers it to a thousandth."
    )
    crop_area: tuple[float, float] = _field(
        "Lowest and highest share of the image's area that a crop keeps, in (0, 1]."
    )
    aspect_ratio: tuple[float, float] = _field(
        "Lowest and highest ratio of width to height of a crop."
    )
    flip_rate: float = _field("Probability of mirroring a view left to right.")
    jitter_rate: float = _field("Probability of the four color changes below.")
    brightness: float = _field("Largest relative change of brightness.")
    contrast: float = _field("Largest relative change of contrast.")
    saturation: float = _field("Largest relative change of saturation.")
    hue: float = _field("Largest rotation of the hue, in turns, in [0, 0.5].")
    grayscale_rate: float = _field("Probability of removing color.")
    blur_rates: tuple[float, float] = _field("Probability of a blur, of view A and of view B.")
    blur_sigma: tuple[float, float] = _field("Lowest and highest sigma of a blur, in pixels.")
    solarize_rates: tuple[float, float] = _field(
        "Probability of inverting bright pixels, of view A and of view B."
    )

    def __post_init__(self) -> None:
        for field, allowed in (
            ("encoder", ENCODERS),
            ("optimizer", ("lars", "adamw")),
            ("precision", PRECISIONS),
            ("framing", FRAMINGS),
            ("redundancy", REDUNDANCIES),
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
        check_redundancy(self.redundancy, "auto", self.redundancy_target)
        if not self.projector_dims:
            raise ValueError("projector_dims must hold one width per layer, got none.")
        for field in ("crop_area", "aspect_ratio", "blur_rates", "blur_sigma", "solarize_rates"):
            if len(getattr(self, field)) != 2:
                raise ValueError(f"{field} must be two numbers, got {getattr(self, field)}.")

    @property
    def side_of_views(self) -> int:
        """Side of a view, in pixels."""
        return self.view_size or self.image_size

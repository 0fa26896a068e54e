"""Rules that choose the settings for your own images, each with its reason in words."""

import math
from typing import Any

SMALL_SIDE = 64  # images of up to this side, in pixels, count as small
LARGEST_SIDE = 224  # the published one
RESNET50_FROM_IMAGES = 200_000
LARS_RATES = {64: 1.0, 128: 0.7, 256: 0.4, 512: 0.3, 1024: 0.25, 2048: 0.2, 4096: 0.2}


def base_learning_rate(batch_size: int) -> float:
    """The learning rate of LARS for a batch of 256, best for training with another batch size.

        between the measured batch sizes: interpolated over log2(batch_size)

    The peak of the schedule is this rate times batch_size / 256.

    Args:
        batch_size: Images per step, over all devices, at least 2.

    Returns:
        The rate; below 64 and above 4096 that of the nearest.

    Example:
        >>> base_learning_rate(256), base_learning_rate(8192)
        (0.4, 0.2)

    Source: facebookresearch/barlowtwins issue 7, the data of the paper's figure 2; 64 is an
        author's guess there.
    """
    octave = min(max(math.log2(batch_size), 6.0), 12.0)
    below = min(int(octave), 11)
    share = octave - below
    return (1 - share) * LARS_RATES[2**below] + share * LARS_RATES[2 ** (below + 1)]


def bias_ratio(dim: int) -> float:
    """The rate of biases and batch norm over the rate of weights, for LARS.

        ratio = min(1, 196 / dim)

    The loss grows with `dim`. LARS makes the step of weights independent of this scale, but not
    the step of biases and batch norm. The gradient of the source is 1 / GPUs of the true
    gradient, which is used here. On its 16 to 32 GPUs biases move less by that factor.

    Args:
        dim: Width of the embedding, at least 1.

    Returns:
        Ratio in (0, 1].

    Example:
        >>> round(bias_ratio(8192), 3)
        0.024

    Source: facebookresearch/barlowtwins issue 9; 0.0048 / 0.2 at 8,192 dimensions.
    """
    return min(1.0, 196 / dim)


def redundancy_weight(dim: int) -> float:
    """The paper's lambda for a width of the embedding.

        max(0.0051, 1 / dim)

    Each dimension has one diagonal entry of C and dim - 1 others. Below 196 dimensions the
    published value would give the others hardly any weight.

    Args:
        dim: Width of the embedding, at least 1.

    Example:
        >>> redundancy_weight(8192), redundancy_weight(128)
        (0.0051, 0.0078125)

    Source: arXiv 2103.03230, figure 4, has one value for all widths; yaohungt/Barlow-Twins-HSIC
        has 1 / 128 at 128 dimensions.
    """
    return max(0.0051, 1 / dim)


def load_size(image_size: int) -> int:
    """The side to which images are resized before views are cut from them.

        image_size up to 64 pixels, then 10 / 7 of it

    Small images stay as they are. Crops of larger ones stay sharp when resized to `image_size`.

    Args:
        image_size: Side of the encoder's images, in pixels.

    Returns:
        Side in pixels.

    Example:
        >>> load_size(32), load_size(224)
        (32, 320)
    """
    return image_size if image_size <= SMALL_SIDE else image_size * 10 // 7


def image_size_for(short_side: int, accelerated: bool, largest_load_size: int | None = None) -> int:
    """The side of the encoder's images, for images of a size.

        the images' own short side, at most 64 pixels, or 224 on an accelerator

    Args:
        short_side: Of the images, in pixels.
        accelerated: Whether the devices are GPUs or TPUs.
        largest_load_size: The side at which the images can be loaded; None for any. The result
            is small enough.

    Example:
        >>> image_size_for(1200, accelerated=False), image_size_for(28, accelerated=True)
        (64, 28)
        >>> image_size_for(137, accelerated=True, largest_load_size=137)
        96
    """
    side = min(short_side, LARGEST_SIDE if accelerated else SMALL_SIDE)
    while largest_load_size is not None and side > 1 and load_size(side) > largest_load_size:
        side -= 1
    return side


def settings_for(
    count: int,
    image_size: int,
    batch_size: int | None = None,
    dim: int | None = None,
    epochs: int | None = None,
) -> dict[str, tuple[Any, str]]:
    """Every field of a `Recipe` for your own images, except name and data set.

    Args:
        count: Number of images, at least 2.
        image_size: Side of a view, in pixels.
        batch_size: Images per step, over all devices; None for the rule's.
        dim: Width of the embedding; None for the rule's.
        epochs: Passes over the images; None for the rule's.

    Returns:
        From each field to (value, reason).

    Raises:
        ValueError: If an argument is too small.

    Example:
        >>> fields = settings_for(count=5000, image_size=96)
        >>> fields["batch_size"]
        (256, 'fits on one device for images of this kind, with at least 8 steps per epoch')
    """
    for name, value, least in (
        ("count", count, 2),
        ("image_size", image_size, 1),
        ("batch_size", batch_size, 2),
        ("dim", dim, 1),
        ("epochs", epochs, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    small, many = image_size <= SMALL_SIDE, count >= RESNET50_FROM_IMAGES
    fields = {
        **_training(count, many, batch_size, epochs),
        **_sizes(image_size),
        **_encoder(small, many),
        **_projector_and_loss(small, dim),
    }
    (*_, dim), _ = fields["projector_dims"]
    return {**fields, **_optimizer(small, fields["batch_size"][0], dim), **views_for(small)}


GIVEN = "as given"


def _unless_given(value: Any, rule: Any, reason: str) -> tuple[Any, str]:
    return (rule, reason) if value is None else (value, GIVEN)


def _training(
    count: int, many: bool, batch_size: int | None, epochs: int | None
) -> dict[str, tuple[Any, str]]:
    fitting = 2 ** min(8, max(1, int(math.log2(max(count // 8, 2)))))
    return {
        "epochs": _unless_given(
            epochs,
            300 if many else 1000,
            "1,000 epochs as on CIFAR-10 (solo-learn); 300 from 200,000 images on, a third of the "
            "paper's time for 1.8 points less (arXiv 2103.03230, section 4)",
        ),
        "batch_size": _unless_given(
            batch_size,
            fitting,
            "fits on one device for images of this kind, with at least 8 steps per epoch",
        ),
        "micro_batches": (1, "for batches that fit into memory"),
        "precision": (
            "float32",
            "the same on any device; auto takes bfloat16 where it is faster",
        ),
    }


def _sizes(image_size: int) -> dict[str, tuple[Any, str]]:
    return {
        "image_size": (image_size, GIVEN),
        "view_size": (None, "as image_size; smaller ones train faster"),
        "load_size": (
            load_size(image_size),
            "small images stay as they are; crops of others stay sharp (320 for 224)",
        ),
        "framing": (
            "whole",
            "the official code's; square if what matters is in the middle, pad if an evaluation "
            "must not lose the margins",
        ),
    }


def _encoder(small: bool, many: bool) -> dict[str, tuple[Any, str]]:
    return {
        "encoder": (
            "resnet50" if many else "resnet18",
            "the paper's from 200,000 images on; for fewer, the usual one for CIFAR and STL-10",
        ),
        "width": (64, "torchvision's; 16 takes a tenth of the time, with a lower accuracy"),
        "stem": (
            "small" if small else "imagenet",
            "3x3 without pooling up to 64 pixels, because pooling shrinks the maps too much "
            "(solo-learn)",
        ),
    }


def _projector_and_loss(small: bool, dim: int | None) -> dict[str, tuple[Any, str]]:
    dim, reason = _unless_given(
        dim,
        2048 if small else 8192,
        "the paper's figure 4 rises up to 16,384; for small images solo-learn and lightly take at "
        "most 2,048",
    )
    return {
        "projector_dims": ((dim,) * (2 if small else 3), reason),
        "redundancy": ("squares", "the paper's"),
        "redundancy_weight": (
            redundancy_weight(dim),
            "0.0051 for any width (the paper's figure 4), or 1 / dim if that is more, as in the "
            "HSIC form at 128",
        ),
        "redundancy_target": (0.0, "the paper's; -1 is the HSIC form (arXiv 2104.13712)"),
        "mixed_sample_weight": (
            0.0,
            "not the paper's; helps with small data sets, but takes 1.5 times as long "
            "(arXiv 2312.02151)",
        ),
    }


def _optimizer(small: bool, batch_size: int, dim: int) -> dict[str, tuple[Any, str]]:
    if small:
        fields = {
            "optimizer": ("adamw", "more accurate than LARS in our short runs on CIFAR-10"),
            "learning_rate": (
                4e-3,
                "for a batch of 256; twice that was better in our runs of minutes on CIFAR-10",
            ),
            "weight_decay": (1e-4, "as in the recipe cifar10 (solo-learn)"),
        }
    else:
        fields = {
            "optimizer": ("lars", "the paper's"),
            "learning_rate": (
                base_learning_rate(batch_size),
                f"times batch_size / 256; the best on ImageNet at a batch of {batch_size}, "
                "facebookresearch/barlowtwins issue 7",
            ),
            "weight_decay": (1e-6, "the official code's"),
        }
    return fields | {
        "bias_learning_rate_ratio": (
            bias_ratio(dim),
            "LARS only. 196 / dim: the step of biases grows with the loss "
            "(facebookresearch/barlowtwins issue 9, whose gradient is 1 / GPUs of the true one)",
        ),
        "trust_coefficient": (1e-3, "LARS only. The official code's LARS eta"),
        "warmup_epochs": (10.0, "the official code's; at most a quarter of a short run"),
    }


def views_for(small: bool) -> dict[str, tuple[Any, str]]:
    """The fields of a recipe that describe its views.

    Args:
        small: Whether views have at most 64 pixels a side.

    Returns:
        From each field to (value, reason).

    Example:
        >>> views_for(small=True)["blur_rates"][0], views_for(small=False)["blur_rates"][0]
        ((0.0, 0.0), (1.0, 0.1))
    """
    no_color = "the paper's; 0 if color distinguishes your images"
    return {
        "crop_area": (
            (0.2, 1.0) if small else (0.08, 1.0),
            "torchvision's default; up to 64 pixels crops of 8 % would be a few pixels",
        ),
        "aspect_ratio": ((3 / 4, 4 / 3), "torchvision's default"),
        "flip_rate": (0.5, "0 if a mirrored image means something else, as with letters"),
        "jitter_rate": (0.8, "the paper's"),
        "brightness": (0.4, "the paper's; 0 if brightness distinguishes your images"),
        "contrast": (0.4, "the paper's"),
        "saturation": (0.2, no_color),
        "hue": (0.1, no_color),
        "grayscale_rate": (0.2, no_color),
        "blur_rates": (
            (0.0, 0.0) if small else (1.0, 0.1),
            "the paper's; none up to 64 pixels (solo-learn, lightly)",
        ),
        "blur_sigma": ((0.1, 2.0), "the paper's, in pixels of the view"),
        "solarize_rates": ((0.0, 0.2), "the paper's; 0 if bright and dark mean different things"),
    }

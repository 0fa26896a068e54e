"""Settings for images that no recipe is for: a rule each, and its reason in words."""

import math

SMALL_SIDE = 64  # up to so many pixels an image counts as small
RESNET50_FROM_IMAGES = 200_000
LARS_RATES = {64: 1.0, 128: 0.7, 256: 0.4, 512: 0.3, 1024: 0.25, 2048: 0.2, 4096: 0.2}


def base_learning_rate(batch_size):
    """LARS's rate for a batch of 256 that did best at a batch size, to be scaled by it.

        between the measured batch sizes: interpolated over log2(batch_size)

    Args:
        batch_size: Int, at least 2. Of all devices.

    Returns:
        Float; beyond 64...4096 the nearest of the two.

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


def bias_ratio(dim):
    """Rate of biases and batch norm over that of weights, under LARS.

        ratio = 196 / dim, 1 at the most

    LARS makes the step of a weight independent of the loss's scale, which grows with `dim`;
    biases and batch norm are outside of LARS and meet it. The source's gradient is 1 / GPUs of
    the true one, which is used here: on its 16 to 32 GPUs biases move that much less.

    Args:
        dim: Int, at least 1. Width of the embedding.

    Returns:
        Float in (0, 1].

    Example:
        >>> round(bias_ratio(8192), 3)
        0.024

    Source: facebookresearch/barlowtwins issue 9; 0.0048 / 0.2 at 8,192 dimensions.
    """
    return min(1.0, 196 / dim)


def redundancy_weight(dim):
    """The paper's lambda by the width of the embedding.

        max(0.0051, 1 / dim)

    Args:
        dim: Int, at least 1. Width of the embedding.

    Returns:
        Float.

    Example:
        >>> redundancy_weight(8192), redundancy_weight(128)
        (0.0051, 0.0078125)

    Source: arXiv 2103.03230, figure 4, keeps it for all widths; yaohungt/Barlow-Twins-HSIC
        takes 1 / 128 at 128 dimensions. A dimension has one diagonal and dim - 1 other
        entries of C, so that below 196 the published value would hardly weigh them.
    """
    return max(0.0051, 1 / dim)


def load_size(image_size):
    """Side to which images are brought before crops of them are resized to `image_size`.

        image_size up to 64 pixels, then 10 / 7 of it

    Args:
        image_size: Int, in pixels.

    Returns:
        Int, in pixels: small images as they are; of others, crops keep their sharpness.

    Example:
        >>> load_size(32), load_size(224)
        (32, 320)
    """
    return image_size if image_size <= SMALL_SIDE else image_size * 10 // 7


def settings_for(count, image_size, batch_size=None, dim=None, epochs=None):
    """Every field of a `Recipe` for images of one's own, each with its reason.

    Args:
        count: Int, at least 2. How many images there are.
        image_size: Int. Side of a view, in pixels.
        batch_size: Int or None. Images a step, over all devices; None takes the rule's.
        dim: Int or None. Width of the embedding; None takes the rule's.
        epochs: Int or None. Passes over the images; None takes the rule's.

    Returns:
        Dict from fields to (value, reason).

    Raises:
        ValueError: If an argument is too small.

    Example:
        >>> fields = settings_for(count=5000, image_size=96)
        >>> fields["batch_size"]
        (256, 'what one device holds of images of this kind, and at least 8 steps an epoch')
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
    small = image_size <= SMALL_SIDE
    many = count >= RESNET50_FROM_IMAGES
    given = "as given"

    def unless_given(value, rule, reason):
        return (rule, reason) if value is None else (value, given)

    fitting = 2 ** min(8, max(1, int(math.log2(max(count // 8, 2)))))
    fields = {
        "epochs": unless_given(
            epochs,
            300 if many else 1000,
            "from 200,000 images on 300, a third of the paper's time for 1.8 points less (arXiv "
            "2103.03230, section 4); below 1,000, as on CIFAR-10 (solo-learn)",
        ),
        "batch_size": unless_given(
            batch_size,
            fitting,
            "what one device holds of images of this kind, and at least 8 steps an epoch",
        ),
        "micro_batches": (1, "as long as memory holds the batch at once"),
        "precision": (
            "float32",
            "16 bits are faster on accelerators, and on CPUs with AVX512_BF16",
        ),
        "image_size": (image_size, given),
        "view_size": (None, "as image_size; smaller ones train faster"),
        "load_size": (
            load_size(image_size),
            "small images as they are; of others, crops keep their sharpness (320 for 224)",
        ),
        "encoder": (
            "resnet50" if many else "resnet18",
            "from 200,000 images on the paper's; below the one that all take for CIFAR and STL-10",
        ),
        "width": (64, "torchvision's; 16 takes a tenth of the time, at a price in accuracy"),
        "stem": (
            "small" if small else "imagenet",
            "up to 64 pixels 3x3 without pooling, which would leave too little (solo-learn)",
        ),
    }
    dim, dim_reason = unless_given(
        dim,
        2048 if small else 8192,
        "the paper's figure 4 rises up to 16,384; for small images nobody takes more than 2,048 "
        "(solo-learn, lightly)",
    )
    batch = fields["batch_size"][0]
    fields |= {
        "projector_dims": ((dim,) * (2 if small else 3), dim_reason),
        "redundancy_weight": (
            redundancy_weight(dim),
            "0.0051 for any width (the paper's figure 4), or 1 / dim if that is more, as the HSIC "
            "form takes at 128",
        ),
        "redundancy_target": (0.0, "the paper's; -1 is the HSIC form (arXiv 2104.13712)"),
        "mixed_sample_weight": (
            0.0,
            "not the paper's; helps small data, for half as much time again (arXiv 2312.02151)",
        ),
    }
    if small:
        fields |= {
            "optimizer": ("adamw", "reached more in short runs on CIFAR-10 than LARS here"),
            "learning_rate": (
                4e-3,
                "for a batch of 256; in runs of minutes twice that did better on CIFAR-10 here",
            ),
            "weight_decay": (1e-4, "as in the recipe cifar10 (solo-learn)"),
        }
    else:
        fields |= {
            "optimizer": ("lars", "the paper's"),
            "learning_rate": (
                base_learning_rate(batch),
                f"for a batch of {batch}: the best of those tried on ImageNet by batch size, "
                "facebookresearch/barlowtwins issue 7",
            ),
            "weight_decay": (1e-6, "the official code's"),
        }
    return fields | {
        "bias_learning_rate_ratio": (
            bias_ratio(dim),
            "196 / dim: biases are outside of LARS and meet the scale of the loss "
            "(facebookresearch/barlowtwins issue 9, whose gradient is 1 / GPUs of the true one); "
            "LARS alone has it",
        ),
        "trust_coefficient": (1e-3, "the official code's LARS eta; LARS alone has it"),
        "warmup_epochs": (10.0, "the official code's; of short runs at most a quarter"),
        "crop_area": (
            (0.2, 1.0) if small else (0.08, 1.0),
            "torchvision's default; up to 64 pixels crops of 8 % would be a few pixels",
        ),
        "aspect_ratio": ((3 / 4, 4 / 3), "torchvision's default"),
        "flip_rate": (0.5, "0 if a mirrored image is another thing, as with letters"),
        "jitter_rate": (0.8, "the paper's"),
        "brightness": (0.4, "the paper's; 0 if brightness is what tells images apart"),
        "contrast": (0.4, "the paper's"),
        "saturation": (0.2, "the paper's; 0 if color is what tells images apart"),
        "hue": (0.1, "the paper's; 0 if color is what tells images apart"),
        "grayscale_rate": (0.2, "the paper's; 0 if color is what tells images apart"),
        "blur_rates": (
            (0.0, 0.0) if small else (1.0, 0.1),
            "the paper's; none up to 64 pixels (solo-learn, lightly)",
        ),
        "blur_sigma": ((0.1, 2.0), "the paper's, in pixels of the view"),
        "solarize_rates": ((0.0, 0.2), "the paper's; 0 if bright and dark must not be confused"),
    }

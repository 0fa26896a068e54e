"""Recipes by name, each value beside its source."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keras_bt.config import rules
from keras_bt.config.recipe import Recipe

Sourced = Mapping[str, tuple[Any, str]]  # from a field to its value and the source of it

_OFFICIAL = "facebookresearch/barlowtwins main.py@8e8d284"
_TRANSFORM = f"{_OFFICIAL}, class Transform"
_TORCHVISION = f"torchvision RandomResizedCrop's default, used by {_OFFICIAL}"
_IMAGENET: Sourced = {
    "dataset": ("imagenet2012", "arXiv 2103.03230, section 3"),
    "epochs": (1000, f"{_OFFICIAL}, --epochs"),
    "batch_size": (2048, f"{_OFFICIAL}, --batch-size"),
    "micro_batches": (1, "the source takes a replica's batch at once"),
    "precision": ("float32", "ours: the source has float16 with loss scaling, for GPUs"),
    "image_size": (224, _TRANSFORM),
    "view_size": (None, _OFFICIAL),
    "load_size": (320, "ours: the source crops from the photo at its full size"),
    "framing": ("whole", f"{_TORCHVISION}, on the photo as it is"),
    "encoder": ("resnet50", f"{_OFFICIAL}, resnet50(zero_init_residual=True)"),
    "width": (64, "torchvision's resnet50"),
    "stem": ("imagenet", "torchvision's resnet50"),
    "projector_dims": ((8192, 8192, 8192), f"{_OFFICIAL}, --projector"),
    "redundancy": ("squares", _OFFICIAL),
    "redundancy_weight": (0.0051, f"{_OFFICIAL}, --lambd (the paper's text says 0.005)"),
    "redundancy_target": (0.0, _OFFICIAL),
    "mixed_sample_weight": (0.0, "not in the source"),
    "optimizer": ("lars", f"{_OFFICIAL}, class LARS"),
    "learning_rate": (0.2, f"{_OFFICIAL}, --learning-rate-weights"),
    "bias_learning_rate_ratio": (
        0.024,
        f"{_OFFICIAL}, --learning-rate-biases 0.0048 / --learning-rate-weights 0.2; its gradient "
        "is 1 / GPUs of the true one",
    ),
    "trust_coefficient": (1e-3, f"{_OFFICIAL}, LARS eta"),
    "weight_decay": (1e-6, f"{_OFFICIAL}, --weight-decay (the paper's text says 1.5e-6)"),
    "warmup_epochs": (10.0, f"{_OFFICIAL}, adjust_learning_rate"),
    "crop_area": ((0.08, 1.0), _TORCHVISION),
    "aspect_ratio": ((3 / 4, 4 / 3), _TORCHVISION),
    "flip_rate": (0.5, _TRANSFORM),
    "jitter_rate": (0.8, _TRANSFORM),
    "brightness": (0.4, _TRANSFORM),
    "contrast": (0.4, _TRANSFORM),
    "saturation": (0.2, _TRANSFORM),
    "hue": (0.1, _TRANSFORM),
    "grayscale_rate": (0.2, _TRANSFORM),
    "blur_rates": ((1.0, 0.1), _TRANSFORM),
    "blur_sigma": ((0.1, 2.0), _TRANSFORM),
    "solarize_rates": ((0.0, 0.2), _TRANSFORM),
}

_SQUARES = "the images are squares"
_SOLO = "vturrisi/solo-learn scripts/pretrain/cifar/barlow.yaml@9187ea3"
_SHORT_NETWORK = (
    "ours, for short runs: the best of a few tried at width 16 on a split of the training "
    "images; k-NN after one epoch 0.368, or 0.344 with projector 2048-2048-2048"
)
_SHORT_RATES = (
    "ours, for short runs: the best of eight tried at width 16 on a split of the training "
    "images; k-NN after 120,000 images 0.479, or 0.431 with learning_rate 0.004, "
    "redundancy_weight 0.0051 and crop_area 0.2,1. For hundreds of epochs solo-learn uses "
    "redundancy_weight 0.0051 and crop_area from 0.08"
)
_CIFAR10: Sourced = {
    **_IMAGENET,
    "dataset": ("cifar10", _SOLO),
    "epochs": (1000, _SOLO),
    "batch_size": (256, _SOLO),
    "image_size": (32, _SOLO),
    "load_size": (32, _SOLO),
    "framing": ("square", _SQUARES),
    "encoder": ("resnet18", _SOLO),
    "width": (64, "torchvision's resnet18"),
    "stem": ("small", _SOLO),
    "projector_dims": ((512, 512), _SHORT_NETWORK),
    "redundancy_weight": (0.0125, _SHORT_RATES),
    "optimizer": ("adamw", _SHORT_NETWORK),
    "learning_rate": (8e-3, _SHORT_RATES),
    "weight_decay": (1e-4, "ours: solo-learn's number, which is for LARS"),
    "crop_area": ((0.3, 1.0), _SHORT_RATES),
    "blur_rates": ((0.0, 0.0), _SOLO),
}

_CIFAR100: Sourced = {
    **_CIFAR10,
    "dataset": ("cifar100", f"{_SOLO}, dataset cifar100: the same settings"),
}

_MIX_BT = "wgcban/mix-bt utils.py@f915e4e, StlPairTransform"
_LIGHTLY = "lightly-ai/lightly@e8d317f"
_RESNET18: Sourced = {
    **_IMAGENET,
    "width": (64, "torchvision's resnet18"),
    "stem": ("imagenet", "torchvision's resnet18"),
    "learning_rate": (
        rules.base_learning_rate(256),
        "facebookresearch/barlowtwins issue 7: the best rate for a batch of 256",
    ),
    "bias_learning_rate_ratio": (
        rules.bias_ratio(2048),
        "facebookresearch/barlowtwins issue 9: 196 / dim, for 1 / GPUs of the true gradient",
    ),
}
_STL10: Sourced = {
    **_RESNET18,
    "dataset": ("stl10", _MIX_BT),
    "batch_size": (256, "solo-learn's and lightly's on one device"),
    "image_size": (64, _MIX_BT),
    "load_size": (96, _MIX_BT),
    "framing": ("square", _SQUARES),
    "encoder": ("resnet18", _MIX_BT),
    "projector_dims": ((2048, 2048, 2048), f"lightly's for Imagenette, {_LIGHTLY}"),
    "crop_area": ((0.2, 1.0), _MIX_BT),
    "saturation": (0.4, _MIX_BT),
    "grayscale_rate": (0.1, _MIX_BT),
    "blur_rates": ((0.0, 0.0), _MIX_BT),
    "solarize_rates": ((0.0, 0.0), _MIX_BT),
}

_LIGHTLY_IMAGENETTE = f"{_LIGHTLY}, its benchmark of Imagenette"
_IMAGENETTE: Sourced = {
    **_RESNET18,
    "dataset": ("imagenette/160px-v2", _LIGHTLY_IMAGENETTE),
    "epochs": (800, _LIGHTLY_IMAGENETTE),
    "batch_size": (256, _LIGHTLY_IMAGENETTE),
    "image_size": (128, _LIGHTLY_IMAGENETTE),
    "load_size": (160, "the data set's short side"),
    "framing": ("whole", _LIGHTLY_IMAGENETTE),
    "encoder": ("resnet18", _LIGHTLY_IMAGENETTE),
    "projector_dims": ((2048, 2048, 2048), _LIGHTLY_IMAGENETTE),
}

_OWN_SIZE = "tensorflow-datasets: the data set's own"
_GRAY = "the images are gray"
_SHORT_FASHION = (
    "ours, for short runs: the best of three tried at width 16 on a split of the training images; "
    "k-NN after one epoch 0.753, or 0.723 with cifar10's settings"
)
_FASHION_MNIST: Sourced = {
    **_CIFAR10,
    "dataset": ("fashion_mnist", _OWN_SIZE),
    "batch_size": (128, _SHORT_FASHION),
    "image_size": (28, _OWN_SIZE),
    "load_size": (28, _OWN_SIZE),
    "redundancy_weight": _IMAGENET["redundancy_weight"],
    "learning_rate": (2e-3, _SHORT_FASHION),
    "crop_area": ((0.5, 1.0), _SHORT_FASHION),
    "flip_rate": (0.0, _SHORT_FASHION),
    "saturation": (0.0, _GRAY),
    "hue": (0.0, _GRAY),
    "grayscale_rate": (0.0, _GRAY),
    "solarize_rates": ((0.0, 0.0), "ours: clothes on black, never inverted"),
}

_TRIED = "ours: the best of a few tried in two minutes on two CPU cores"
_DIGITS: Sourced = {
    **_FASHION_MNIST,
    "dataset": ("digits", _TRIED),
    "epochs": (200, _TRIED),
    "batch_size": (128, _TRIED),
    "image_size": (8, _TRIED),
    "load_size": (8, _TRIED),
    "width": (16, _TRIED),
    "projector_dims": ((256, 256), _TRIED),
    "learning_rate": (4e-3, _TRIED),
    "crop_area": ((0.5, 1.0), _TRIED),
    "flip_rate": (0.0, "ours: a mirrored digit is another sign"),
    "blur_rates": ((0.2, 0.2), _TRIED),
    "solarize_rates": ((0.0, 0.0), "ours: digits on black, never inverted"),
}

recipes = MappingProxyType(
    {
        name: Recipe.from_sourced(name, fields)
        for name, fields in {
            "digits": _DIGITS,
            "fashion_mnist": _FASHION_MNIST,
            "cifar10": _CIFAR10,
            "cifar100": _CIFAR100,
            "stl10": _STL10,
            "imagenette": _IMAGENETTE,
            "imagenet": _IMAGENET,
        }.items()
    }
)
"""The recipes by name: a read-only mapping, whose order is that of the size of their images."""


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Args:
        name: A key of `recipes`.

    Raises:
        ValueError: If there is none. The message names the nearest.

    Example:
        >>> find_recipe("cifar")
        Traceback (most recent call last):
            ...
        ValueError: There is no recipe 'cifar'; did you mean 'cifar10'? Available: cifar10, ...
    """
    if name in recipes:
        return recipes[name]
    nearest = difflib.get_close_matches(name, recipes, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"There is no recipe {name!r}{hint} Available: {', '.join(sorted(recipes))}.")

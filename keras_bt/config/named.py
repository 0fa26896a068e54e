"""Recipes by name, each value with its source."""

import difflib
from types import MappingProxyType

from keras_bt.config import rules
from keras_bt.config.recipe import SHARED_BY_VIEWS, Recipe

_OFFICIAL = "facebookresearch/barlowtwins main.py@8e8d284"
_TORCHVISION = "torchvision RandomResizedCrop's default, used by " + _OFFICIAL
_PAPER_RUN = {
    **dict.fromkeys(
        (*SHARED_BY_VIEWS, "blur_rates", "solarize_rates"), _OFFICIAL + ", class Transform"
    ),
    "dataset": "arXiv 2103.03230, section 3",
    "epochs": _OFFICIAL + ", --epochs",
    "batch_size": _OFFICIAL + ", --batch-size",
    "micro_batches": "the source takes a replica's batch at once",
    "precision": "ours: the source has float16 with loss scaling, for GPUs",
    "image_size": _OFFICIAL + ", class Transform",
    "view_size": _OFFICIAL,
    "load_size": "ours: the source crops from the whole photo, whatever its size",
    "encoder": _OFFICIAL + ", resnet50(zero_init_residual=True)",
    "width": "torchvision's resnet50",
    "stem": "torchvision's resnet50",
    "projector_dims": _OFFICIAL + ", --projector",
    "redundancy_weight": _OFFICIAL + ", --lambd (the paper's text says 0.005)",
    "redundancy_target": _OFFICIAL,
    "mixed_sample_weight": "not in the source",
    "optimizer": _OFFICIAL + ", class LARS",
    "learning_rate": _OFFICIAL + ", --learning-rate-weights",
    "bias_learning_rate_ratio": _OFFICIAL
    + ", --learning-rate-biases 0.0048 / --learning-rate-weights 0.2; its gradient is 1 / GPUs of "
    "the true one",
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
    view_size=None,
    load_size=320,
    encoder="resnet50",
    width=64,
    stem="imagenet",
    projector_dims=(8192, 8192, 8192),
    redundancy_weight=0.0051,
    redundancy_target=0.0,
    mixed_sample_weight=0.0,
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
    redundancy_weight=0.0125,
    optimizer="adamw",
    learning_rate=8e-3,
    weight_decay=1e-4,
    crop_area=(0.3, 1.0),
    blur_rates=(0.0, 0.0),
    sources=MappingProxyType(
        {
            **_PAPER_RUN,
            **dict.fromkeys(
                ("dataset", "epochs", "batch_size", "image_size", "load_size", "encoder", "stem")
                + ("blur_rates",),
                _SOLO,
            ),
            "width": "torchvision's resnet18",
            "weight_decay": "ours: solo-learn's number, which is of LARS",
            **dict.fromkeys(
                ("optimizer", "projector_dims"),
                "ours, for short runs: of a few tried at width 16 on a split of the training "
                "images; k-NN after one epoch 0.368, with projector 2048-2048-2048 0.344",
            ),
            **dict.fromkeys(
                ("learning_rate", "redundancy_weight", "crop_area"),
                "ours, for short runs: of eight tried at width 16 on a split of the training "
                "images; k-NN after 120,000 images 0.479, with 0.004, 0.0051, 0.2,1 0.431. "
                "For hundreds of epochs solo-learn takes 0.0051 and crops from 0.08",
            ),
        }
    ),
)

_CIFAR100 = _CIFAR10.override(
    name="cifar100",
    dataset="cifar100",
    sources=MappingProxyType(
        {**_CIFAR10.sources, "dataset": _SOLO + ", dataset cifar100: the same settings"}
    ),
)

_MIX_BT = "wgcban/mix-bt utils.py@f915e4e, StlPairTransform"
_BATCH_RULE = "facebookresearch/barlowtwins issue 7: the best rate for a batch of 256"
_BIAS_RULE = "facebookresearch/barlowtwins issue 9: 196 / dim, for 1 / GPUs of the true gradient"
_STL10 = _IMAGENET.override(
    name="stl10",
    dataset="stl10",
    batch_size=256,
    image_size=64,
    load_size=96,
    encoder="resnet18",
    projector_dims=(2048, 2048, 2048),
    learning_rate=rules.base_learning_rate(256),
    bias_learning_rate_ratio=rules.bias_ratio(2048),
    crop_area=(0.2, 1.0),
    saturation=0.4,
    grayscale_rate=0.1,
    blur_rates=(0.0, 0.0),
    solarize_rates=(0.0, 0.0),
    sources=MappingProxyType(
        {
            **_PAPER_RUN,
            **dict.fromkeys(
                ("dataset", "image_size", "load_size", "encoder", "crop_area")
                + ("saturation", "grayscale_rate", "blur_rates", "solarize_rates"),
                _MIX_BT,
            ),
            "width": "torchvision's resnet18",
            "stem": "torchvision's resnet18",
            "batch_size": "solo-learn's and lightly's on one device",
            "projector_dims": "lightly's for Imagenette, lightly-ai/lightly@e8d317f",
            "learning_rate": _BATCH_RULE,
            "bias_learning_rate_ratio": _BIAS_RULE,
        }
    ),
)

_LIGHTLY = "lightly-ai/lightly@e8d317f, its benchmark of Imagenette"
_IMAGENETTE = _IMAGENET.override(
    name="imagenette",
    dataset="imagenette/160px-v2",
    epochs=800,
    batch_size=256,
    image_size=128,
    load_size=160,
    encoder="resnet18",
    projector_dims=(2048, 2048, 2048),
    learning_rate=rules.base_learning_rate(256),
    bias_learning_rate_ratio=rules.bias_ratio(2048),
    sources=MappingProxyType(
        {
            **_PAPER_RUN,
            **dict.fromkeys(
                ("dataset", "epochs", "batch_size", "image_size", "encoder", "projector_dims"),
                _LIGHTLY,
            ),
            "width": "torchvision's resnet18",
            "stem": "torchvision's resnet18",
            "load_size": "the data set's short side",
            "learning_rate": _BATCH_RULE,
            "bias_learning_rate_ratio": _BIAS_RULE,
        }
    ),
)

_FASHION_MNIST = _CIFAR10.override(
    name="fashion_mnist",
    dataset="fashion_mnist",
    batch_size=128,
    image_size=28,
    load_size=28,
    redundancy_weight=0.0051,
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
            "redundancy_weight": _PAPER_RUN["redundancy_weight"],
            **dict.fromkeys(("saturation", "hue", "grayscale_rate"), "the images are gray"),
            **dict.fromkeys(
                ("dataset", "image_size", "load_size"), "tensorflow-datasets: the data set's own"
            ),
            "solarize_rates": "ours: clothes on black, never inverted",
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
            "solarize_rates": "ours: digits on black, never inverted",
        }
    ),
)

_ALL = (_DIGITS, _FASHION_MNIST, _CIFAR10, _CIFAR100, _STL10, _IMAGENETTE, _IMAGENET)
recipes = MappingProxyType({recipe.name: recipe for recipe in _ALL})


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

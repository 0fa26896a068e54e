"""Builds ResNets, and projectors, from weights of torchvision or of the official code."""

import collections
import logging
import re
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import keras
import numpy as np

from keras_bt.encoders import resnet
from keras_bt.encoders.projector import projector
from keras_bt.encoders.torch_file import read_torch_file
from keras_bt.encoders.torch_pickle import Placeholder, StoredTensor

Tensors = dict[str, StoredTensor]

ARCHITECTURES = {
    ("basic", (2, 2, 2, 2)): resnet.resnet18,
    ("basic", (3, 4, 6, 3)): resnet.resnet34,
    ("bottleneck", (3, 4, 6, 3)): resnet.resnet50,
    ("bottleneck", (3, 4, 23, 3)): resnet.resnet101,
}
PARAMETERS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
IGNORED = re.compile(r"fc\..*|.*num_batches_tracked")
CHILDREN = "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"  # those with weights
FIRST, SECOND, WIDEST = "conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"

log = logging.getLogger(__name__)


def import_torch_resnet(
    path: str | PathLike[str],
    image_size: int | None = None,
    normalization: resnet.Normalization = "imagenet",
) -> tuple[keras.Model, keras.Model | None]:
    """Builds a ResNet-18, -34, -50 or -101, and its projector if any, from a PyTorch file.

        encoder, projector = import_torch_resnet("resnet50.pth")      # projector is None
        encoder, projector = import_torch_resnet("checkpoint.pth")    # of the official code

    PyTorch is not needed, and no code in the file is run. The file holds a state dict with
    torchvision's names, alone or inside other dicts, with any prefix (`module.backbone.`); or
    with the numbers that `nn.Sequential(*resnet.children())` gives to them. A projector beside
    `backbone.` is built too. A classifier (`fc`) is ignored, and so are objects beside the
    weights, such as hyperparameters. Depth, width, stem and channels follow from the weights.

    Args:
        path: Path of the file.
        image_size: Height and width of the encoder's images, in pixels; None for any.
        normalization: See `resnet18`. The weights of torchvision and of the official code need
            "imagenet".

    Returns:
        encoder: Float [batch, height, width, channels] in [0, 1] to [batch, features].
        projector: Float [batch, features] to [batch, dim]. None if the file has none, or,
            with a warning, if it has one of another kind.

    Raises:
        ValueError: If `torch.save` did not write the file, it could run code, or it holds no
            such ResNet. The message lists missing and unknown weights and wrong shapes.
        OSError: If the file cannot be opened.

    Example:
        >>> encoder, projector = import_torch_resnet("resnet18.pth")
        >>> encoder.output_shape, projector is None
        ((None, 16), True)

    Source: torchvision 0.29 models/resnet.py; facebookresearch/barlowtwins main.py@8e8d284.
    """
    tensors, prefix = _find_resnet(read_torch_file(path), path)
    backbone = _without_prefix(tensors, prefix)
    encoder = _build_encoder(backbone, image_size, normalization, path)
    _assign(encoder, backbone, _torchvision_name, f"{path} holds no {encoder.name}")
    head_prefix = re.sub(r"backbone\.$", "projector.", prefix)
    head = _without_prefix(tensors, head_prefix) if head_prefix != prefix else {}
    imported_projector = None
    if head:
        try:
            imported_projector = _build_projector(head, encoder.output_shape[-1], path)
        except ValueError as error:
            log.warning("%s The projector is not imported.", error)
    used = {prefix + name for name in backbone} | {head_prefix + name for name in head}
    if unused := sorted(set(tensors) - used):
        log.info("Ignored in %s: %s.", path, ", ".join(unused))
    return encoder, imported_projector


def _find_resnet(content: Any, path: str | PathLike[str]) -> tuple[Tensors, str]:
    """The first dict that holds a ResNet's tensors, and the prefix of their names."""
    waiting, seen, unread = collections.deque([content]), set(), set()
    while waiting:
        mapping = waiting.popleft()
        if isinstance(mapping, Placeholder):
            unread.add(".".join(mapping.name))
        if not isinstance(mapping, Mapping) or id(mapping) in seen:
            continue
        seen.add(id(mapping))
        tensors = _with_torchvision_names(
            {
                name: tensor
                for name, tensor in mapping.items()
                if isinstance(name, str) and isinstance(tensor, StoredTensor)
            }
        )
        for name in tensors:
            prefix = name.removesuffix(FIRST)
            if name.endswith(FIRST) and prefix + SECOND in tensors:
                return tensors, prefix
        waiting.extend(mapping.values())
    advice = (
        f" Objects are not read ({', '.join(sorted(unread))!r:.80}); in PyTorch, save the model's "
        "state_dict()."
    )
    raise ValueError(
        f"{path} holds no ResNet: no weights named {FIRST} and {SECOND}.{advice if unread else ''}"
    )


def _with_torchvision_names(tensors: Tensors) -> Tensors:
    """Renames the children of an `nn.Sequential`: "4.0.conv1.weight" to "layer1.0.conv1.weight"."""
    blocks = (re.fullmatch(r"(|.*\.)\d{1,3}\.0\.conv1\.weight", name) for name in tensors)
    prefix = next(
        (match[1] for match in blocks if match and f"{match[1]}0.weight" in tensors), None
    )
    if prefix is None:
        return tensors
    child = re.compile(re.escape(prefix) + r"(\d{1,3})\.(.*)")
    children = {name: match for name in tensors if (match := child.fullmatch(name))}
    # Layers without weights, such as ReLU and pooling, have numbers too.
    numbers = sorted({int(match[1]) for match in children.values()})
    names = dict(zip(numbers, CHILDREN, strict=False))
    return {
        f"{prefix}{names.get(int(match[1]), match[1])}.{match[2]}"
        if (match := children.get(name))
        else name: tensor
        for name, tensor in tensors.items()
    }


def _without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _build_encoder(
    tensors: Tensors,
    image_size: int | None,
    normalization: resnet.Normalization,
    path: str | PathLike[str],
) -> keras.Model:
    blocks = {
        match.groups() for name in tensors if (match := re.match(r"layer(\d)\.(\d+)\.", name))
    }
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(1, 5))
    block = "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic"
    build = ARCHITECTURES.get((block, depths))
    shape = tensors[FIRST].shape
    if build is None or len(shape) != 4:
        known = ", ".join(f"{name} {depths}" for name, depths in ARCHITECTURES)
        raise ValueError(
            f"{path} holds {block} blocks {depths} and first weights {list(shape)}; "
            f"supported are {known}."
        )
    width, channels, kernel_size, _ = shape
    # Checked before anything is built: a small file must not lead to a huge network.
    widest = (
        (8 * width, 16 * width, 1, 1) if block == "bottleneck" else (8 * width, 4 * width, 3, 3)
    )
    if WIDEST not in tensors or tensors[WIDEST].shape != widest:
        raise ValueError(f"{path} holds no {WIDEST} {list(widest)}, as {FIRST} would need.")
    return build(
        (image_size, image_size, channels),
        width=width,
        stem="imagenet" if kernel_size == 7 else "small",
        normalization=normalization,
    )


def _build_projector(tensors: Tensors, features: int, path: str | PathLike[str]) -> keras.Model:
    problem = f"{path} holds no projector of the official code"
    kernels = {
        int(match[1]): tensor.shape
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and (match := re.fullmatch(r"(\d{1,3})\.weight", name))
    }
    dims = [kernels[place][0] for place in sorted(kernels)]
    inputs = [kernels[place][1] for place in sorted(kernels)]
    if not dims or inputs != [features, *dims[:-1]]:
        raise ValueError(
            f"{problem}. Its dense layers do not fit: inputs {inputs}, outputs {dims}."
        )
    head = projector(features, dims)
    _assign(head, tensors, _projector_name, problem)
    return head


def _torchvision_name(variable: keras.Variable) -> str:
    """From "layer1_0_conv1/kernel" to "layer1.0.conv1.weight"."""
    layer, parameter = variable.path.split("/")[-2:]
    layer = re.sub(r"^(layer\d)_(\d+)_", r"\1.\2.", layer).replace("downsample_", "downsample.")
    return f"{layer}.{PARAMETERS[parameter]}"


def _projector_name(variable: keras.Variable) -> str:
    """From "dense2/kernel" to "3.weight": dense, batch norm and ReLU alternate."""
    layer, parameter = variable.path.split("/")[-2:]
    number = int(layer.removeprefix("dense").removeprefix("bn"))
    return f"{3 * (number - 1) + layer.startswith('bn')}.{PARAMETERS[parameter]}"


def _assign(
    model: keras.Model,
    tensors: Tensors,
    name_of: Callable[[keras.Variable], str],
    problem: str,
) -> None:
    """Sets all variables; raises `problem` and the list of weights that do not fit."""
    variables = {name_of(variable): variable for variable in model.weights}
    shapes = {name: _torch_shape(variable.shape) for name, variable in variables.items()}
    unknown = {name for name in tensors if not IGNORED.fullmatch(name)} - set(variables)
    problems = {
        "Missing": sorted(set(variables) - set(tensors)),
        "Unknown": sorted(unknown),
        "Wrong shape": [
            f"{name} {list(tensors[name].shape)} instead of {list(shape)}"
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    if any(problems.values()):
        listed = [f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names]
        raise ValueError(f"{problem}. {'. '.join(listed)}.")
    for name, variable in variables.items():
        values = np.asarray(tensors[name].read(), "float32")
        if not np.isfinite(values).all():
            raise ValueError(f"{problem}. Not finite: {name}.")
        variable.assign(values.transpose(_axes_from_torch(values.ndim)))


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """From [height, width, in, out] to [out, in, height, width], from [in, out] to [out, in]."""
    shape = tuple(shape)
    return {4: shape[::-1][:2] + shape[:2], 2: shape[::-1]}.get(len(shape), shape)


def _axes_from_torch(rank: int) -> tuple[int, ...]:
    return {4: (2, 3, 1, 0), 2: (1, 0)}.get(rank, (0,))

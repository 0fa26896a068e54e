"""ResNets from PyTorch: torchvision's, and those of the official code."""

import logging
import re
from collections.abc import Mapping

import numpy as np

from keras_bt.encoders import resnet
from keras_bt.encoders.projector import projector
from keras_bt.encoders.torch_file import StoredTensor, read_torch_file

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
NOT_TAKEN = re.compile(r"fc\.(weight|bias)|.*num_batches_tracked")
FIRST, SECOND = "conv1.weight", "layer1.0.conv1.weight"

log = logging.getLogger(__name__)


def import_torch_resnet(path, image_size=None, normalization="imagenet"):
    """A ResNet-18, -34, -50 or -101, and its projector if it has one, from a file of PyTorch.

        encoder, projector = import_torch_resnet("resnet50.pth")      # projector is None
        encoder, projector = import_torch_resnet("checkpoint.pth")    # of the official code

    The file needs no PyTorch here, and nothing in it is run. It holds a state dict of
    torchvision's names, alone or inside of other dicts, with any prefix (`module.backbone.`);
    a projector beside `backbone.` is found. A classifier (`fc`) is left out. Depth, width, stem
    and channels follow from the weights.

    Args:
        path: Path of the file.
        image_size: Int. Side of the encoder's images, in pixels; None for any.
        normalization: See `resnet18`. ImageNet's is that of torchvision's and the official
            weights.

    Returns:
        encoder: `keras.Model`, float [batch, height, width, channels] in [0, 1] to
            [batch, features].
        projector: `keras.Model`, [batch, features] to [batch, dim]; None without one, or, with a
            warning, for one of another kind.

    Raises:
        ValueError: If the file is not of `torch.save`, would run code, or holds no such ResNet;
            missing, unknown and misshapen weights are listed.
        OSError: If it cannot be read.

    Example:
        >>> encoder, projector = import_torch_resnet("tests/golden/resnet18_width2.pth")
        >>> encoder.output_shape, projector is None
        ((None, 16), True)

    Source: torchvision 0.29 models/resnet.py; facebookresearch/barlowtwins main.py@8e8d284.
    """
    tensors, prefix = _find_resnet(read_torch_file(path), path)
    backbone = _without_prefix(tensors, prefix)
    encoder = _build_encoder(backbone, image_size, normalization, path)
    _assign(encoder, backbone, _torchvision_name, f"{path} holds no {encoder.name}")
    projector, head_prefix = None, re.sub(r"backbone\.$", "projector.", prefix)
    head = _without_prefix(tensors, head_prefix) if head_prefix != prefix else {}
    if head:
        try:
            projector = _build_projector(head, encoder.output_shape[-1], path)
        except ValueError as error:
            log.warning("%s It is left out.", error)
    used = {prefix + name for name in backbone} | {head_prefix + name for name in head}
    if rest := sorted(set(tensors) - used):
        log.info("Not taken from %s: %s.", path, ", ".join(rest))
    return encoder, projector


def _find_resnet(content, path):
    """The first dict of tensors with a ResNet's in it, and the prefix of their names."""
    waiting, seen = [content], set()
    while waiting:
        mapping = waiting.pop(0)
        if not isinstance(mapping, Mapping) or id(mapping) in seen:
            continue
        seen.add(id(mapping))
        tensors = {
            name: tensor
            for name, tensor in mapping.items()
            if isinstance(name, str) and isinstance(tensor, StoredTensor)
        }
        for name in tensors:
            prefix = name.removesuffix(FIRST)
            if name.endswith(FIRST) and prefix + SECOND in tensors:
                return tensors, prefix
        waiting += mapping.values()
    raise ValueError(f"{path} holds no ResNet: no weights named {FIRST} and {SECOND}.")


def _without_prefix(tensors, prefix):
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _build_encoder(tensors, image_size, normalization, path):
    places = {
        match.groups() for name in tensors if (match := re.match(r"layer(\d)\.(\d+)\.", name))
    }
    depths = tuple(sum(stage == str(number) for stage, _ in places) for number in range(1, 5))
    block = "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic"
    build = ARCHITECTURES.get((block, depths))
    shape = tensors[FIRST].shape
    if build is None or len(shape) != 4:
        known = ", ".join(f"{name} {depths}" for name, depths in ARCHITECTURES)
        raise ValueError(
            f"{path} holds {block} blocks {depths}, first weights {list(shape)}; known are {known}."
        )
    width, channels, kernel_size, _ = shape
    widest = tensors.get("layer4.0.conv1.weight")
    if widest is None or widest.shape[0] != 8 * width:  # what is built must not outgrow the file
        raise ValueError(
            f"{path} holds no ResNet whose last stage is 8 times as wide as the first."
        )
    return build(
        (image_size, image_size, channels),
        width=width,
        stem="imagenet" if kernel_size == 7 else "small",
        normalization=normalization,
    )


def _build_projector(tensors, features, path):
    kernels = {int(name.split(".")[0]): t.shape for name, t in tensors.items() if len(t.shape) == 2}
    if not kernels:
        raise ValueError(f"{path} holds a projector without dense layers: {sorted(tensors)}.")
    head = projector(features, [kernels[place][0] for place in sorted(kernels)])
    _assign(head, tensors, _projector_name, f"{path} holds no projector of the official code")
    return head


def _torchvision_name(variable):
    """From "layer1_0_conv1/kernel" to "layer1.0.conv1.weight"."""
    layer, parameter = variable.path.split("/")[-2:]
    layer = re.sub(r"^(layer\d)_(\d+)_", r"\1.\2.", layer).replace("downsample_", "downsample.")
    return f"{layer}.{PARAMETERS[parameter]}"


def _projector_name(variable):
    """From "dense2/kernel" to "3.weight": dense, batch norm and ReLU take turns."""
    layer, parameter = variable.path.split("/")[-2:]
    number = int(layer.removeprefix("dense").removeprefix("bn"))
    return f"{3 * (number - 1) + layer.startswith('bn')}.{PARAMETERS[parameter]}"


def _assign(model, tensors, name_of, problem):
    variables = {name_of(variable): variable for variable in model.weights}
    shapes = {name: _torch_shape(variable.shape) for name, variable in variables.items()}
    unknown = {name for name in tensors if not NOT_TAKEN.fullmatch(name)} - set(variables)
    problems = {
        "missing": sorted(set(variables) - set(tensors)),
        "not known": sorted(unknown),
        "of another shape": [
            f"{name} {list(tensors[name].shape)} for {list(shape)}"
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    if any(problems.values()):
        listed = [f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names]
        raise ValueError(f"{problem}. {'; '.join(listed)}.")
    for name, variable in variables.items():
        values = np.asarray(tensors[name].read(), "float32")
        if not np.isfinite(values).all():
            raise ValueError(f"{problem}. Not finite: {name}.")
        variable.assign(values.transpose(_from_torch(values.ndim)))


def _torch_shape(shape):
    """[height, width, in, out] is [out, in, height, width] there, [in, out] is [out, in]."""
    shape = tuple(shape)
    return {4: shape[::-1][:2] + shape[:2], 2: shape[::-1]}.get(len(shape), shape)


def _from_torch(rank):
    return {4: (2, 3, 1, 0), 2: (1, 0)}.get(rank, (0,))

"""Writes the PyTorch files that the import is tested on; needs PyTorch.

    python tests/encoders/torch_files.py tests/golden

writes resnet18_width2.pth, resnet18_width2_old.pth (as before PyTorch 1.6) and
checkpoint_resnet50_width1.pth, a checkpoint of the official code with projector and optimizer.
"""

import collections
import sys
import zlib
from pathlib import Path

import numpy as np

BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
PROJECTOR = 12, 8


def exclude_bias_and_norm(parameter):
    """Stands for the official optimizer's filter, which is saved by name."""
    return parameter.ndim == 1


def resnet_shapes(name, width=64):
    """Shapes of torchvision's parameters, without the classifier."""
    expansion = 1 if name in ("resnet18", "resnet34") else 4
    shapes = {"conv1.weight": (width, 3, 7, 7), **_norm("bn1", width)}
    channels = width
    for stage, depth in enumerate(BLOCKS[name]):
        inner = width * 2**stage
        for index in range(depth):
            block, out = f"layer{stage + 1}.{index}", inner * expansion
            kernels = (3, 3) if expansion == 1 else (1, 3, 1)
            sides = [channels, *[inner] * (len(kernels) - 1), out]
            for number, kernel in enumerate(kernels, start=1):
                conv = (sides[number], sides[number - 1], kernel, kernel)
                shapes[f"{block}.conv{number}.weight"] = conv
                shapes |= _norm(f"{block}.bn{number}", sides[number])
            if index == 0 and (stage > 0 or expansion > 1):
                shapes[f"{block}.downsample.0.weight"] = (out, channels, 1, 1)
                shapes |= _norm(f"{block}.downsample.1", out)
            channels = out
    return shapes


def projector_shapes(features, dims=PROJECTOR):
    """Shapes of the official projector's parameters."""
    shapes = {}
    for number, dim in enumerate(dims):
        shapes[f"{3 * number}.weight"] = (dim, features)
        if number < len(dims) - 1:
            shapes |= _norm(f"{3 * number + 1}", dim)
        features = dim
    return shapes


def weight_by_rule(name, shape):
    """The weights of tests/golden/README.md."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.array(7)
    if name.endswith("running_var"):
        return random.uniform(0.5, 1.5, shape)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * random.normal(size=shape)
    if len(shape) == 1:
        return random.uniform(0.6, 1.2, shape)
    return random.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))


def state_dict(shapes, prefix=""):
    """A state dict of PyTorch with the weights of tests/golden/README.md."""
    import torch

    state = collections.OrderedDict()
    for name, shape in shapes.items():
        values = weight_by_rule(name, shape)
        kind = torch.int64 if name.endswith("num_batches_tracked") else torch.float32
        state[prefix + name] = torch.tensor(values, dtype=kind)
    state._metadata = collections.OrderedDict(version=1)
    return state


def checkpoint(name, width):
    """A checkpoint as the official code writes it after each epoch."""
    shapes = resnet_shapes(name, width)
    features = width * 32
    model = state_dict(shapes, "module.backbone.")
    model.update(state_dict(projector_shapes(features), "module.projector."))
    statistics = {key: shape for key, shape in _norm("bn", PROJECTOR[-1]).items() if "ing" in key}
    model.update(state_dict(statistics, "module."))
    group = {
        "lr": 0.2,
        "params": [0],
        "weight_decay_filter": exclude_bias_and_norm,
        "lars_adaptation_filter": exclude_bias_and_norm,
    }
    momentum = model["module.backbone.conv1.weight"].clone()
    optimizer = {"state": {0: {"mu": momentum}}, "param_groups": [group]}
    return {"epoch": 3, "model": model, "optimizer": optimizer}


def _norm(name, channels):
    shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return {f"{name}.{key}": shape for key, shape in (shapes | {"num_batches_tracked": ()}).items()}


def main(folder):
    import torch

    narrow = state_dict(resnet_shapes("resnet18", width=2))
    torch.save(narrow, Path(folder, "resnet18_width2.pth"))
    old = Path(folder, "resnet18_width2_old.pth")
    torch.save(narrow, old, _use_new_zipfile_serialization=False)
    torch.save(checkpoint("resnet50", width=1), Path(folder, "checkpoint_resnet50_width1.pth"))


if __name__ == "__main__":
    main(sys.argv[1])

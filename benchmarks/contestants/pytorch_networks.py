"""The networks of keras_bt in PyTorch, from torchvision's blocks, as its users write them."""

from torch import nn
from torchvision.models.resnet import BasicBlock


def resnet18(width):
    """Returns torchvision's ResNet-18 of any width for small images, with pooled features."""
    channels = [width, width, 2 * width, 4 * width, 8 * width]
    stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    stages = [
        block
        for stage in range(4)
        for block in _stage(channels[stage], channels[stage + 1], 2 if stage else 1)
    ]
    network = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return network


def projector(features, dims):
    """Returns the projector of the official code."""
    layers = []
    for before, dim in zip((features, *dims), dims, strict=False):
        layers += [nn.Linear(before, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(True)]
    return nn.Sequential(*layers[:-2])


def _stage(before, channels, stride):
    shortcut = None
    if stride != 1 or before != channels:
        convolution = nn.Conv2d(before, channels, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))
    return BasicBlock(before, channels, stride, shortcut), BasicBlock(channels, channels)

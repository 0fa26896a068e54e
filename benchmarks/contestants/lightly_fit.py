"""Training of lightly as in its examples/pytorch/barlowtwins.py, with a narrower ResNet-18."""

import itertools
import time

import torch
from images import load_images
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from pytorch_networks import resnet18
from torch import nn
from torch.utils.data import DataLoader
from torchvision_views import WORKERS, TwoViews

WARM_UP_STEPS = 2
AHEAD = 2 * WORKERS  # batches that the loader keeps ready


def prepare(images, width, batch, dims, bfloat16=False):
    """Returns a function that trains for some steps."""
    hidden, *_, dim = dims
    model = nn.Sequential(resnet18(width), BarlowTwinsProjectionHead(8 * width, hidden, dim))
    model = model.to(memory_format=torch.channels_last)
    pairs = small_pairs(load_images(images))
    loader = DataLoader(
        pairs, batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True
    )
    criterion, optimizer = BarlowTwinsLoss(), torch.optim.SGD(model.parameters(), lr=0.06)

    def train(batches):
        for views in batches:
            train_step(model, criterion, optimizer, views, bfloat16)

    def run(steps):
        # The loader works ahead. It must be as far ahead at the end as at the start.
        pairs.count = (WARM_UP_STEPS + steps + AHEAD) * batch
        batches = iter(loader)
        train(itertools.islice(batches, WARM_UP_STEPS))
        start = time.perf_counter()
        train(itertools.islice(batches, steps))
        seconds = time.perf_counter() - start
        for _ in batches:
            pass
        return seconds

    return run


def small_pairs(images):
    """Returns two views of each image with lightly's settings for CIFAR-10: without blur."""
    small = {"input_size": 32, "gaussian_blur": 0.0}
    return TwoViews(images, BYOLView1Transform(**small), BYOLView2Transform(**small))


def train_step(model, criterion, optimizer, views, bfloat16=False):
    """Trains for one step and returns its loss."""
    x_a, x_b = (x.contiguous(memory_format=torch.channels_last) for x in views)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        z_a, z_b = model(x_a), model(x_b)
    loss = criterion(z_a.float(), z_b.float())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

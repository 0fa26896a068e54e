"""Pretraining by lightly for some minutes, with the settings of its own benchmark on CIFAR-10.

    .venv-bench/bin/python benchmarks/contestants/lightly_pretrain.py \\
        --images=FOLDER --minutes=10 --width=16 --seed=0 --representations=FILE.npz

FOLDER holds train.npy and test.npy, uint8 [count, 32, 32, 3]. FILE gets their representations
as `train` and `test`; the last line of stdout is what is to be known of the training, as JSON.

Speed is measured first, with one and with two workers; the faster ones train. The clock goes
from the start of training to its last step.

Source: lightly-ai/lightly, docs/source/getting_started/benchmarks/cifar10_benchmark.py.
Differs from source: the encoder, lightly's own with its initialization, is as wide as asked for,
and the cosine goes by step: by epoch it would be coarse over two or three of them.
"""

import argparse
import itertools
import json
import operator
import time
from pathlib import Path

import lightly
import numpy as np
import torch
import torchvision
from images import images_of
from lightly.loss import BarlowTwinsLoss
from lightly.models import ResNetGenerator
from lightly.models.modules.heads import ProjectionHead
from lightly.transforms.utils import IMAGENET_NORMALIZE
from lightly_fit import small_pairs, train_step
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import Normalize

FULL_WIDTH, DIM = 64, 2048
REDUNDANCY_WEIGHT = 0.005
BATCH = 128
SGD = {"lr": 0.06, "momentum": 0.9, "weight_decay": 5e-4}
WORKERS = 1, 2
WARM_UP_STEPS, MEASURED_STEPS = 8, 40  # a loader is ahead by four batches at first


def build_model(width):
    """Encoder and projector."""
    resnet = ResNetGenerator("resnet-18", width=width / FULL_WIDTH)
    parts = [*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    hidden = (8 * width, DIM, nn.BatchNorm1d(DIM), nn.ReLU(inplace=True))
    projector = ProjectionHead([hidden, (DIM, DIM, None, None)])
    model = nn.Sequential(nn.Sequential(*parts), projector)
    return model.to(memory_format=torch.channels_last)


def train(model, loader, steps):
    """Trains, the cosine over these steps.

    Returns:
        loss: Float, of the last step.
        ends: Floats [steps]. When each step ended, in seconds from the start.
    """
    criterion = BarlowTwinsLoss(lambda_param=REDUNDANCY_WEIGHT)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    began, ends = time.perf_counter(), []
    for views in itertools.islice(epochs(loader), steps):
        loss = train_step(model, criterion, optimizer, views)
        cosine.step()
        ends.append(time.perf_counter() - began)
    return loss, ends


def epochs(loader):
    """Batches of epoch after epoch, without end."""
    while True:
        yield from loader


def fastest_loader(pairs, width):
    """Seconds a step with the best number of workers, measured on models of their own.

    Returns:
        seconds: Float.
        loader: `DataLoader`, whose workers have begun.
    """
    measured = []
    for workers in WORKERS:
        loader = DataLoader(
            pairs, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
        )
        _, ends = train(build_model(width), loader, WARM_UP_STEPS + MEASURED_STEPS)
        measured.append(((ends[-1] - ends[WARM_UP_STEPS - 1]) / MEASURED_STEPS, loader))
    return min(measured, key=operator.itemgetter(0))


@torch.no_grad()
def represent(encoder, images):
    """Representations of images as they are, in their order."""
    normalize = Normalize(**IMAGENET_NORMALIZE)
    encoder.eval()
    parts = []
    for part in torch.from_numpy(images).permute(0, 3, 1, 2).split(500):
        part = normalize(part / 255.0).contiguous(memory_format=torch.channels_last)
        parts.append(encoder(part).numpy())
    return np.concatenate(parts)


def main(flags):
    """A whole run; returns what is to be known of it."""
    torch.manual_seed(flags.seed)
    images = {name: images_of(Path(flags.images, f"{name}.npy")) for name in ("train", "test")}
    pairs = small_pairs(images["train"])
    seconds, loader = fastest_loader(pairs, flags.width)
    model, steps = build_model(flags.width), max(1, round(60 * flags.minutes / seconds))
    loss, ends = train(model, loader, steps)
    np.savez(
        flags.representations, **{name: represent(model[0], of) for name, of in images.items()}
    )
    return {
        "steps": steps,
        "epochs": steps * BATCH / len(pairs),
        "batch_size": BATCH,
        "seconds": round(ends[-1], 1),
        "images_per_second": round(steps * BATCH / ends[-1], 1),
        "loss": loss,
        "settings": {
            "projector_dims": [DIM, DIM],
            "redundancy_weight": REDUNDANCY_WEIGHT,
            **SGD,
            "workers": loader.num_workers,
            "threads": torch.get_num_threads(),
        },
        "versions": {
            library.__name__: str(library.__version__) for library in (torch, torchvision, lightly)
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", required=True, help="folder of train.npy and test.npy")
    parser.add_argument("--representations", required=True, help="file to write, .npz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(main(parser.parse_args())))

"""Pretraining of lightly for some minutes, with the settings of its own benchmark on CIFAR-10.

    .venv-bench/bin/python benchmarks/contestants/lightly_pretrain.py \\
        --images=FOLDER --minutes=10 --width=16 --seed=0 --features=FILE.npz

FOLDER holds train.npy and test.npy, uint8 [count, 32, 32, 3]. FILE gets their features as `train`
and `test`. The last line of stdout is the result of the training as JSON.

The script first measures the speed with one and with two workers, and trains with the faster
number. The reported seconds run from the start of the training to its last step.

Source: lightly-ai/lightly, docs/source/getting_started/benchmarks/cifar10_benchmark.py.
Differs from source: the encoder, lightly's own with its initialization, has any width. The cosine
follows steps, because two or three epochs are too few for a schedule by epochs.
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
from images import load_images
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
WARM_UP_STEPS, MEASURED_STEPS = 8, 40  # a loader starts four batches ahead


def build_model(width):
    """Returns encoder and projector as one model."""
    resnet = ResNetGenerator("resnet-18", width=width / FULL_WIDTH)
    parts = [*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    hidden = (8 * width, DIM, nn.BatchNorm1d(DIM), nn.ReLU(inplace=True))
    projector = ProjectionHead([hidden, (DIM, DIM, None, None)])
    model = nn.Sequential(nn.Sequential(*parts), projector)
    return model.to(memory_format=torch.channels_last)


def train(model, loader, steps):
    """Trains with a cosine schedule over these steps.

    Returns:
        loss: Loss of the last step.
        end_times: Time at which each step ended, in seconds from the start.
    """
    criterion = BarlowTwinsLoss(lambda_param=REDUNDANCY_WEIGHT)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start, end_times = time.perf_counter(), []
    for views in itertools.islice(epochs(loader), steps):
        loss = train_step(model, criterion, optimizer, views)
        cosine.step()
        end_times.append(time.perf_counter() - start)
    return loss, end_times


def epochs(loader):
    """Yields batches of epoch after epoch, without end."""
    while True:
        yield from loader


def fastest_loader(pairs, width):
    """Measures each number of workers, each with a model of its own.

    Returns:
        seconds: Seconds per step with the best number of workers.
        loader: Its `DataLoader`, with started workers.
    """
    measured = []
    for workers in WORKERS:
        loader = DataLoader(
            pairs, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
        )
        _, times = train(build_model(width), loader, WARM_UP_STEPS + MEASURED_STEPS)
        measured.append(((times[-1] - times[WARM_UP_STEPS - 1]) / MEASURED_STEPS, loader))
    return min(measured, key=operator.itemgetter(0))


@torch.no_grad()
def extract_features(encoder, images):
    """Returns the features of images without augmentation, in their order."""
    normalize = Normalize(**IMAGENET_NORMALIZE)
    encoder.eval()
    parts = []
    for part in torch.from_numpy(images).permute(0, 3, 1, 2).split(500):
        part = normalize(part / 255.0).contiguous(memory_format=torch.channels_last)
        parts.append(encoder(part).numpy())
    return np.concatenate(parts)


def main(flags):
    """Trains, writes the features and returns the result."""
    torch.manual_seed(flags.seed)
    images = {name: load_images(Path(flags.images, f"{name}.npy")) for name in ("train", "test")}
    pairs = small_pairs(images["train"])
    seconds, loader = fastest_loader(pairs, flags.width)
    model, steps = build_model(flags.width), max(1, round(60 * flags.minutes / seconds))
    loss, end_times = train(model, loader, steps)
    features = {name: extract_features(model[0], array) for name, array in images.items()}
    np.savez(flags.features, **features)
    return {
        "steps": steps,
        "epochs": steps * BATCH / len(pairs),
        "batch_size": BATCH,
        "seconds": round(end_times[-1], 1),
        "images_per_second": round(steps * BATCH / end_times[-1], 1),
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
    parser.add_argument("--features", required=True, help="file to write, .npz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(main(parser.parse_args())))

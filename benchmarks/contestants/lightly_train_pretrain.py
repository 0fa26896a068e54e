"""Pretraining of LightlyTrain for some minutes, with its defaults.

    .venv-bench/bin/python benchmarks/contestants/lightly_train_pretrain.py --image_dir=FOLDER \\
        --image_size=64 --minutes=8 --seed=0 --images=FOLDER --features=FILE.npz

The files of --image_dir are trained on: SimCLR and torchvision's ResNet-18, with the settings that
LightlyTrain chooses. --images holds train.npy and test.npy, uint8 [count, side, side, 3]. FILE gets
their features as `train` and `test`. The last line of stdout is the result of the training as JSON.

Without --epochs the script first trains for one and for two epochs, to find how many fit into the
minutes. The reported seconds are those of the last training, with all that LightlyTrain does in it.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import lightly_train
import numpy as np
import torch
import torchvision
from images import load_images
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torchvision.transforms import Normalize

MODEL, METHOD = "resnet18", "simclr"
BATCH = 128  # LightlyTrain's default


def train(flags, epochs, out):
    """Trains for some epochs, and returns the seconds it took."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        lightly_train.pretrain(
            out=out,
            data=flags.image_dir,
            model=f"torchvision/{MODEL}",
            method=METHOD,
            epochs=epochs,
            batch_size=BATCH,
            seed=flags.seed,
            transform_args={"image_size": (flags.image_size, flags.image_size)},
            overwrite=True,
        )
    return time.perf_counter() - start


@torch.no_grad()
def extract_features(out, images):
    """Returns the features of images by the exported model, in their order."""
    model = torchvision.models.get_model(MODEL)
    model.load_state_dict(torch.load(f"{out}/exported_models/exported_last.pt", weights_only=True))
    model.fc = torch.nn.Identity()
    model.eval()
    normalize = Normalize(**IMAGENET_NORMALIZE)
    parts = torch.from_numpy(images).permute(0, 3, 1, 2).split(200)
    return np.concatenate([model(normalize(part / 255.0)).numpy() for part in parts])


def main(flags):
    """Trains, writes the features and returns the result."""
    with tempfile.TemporaryDirectory() as out:
        epochs = flags.epochs
        if epochs is None:
            one, two = (train(flags, epochs, out) for epochs in (1, 2))
            epochs = max(1, round((60 * flags.minutes - one) / (two - one)) + 1)
        seconds = train(flags, epochs, out)
        images = {
            name: load_images(Path(flags.images, f"{name}.npy")) for name in ("train", "test")
        }
        features = {name: extract_features(out, array) for name, array in images.items()}
    np.savez(flags.features, **features)
    steps = epochs * (len(images["train"]) // BATCH)
    return {
        "steps": steps,
        "epochs": epochs,
        "batch_size": BATCH,
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * BATCH / seconds, 1),
        "settings": {"model": MODEL, "method": METHOD},
        "versions": {
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
            "lightly_train": lightly_train.__version__,
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image_dir", required=True, help="folder of the training images")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--images", required=True, help="folder of train.npy and test.npy")
    parser.add_argument("--features", required=True, help="file to write, .npz")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--epochs", type=int, help="instead of measuring how many fit")
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(main(parser.parse_args())))

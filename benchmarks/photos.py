"""Images a second from photographs of 12 megapixels into a step, with keras_bt and torchvision.

    make bench-setup
    python benchmarks/photos.py > results/photos.jsonl

Both read the same JPEG files. keras_bt gives the batches from which a step cuts its views: the
whole photos, squashed, with their true sizes. "Cropped" adds one random crop of each photo.
torchvision cannot batch whole photos, so it crops: RandomResizedCrop to the size, then ToTensor.

In its first epoch keras_bt reads the files once, writes reduced images, and reads those; from the
second epoch on it reads only those. torchvision's ImageFolder decodes the files in each epoch, in
two workers of a DataLoader. A step is an epoch.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from race import PEERS, Case, Contestant, main
from sklearn.datasets import load_sample_images

WIDTH, HEIGHT = 4000, 3000
AIMS = {"first epoch": (3.0, 3.0), "later epochs": (50.0, 15.0)}  # at 64 and at 224 pixels
CONTESTANTS = (
    Contestant("keras_bt", "keras_bt_photos", {"cropped": False}),
    Contestant("keras_bt, cropped", "keras_bt_photos", {"cropped": True}),
    Contestant("torchvision, ImageFolder, 2 workers", "torchvision_photos", python=PEERS),
)


def write_photos(folder, count):
    """Writes photographs of 12 megapixels: parts of two of scikit-learn's, enlarged, with noise.

    Only the first eight are different from each other. Returns the mean size in megabytes.
    """
    random, encoded = np.random.default_rng(0), []
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for number in range(count):
        file = Path(folder, "photos", f"{number:04}.jpg")
        file.parent.mkdir(exist_ok=True)
        if number >= 8:
            file.write_bytes(encoded[number % 8])
            continue
        left, top = random.integers(0, (640 - 512, 427 - 384))
        part = photos[number % 2].crop((left, top, left + 512, top + 384))
        pixels = np.asarray(part.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), "float32")
        pixels += random.normal(0.0, 7.0, pixels.shape)
        Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(file, quality=90)
        encoded.append(file.read_bytes())
    return sum(map(len, encoded)) / len(encoded) / 1e6


def cases(flags):
    """Returns the cases, after writing the photographs."""
    megabytes = write_photos(flags.folder, flags.images)
    print(f"{flags.images} photographs, {megabytes:.1f} MB each", file=sys.stderr)
    return [
        Case(
            f"{size} px, {epoch}",
            {"folder": flags.folder, "size": size, "batch": 16, "first": epoch == "first epoch"},
            images=flags.images,
            wanted={CONTESTANTS[-1].name: aim},
        )
        for epoch, aims in AIMS.items()
        for size, aim in zip((64, 224), aims, strict=True)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=128, help="number of photographs")
    with tempfile.TemporaryDirectory() as folder:
        parser.set_defaults(folder=folder)
        main("photos", cases, CONTESTANTS, amount=3.0, parser=parser)

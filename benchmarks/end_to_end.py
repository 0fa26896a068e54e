"""Images per second of whole trainings on CIFAR-10, beside lightly as its users write it.

    python benchmarks/end_to_end.py > results/end_to_end.jsonl

Trains a ResNet-18 of width 16 and a projector of three layers on batches of 256. keras_bt trains
like `keras-bt pretrain --recipe=cifar10 --optimizer=lars`. lightly trains like its own Barlow Twins
example, with two workers. Both read the decoded images from memory.
"""

import argparse
import functools
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from race import PEERS, Case, Contestant, main

CONTESTANTS = (
    Contestant("keras_bt", "keras_bt_fit"),
    Contestant("lightly, 2 workers, channels last", "lightly_fit", python=PEERS),
    Contestant("keras_bt, bfloat16", "keras_bt_fit", {"precision": "mixed_bfloat16"}),
    Contestant("lightly, bfloat16", "lightly_fit", {"bfloat16": True}, PEERS),
)
BATCH = 256


def cases(flags, folder):
    """Returns a case for each width of the projector, after saving the images to the folder."""
    images = Path(folder, "cifar10.npy")
    save_images(images, flags.data_dir)
    return [
        Case(
            f"projector {dim}",
            {"images": str(images), "width": 16, "batch": BATCH, "dims": (dim, dim, dim)},
            images=BATCH,
            wanted={"lightly, 2 workers, channels last": wanted},
        )
        for dim, wanted in ((2048, 2.5), (8192, 3.0))
    ]


def save_images(path, data_dir):
    """Saves CIFAR-10's training images as an array, if the data set is prepared.

    Without the file, contestants report what is missing.
    """
    import tensorflow_datasets as tfds

    from keras_bt.data import from_tfds

    if tfds.builder("cifar10", data_dir=data_dir).is_prepared():
        np.save(path, as_arrays(from_tfds("cifar10", data_dir).train)["image"])


def as_arrays(images, size=32):
    """Returns all images of a `data.Images` at `size` pixels: {"image", "label"}."""
    batches = list(images.batches(1000, size=size))
    return {key: np.concatenate([batch[key] for batch in batches]) for key in ("image", "label")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", help="folder of TensorFlow Datasets")
    with tempfile.TemporaryDirectory() as folder:
        cases_of_flags = functools.partial(cases, folder=folder)
        main("end_to_end", cases_of_flags, CONTESTANTS, rounds=3, amount=12.0, parser=parser)

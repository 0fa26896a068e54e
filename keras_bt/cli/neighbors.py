"""Finds the images of a folder that are most similar to a given one.

    keras-bt neighbors --features=features.parquet --image=photos/cat.jpg --out=near.png

Searches a file of `keras-bt features`, and prints a line of JSON for each image found: its path
and the cosine similarity. The image may be in the folder. For any other image, the encoder of the
file extracts the features. --out draws the image beside those found.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl.flags import FlagValues
from PIL import Image

import keras_bt
from keras_bt import data
from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.data.manifest import is_prepared

TILE, GAP = 128, 4  # pixels


def _define_flags(values: FlagValues) -> None:
    search = FlagGroup(values, "Search")
    search.string("features", None, "File written by `keras-bt features`.")
    search.string("image", None, "The image to compare with.")
    search.integer("count", 10, "Number of images to find.", 1)
    search.string("encoder", None, "Folder of the encoder, if it has moved.")
    FlagGroup(values, "Output").string("out", None, "Picture to draw: the image and those found.")


def run(invocation: Invocation) -> None:
    """Prints the nearest images, without the image itself."""
    flags = invocation.flags
    features = keras_bt.read_features(flags.features)
    image, root = Path(flags.image).expanduser().absolute(), Path(features.metadata["image_dir"])
    own_path = os.path.relpath(image, root)
    query = _stored(features, own_path)
    if query is None:
        query = _extracted(flags, image, features.metadata)
    nearest = keras_bt.nearest_images(features, query, flags.count + 1)
    found = [(path, cosine) for path, cosine in nearest if path != own_path][: flags.count]
    for path, cosine in found:
        print(json.dumps({"path": path, "cosine": round(cosine, 4)}), flush=True)
    if flags.out:
        _draw([image, *(root / path for path, _ in found)], flags.out, features.metadata)


def _stored(features: Any, path: str) -> np.ndarray | None:
    """The features of an image in the file; None if it is not there."""
    for paths, vectors in features.parts():
        if path in paths:
            return vectors[paths.index(path)]
    return None


def _extracted(flags: FlagValues, image: Path, metadata: Mapping[str, Any]) -> np.ndarray:
    """Extracts the features of an image that is not in the file, with the file's encoder."""
    folder = flags.encoder or metadata.get("encoder")
    if folder is None:
        raise ValueError(f"{flags.features} does not name its encoder; give --encoder.")
    encoder = keras_bt.load_encoder(folder)
    if encoder.digest != metadata.get("encoder_digest", encoder.digest):
        raise ValueError(f"{flags.features} was written with another encoder than {folder}.")
    images = _image_of(image, metadata)
    return keras_bt.extract_features(encoder, images.batches(1, metadata["image_size"]))[0][0]


def _image_of(path: Path, metadata: Mapping[str, Any]) -> data.Images:
    """A single image as `Images`, framed as those of the file of features."""
    images, root = None, Path(metadata["image_dir"])
    if path.exists():
        images, _ = data.from_files([str(path)], str(path.parent))
    elif is_prepared(root):
        prepared = data.Prepared(root)
        if str(path) in prepared.paths:
            images = prepared.images(str(root), [prepared.paths.index(str(path))])
    if images is None:
        raise ValueError(f"{path} cannot be read as an image.")
    return images.framed(metadata.get("framing", "square"))


def _draw(paths: Sequence[Path], out: str, metadata: Mapping[str, Any]) -> None:
    """Draws a row of images, with a gap after the first."""
    row = Image.new("RGB", (len(paths) * (TILE + GAP) + GAP, TILE), "white")
    for number, path in enumerate(paths):
        images = _image_of(path, metadata)
        side = min(TILE, images.largest_size or TILE)
        pixels = next(iter(images.batches(1, side)))["image"].numpy()[0]
        tile = Image.fromarray(pixels).resize((TILE, TILE))
        row.paste(tile, (number * (TILE + GAP) + GAP * (number > 0), 0))
    row.save(out)


COMMAND = Command(
    name="neighbors",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("features", "image", "out", "count"),
    required=("features", "image"),
)
main = COMMAND.main

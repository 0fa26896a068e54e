"""The images of a folder that are nearest to a given one, from a file of embed.py.

    python examples/neighbors.py --features=features.parquet --image=photos/cat.jpg --out=near.png

Prints a JSON line an image: its path and the cosine. The image may be one of the folder, or any
other if the encoder is still where it was or --encoder names it. --out draws them.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from PIL import Image

import keras_bt
from keras_bt import data

FLAGS = flags.FLAGS
TILE, GAP = 128, 4  # pixels

flags.DEFINE_string("features", None, "File of embed.py.", required=True)
flags.DEFINE_string("image", None, "The image to find others like.", required=True)
flags.DEFINE_string("encoder", None, "Folder of the encoder, if it is no longer where it was.")
flags.DEFINE_integer("count", 10, "How many to find.", 1)
flags.DEFINE_string("out", None, "Picture to draw, of the image and those found.")


def neighbors():
    """The nearest images to the one the flags name, that one left out: pairs (path, cosine)."""
    representations = keras_bt.read_features(FLAGS.features)
    image, root = (
        Path(FLAGS.image).expanduser().absolute(),
        Path(representations.about["image_dir"]),
    )
    own = os.path.relpath(image, root)
    query = stored(representations, own)
    if query is None:
        query = embedded(image, representations.about)
    found = keras_bt.nearest_images(representations, query, FLAGS.count + 1)
    return root, [(path, cosine) for path, cosine in found if path != own][: FLAGS.count]


def stored(representations, path):
    """The representation of an image in the file; None if it is not there."""
    for paths, vectors in representations.parts():
        if path in paths:
            return vectors[paths.index(path)]
    return None


def embedded(image, about):
    """The representation of any other image, by the encoder of the file."""
    folder = FLAGS.encoder or about.get("encoder")
    if folder is None:
        raise ValueError(f"{FLAGS.features} does not tell its encoder; give --encoder.")
    encoder = keras_bt.load_encoder(folder)
    if encoder.digest != about.get("encoder_digest", encoder.digest):
        raise ValueError(f"{folder} is not the encoder that {FLAGS.features} is of.")
    images, _ = data.from_files([str(image)], str(image.parent))
    return keras_bt.extract_features(encoder, images.batches(1, about["image_size"]))[0][0]


def draw(paths, out):
    """A row of images, the first one set off from the others."""
    tiles = [next(iter(tile_of(path))) for path in paths]
    row = Image.new("RGB", (len(tiles) * (TILE + GAP) + GAP, TILE), "white")
    for number, tile in enumerate(tiles):
        row.paste(Image.fromarray(tile), (number * (TILE + GAP) + GAP * (number > 0), 0))
    row.save(out)


def tile_of(path):
    images, _ = data.from_files([str(path)], str(path.parent))
    return (batch["image"].numpy()[0] for batch in images.batches(1, TILE))


def main(arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        root, found = neighbors()
        for path, cosine in found:
            print(json.dumps({"path": path, "cosine": round(cosine, 4)}))
        if FLAGS.out:
            draw([Path(FLAGS.image), *(root / path for path, _ in found)], FLAGS.out)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"neighbors: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)

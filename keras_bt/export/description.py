"""What an exported encoder's folder says of it, and whether its files are still as they were."""

import hashlib
import json

import keras
import tensorflow as tf

from keras_bt.export.forward import input_shape_of
from keras_bt.export.model_card import model_card

DESCRIPTION, CARD = "assets.extra/encoder.json", "README.md"


def describe(folder, encoder, image_size, signatures, metadata):
    """Writes what there is to know of a SavedModel into its folder, and its model card.

    Args:
        folder: `Path` of the SavedModel.
        encoder: `keras.Model` that is in it.
        image_size: Int or None. Side of the images it is meant for, in pixels.
        signatures: Dict from the names of its signatures to concrete functions.
        metadata: Dict that JSON can hold, or None.
    """
    description = {
        **(metadata or {}),
        "inputs": "float32 RGB in [0, 1], [batch, height, width, channels]",
        "input_shape": input_shape_of(encoder),
        "image_size": image_size,
        "features": signatures["serving_default"].structured_outputs["features"].shape[-1],
        "signatures": sorted(signatures),
        "parameters": encoder.count_params(),
        "computes_in": encoder.compute_dtype,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "sha256": {
            str(file.relative_to(folder)): _sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }
    file = folder / DESCRIPTION
    file.parent.mkdir()
    file.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(description), encoding="utf-8")


def undamaged_description(folder):
    """Compares files with their checksums: TensorFlow loads changed constants in silence."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        digests = description["sha256"]
    except (FileNotFoundError, KeyError, TypeError):
        return {}  # nothing that `export_encoder` wrote
    except ValueError as error:
        raise ValueError(f"{folder} is damaged: {DESCRIPTION} is not JSON.") from error
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or _sha256(file) != digest:
            raise ValueError(f"{folder} is damaged: {name} is not as it was exported.")
    return description


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

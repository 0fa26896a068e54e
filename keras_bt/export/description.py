"""Writes the metadata of an exported encoder with checksums, and verifies them on loading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support.version import __version__
from keras_bt.export.forward import input_shape_of
from keras_bt.export.model_card import model_card

DESCRIPTION, CARD = "assets.extra/encoder.json", "README.md"


def write_description(
    folder: Path,
    encoder: keras.Model,
    image_size: int | None,
    framing: str,
    signatures: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
) -> None:
    """Writes the metadata of a SavedModel and its model card into its folder.

    Args:
        folder: Path of the SavedModel.
        encoder: The model that was saved.
        image_size: Height and width of the intended images, in pixels, if known.
        framing: How images become squares of that size.
        signatures: Concrete functions by the name of their signature.
        metadata: Further metadata for JSON, such as the result of a run.
    """
    description = {
        **(metadata or {}),
        "inputs": "float32 RGB in [0, 1], [batch, height, width, channels]",
        "input_shape": input_shape_of(encoder),
        "image_size": image_size,
        "framing": framing,
        "features": signatures["serving_default"].structured_outputs["features"].shape[-1],
        "signatures": sorted(signatures),
        "parameters": encoder.count_params(),
        "computes_in": encoder.compute_dtype,
        "keras_bt_version": __version__,
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


def checked_description(folder: Path) -> dict[str, Any]:
    """Reads the metadata of an exported encoder and compares its files with their checksums.

    TensorFlow itself loads files with changed constants without an error.

    Args:
        folder: Path of a SavedModel.

    Returns:
        The metadata; empty if `export_encoder` did not write the folder.

    Raises:
        ValueError: If a file is missing or differs.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        digests = description["sha256"]
    except (FileNotFoundError, KeyError, TypeError):
        return {}
    except ValueError as error:
        raise ValueError(f"{folder} is damaged: {DESCRIPTION} is not JSON.") from error
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or _sha256(file) != digest:
            raise ValueError(f"{folder} is damaged: {name} is missing or has changed.")
    return description


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

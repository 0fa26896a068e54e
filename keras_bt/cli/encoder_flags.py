"""The flags that name an encoder, and what is known of it."""

import json
from pathlib import Path
from typing import Any

import keras
from absl.flags import FlagValues

import keras_bt
from keras_bt.cli.command import FlagGroup
from keras_bt.export.forward import framing_of

ENCODERS = ("encoder", "model")  # one of them must be given


def define_encoder_flags(values: FlagValues) -> None:
    """Adds the flags that name an encoder."""
    encoder = FlagGroup(values, "Encoder")
    encoder.string("encoder", None, "Folder of an exported encoder.")
    encoder.string(
        "model", None, "Instead of --encoder: a .keras file of a BarlowTwins or of an encoder."
    )


def open_encoder(flags: FlagValues, trainable: bool = False) -> keras.Layer:
    """The encoder that the flags name.

    Raises:
        ValueError: If they name no encoder, or it cannot be loaded.
    """
    if flags.encoder is not None:
        return keras_bt.load_encoder(flags.encoder, trainable)
    if flags.model is None:
        raise ValueError("--encoder or --model is missing: give one of them.")
    model = keras.saving.load_model(flags.model, compile=False)
    return model.encoder if isinstance(model, keras_bt.BarlowTwins) else model


def result_of_model(flags: FlagValues) -> dict[str, Any]:
    """The result of the run that wrote --model, if it is in the model's folder."""
    file = Path(flags.model).with_name("result.json")
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def framing_of_flags(flags: FlagValues, encoder: keras.Layer) -> str:
    """How the encoder's images become squares: as its export or its run says."""
    if flags.encoder is not None:
        return framing_of(encoder)
    return result_of_model(flags).get("framing", "square")

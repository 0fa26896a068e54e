"""The flags that name an encoder."""

import keras
from absl.flags import FlagValues

import keras_bt
from keras_bt.cli.command import FlagGroup

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

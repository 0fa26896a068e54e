"""Exports an encoder as a SavedModel, or to ONNX or LiteRT.

    keras-bt export --model=runs/digits/model.keras --out=encoders/digits
    keras-bt export --encoder=runs/digits/encoder --out=digits.onnx --format=onnx

The model is a saved `BarlowTwins`, or any Keras model from images to features. The SavedModel's
model card shows the metrics of the result.json in the model's folder. Prints the path.
"""

from absl.flags import FlagValues

import keras_bt
from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.cli.encoder_flags import (
    ENCODERS,
    define_encoder_flags,
    open_encoder,
    result_of_model,
)

SAVED_MODEL_ONLY = ("image_size", "licence")


def _define_flags(values: FlagValues) -> None:
    define_encoder_flags(values)
    output = FlagGroup(values, "Output")
    output.string("out", None, "Folder or file to write.")
    output.enum(
        "format",
        "saved_model",
        ("saved_model", "onnx", "litert", "litert_int8"),
        "ONNX needs pip install 'keras-bt[onnx]', LiteRT needs 'keras-bt[litert]'.",
    )
    output.bool("overwrite", "Replace an existing file or folder.")
    saved_model = FlagGroup(values, "SavedModel only")
    saved_model.integer(
        "image_size",
        None,
        "Side to which image files are resized; by default that of the encoder.",
        1,
    )
    saved_model.string("licence", None, "Licence, for the model card.")


def run(invocation: Invocation) -> None:
    """Exports the encoder, and prints the path."""
    flags = invocation.flags
    if flags.format == "saved_model":
        path = _export_saved_model(flags)
    else:
        for name in SAVED_MODEL_ONLY:
            if flags[name].value is not None:
                raise ValueError(f"--{name} has no effect with --format={flags.format}.")
        encoder = open_encoder(flags)
        if flags.format == "onnx":
            path = keras_bt.export_onnx(encoder, flags.out, overwrite=flags.overwrite)
        else:
            int8 = flags.format == "litert_int8"
            path = keras_bt.export_litert(encoder, flags.out, int8=int8, overwrite=flags.overwrite)
    print(path, flush=True)


def _export_saved_model(flags: FlagValues) -> str:
    if flags.encoder is not None:
        raise ValueError(
            "--encoder is a SavedModel already; give --model, or --format=onnx or litert."
        )
    licence = {"licence": flags.licence} if flags.licence else {}
    encoder, metadata = open_encoder(flags), result_of_model(flags) | licence
    return keras_bt.export_encoder(
        encoder,
        flags.out,
        image_size=flags.image_size or metadata.get("image_size"),
        framing=metadata.get("framing", "square"),
        metadata=metadata,
        overwrite=flags.overwrite,
    )


COMMAND = Command(
    name="export",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("model", "encoder", "out", "format"),
    required=("out",),
    exclusive=(ENCODERS,),
)
main = COMMAND.main

"""Imports a ResNet from PyTorch, for example the official weights of Barlow Twins.

    keras-bt import-torch --checkpoint=resnet50.pth --out=encoders/resnet50
    keras-bt import-torch --checkpoint=checkpoint.pth --out=encoders/resnet50 \\
        --projector=encoders/projector.keras

The file holds weights of torchvision or of the official code, alone or inside the checkpoint of a
whole training. PyTorch is not needed, and no code in the file is run. Prints the path.
"""

import logging
from pathlib import Path

from absl.flags import FlagValues

import keras_bt
from keras_bt._support import atomic
from keras_bt.cli.command import Command, FlagGroup, Invocation


def _define_flags(values: FlagValues) -> None:
    weights = FlagGroup(values, "Weights")
    weights.string("checkpoint", None, "File written by torch.save.")
    output = FlagGroup(values, "Output")
    output.string("out", None, "Folder of the SavedModel to write.")
    output.string("keras", None, "Also write the encoder to this .keras file.")
    output.string("projector", None, "Also write the projector to this .keras file.")
    output.integer(
        "image_size", 224, "Side to which the SavedModel resizes image files, in pixels.", 1
    )
    output.string("licence", None, "Licence of the weights, for the model card.")
    output.bool("overwrite", "Replace existing files and folders.")


def run(invocation: Invocation) -> None:
    """Imports the checkpoint, and prints the path of the SavedModel."""
    flags = invocation.flags
    logging.getLogger("keras_bt").setLevel(logging.INFO)
    for name in ("keras", "projector"):
        file = flags[name].value
        if file is not None and not file.endswith(".keras"):
            raise ValueError(f"--{name} must end in .keras, got {file}.")
        if file is not None and Path(file).exists() and not flags.overwrite:
            raise FileExistsError(f"{file} exists; --overwrite replaces it.")
    encoder, projector = keras_bt.import_torch_resnet(flags.checkpoint)
    if flags.projector and projector is None:
        raise ValueError(f"{flags.checkpoint} holds no projector.")
    metadata = {"recipe": f"imported from PyTorch, {Path(flags.checkpoint).name}"}
    if flags.licence:
        metadata["licence"] = flags.licence
    path = keras_bt.export_encoder(
        encoder,
        flags.out,
        image_size=flags.image_size,
        metadata=metadata,
        overwrite=flags.overwrite,
    )
    for file, model in ((flags.keras, encoder), (flags.projector, projector)):
        if file is not None and model is not None:
            with atomic.replacing(Path(file)) as aside:
                model.save(aside)
    print(path, flush=True)


COMMAND = Command(
    name="import-torch",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    first=("checkpoint", "out"),
    required=("checkpoint", "out"),
)
main = COMMAND.main

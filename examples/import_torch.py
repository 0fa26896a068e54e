"""Makes a Keras encoder of a ResNet from PyTorch, the official weights of Barlow Twins say.

    python examples/import_torch.py --checkpoint=resnet50.pth --out=encoders/resnet50
    python examples/import_torch.py --checkpoint=checkpoint.pth --out=encoders/resnet50 \\
        --projector=encoders/projector.keras

The checkpoint is torchvision's or the official code's, alone or inside of a whole training's.
PyTorch is not needed, and nothing in the file is run.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging

import keras_bt
from keras_bt._support import atomic

FLAGS = flags.FLAGS

flags.DEFINE_string("checkpoint", None, "The file of torch.save.", required=True)
flags.DEFINE_string("out", None, "Folder of the SavedModel to write.", required=True)
flags.DEFINE_string("keras", None, "A .keras file to write too, to go on with in Python.")
flags.DEFINE_string("projector", None, "A .keras file to write the projector to.")
flags.DEFINE_integer(
    "image_size", 224, "Side to which the SavedModel brings files of images, in pixels.", 1
)
flags.DEFINE_string("licence", None, "What the model card says of the weights' use.")
flags.DEFINE_bool("overwrite", False, "Whether what is there may be replaced.")


def import_checkpoint():
    """Writes what the flags name; the path of the SavedModel."""
    for name in ("keras", "projector"):
        file = FLAGS[name].value
        if file is not None and not file.endswith(".keras"):
            raise ValueError(f"--{name} must end in .keras, got {file}.")
        if file is not None and Path(file).exists() and not FLAGS.overwrite:
            raise FileExistsError(f"{file} exists; --overwrite replaces it.")
    encoder, projector = keras_bt.import_torch_resnet(FLAGS.checkpoint)
    if FLAGS.projector and projector is None:
        raise ValueError(f"{FLAGS.checkpoint} holds no projector.")
    metadata = {"recipe": f"imported from PyTorch, {Path(FLAGS.checkpoint).name}"}
    if FLAGS.licence:
        metadata["licence"] = FLAGS.licence
    path = keras_bt.export_encoder(
        encoder,
        FLAGS.out,
        image_size=FLAGS.image_size,
        metadata=metadata,
        overwrite=FLAGS.overwrite,
    )
    for file, model in ((FLAGS.keras, encoder), (FLAGS.projector, projector)):
        if file is not None:
            with atomic.replacing(Path(file)) as aside:
                model.save(aside)
    return path


def main(arguments):
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        print(import_checkpoint())
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"import_torch: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)

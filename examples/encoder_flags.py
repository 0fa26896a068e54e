"""The flags by which an example is told of an encoder."""

import keras
from absl import flags

import keras_bt

FLAGS = flags.FLAGS

flags.DEFINE_string("encoder", None, "Folder of the exported encoder.")
flags.DEFINE_string("model", None, "In its place a .keras file, of a BarlowTwins or an encoder.")
flags.mark_flags_as_mutual_exclusive(["encoder", "model"], required=True)


def open_encoder(trainable=False):
    """The encoder the flags name."""
    if FLAGS.encoder is not None:
        return keras_bt.load_encoder(FLAGS.encoder, trainable)
    model = keras.saving.load_model(FLAGS.model, compile=False)
    return model.encoder if isinstance(model, keras_bt.BarlowTwins) else model

"""An exported encoder as a Keras layer."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.export.description import undamaged_description
from keras_bt.functional.image import as_unit_range


def load_encoder(path, trainable=False):
    """An exported encoder as a Keras layer, to use as it is or to fine-tune.

    Args:
        path: Folder written by `export_encoder`.
        trainable: Bool. If false nothing in it ever changes, batch-norm statistics
            included.

    Returns:
        `ExportedEncoder`, a Keras layer from float images in [0, 1] to features.

    Raises:
        ValueError: If the folder holds no reusable SavedModel, or a damaged one.

    Example:
        >>> load_encoder("no/such/folder")
        Traceback (most recent call last):
            ...
        ValueError: There is no SavedModel in no/such/folder.
    """
    return ExportedEncoder(path, trainable=trainable)


@keras.saving.register_keras_serializable(package="keras_bt")
class ExportedEncoder(keras.layers.Layer):
    """A reusable SavedModel as a Keras layer; it shares the SavedModel's variables.

    Args:
        folder: Folder written by `export_encoder`.
        trainable: Bool. See `load_encoder`.
        **kwargs: `keras.layers.Layer`'s `name` and `dtype`.

    Call arguments:
        inputs: uint8 in 0...255 or floating point in [0, 1], [batch, height, width,
            channels].
        training: Bool. With `trainable`, whether batch statistics are used and updated.

    Attributes:
        description: Dict. What its exporter said of it; empty if nothing.
        digest: String that tells it from other encoders; None where its exporter kept none.

    Raises:
        ValueError: If the folder holds no reusable SavedModel, or a damaged one.
    """

    def __init__(self, folder, trainable=False, **kwargs):
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.folder = str(Path(folder).expanduser())
        self.description = undamaged_description(Path(self.folder))
        if not tf.saved_model.contains_saved_model(self.folder):
            raise ValueError(f"There is no SavedModel in {self.folder}.")
        self._module = tf.saved_model.load(self.folder)
        signatures = getattr(self._module, "signatures", {})
        signature = signatures.get("serving_default")
        outputs = getattr(signature, "structured_outputs", {})
        if signature is None or not callable(self._module) or "features" not in outputs:
            raise ValueError(
                f"The SavedModel in {self.folder} is not a reusable one: it lacks __call__ or the "
                "signature serving_default from 'inputs' to 'features'."
            )
        self.input_spec = keras.layers.InputSpec(
            shape=signature.structured_input_signature[1]["inputs"].shape
        )
        learned = {id(variable) for variable in self._module.trainable_variables}
        for variable in self._module.variables:
            shared = keras.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=id(variable) in learned,
                dtype=variable.dtype.name,
                name=variable.name.split(":")[0].replace("/", "_"),
            )
            compat.share_variable(shared, variable)
            self._track_variable(shared)
        self.built = True

    @property
    def digest(self):
        checksums = self.description.get("sha256")
        return checksums and checksums.get("variables/variables.data-00000-of-00001")

    def call(self, inputs, training=False):
        # The SavedModel holds traces for Python's True and False only.
        images = as_unit_range(inputs)
        features = self._module(images, training=bool(self.trainable and training))
        if self.trainable:
            for regularization in self._module.regularization_losses:
                self.add_loss(regularization())
        return features

    def compute_output_shape(self, input_shape):
        signature = self._module.signatures["serving_default"]
        return (input_shape[0], signature.structured_outputs["features"].shape[-1])

    def get_config(self):
        return {**super().get_config(), "folder": self.folder}

    @classmethod
    def from_config(cls, config):
        # A SavedModel is code: Keras's TFSMLayer asks for the same trust.
        if compat.in_safe_mode():
            raise ValueError(
                f"This model runs the SavedModel in {config['folder']}; pass safe_mode=False to "
                "load_model() if you trust it."
            )
        return cls(**config)

"""Loads an exported encoder as a Keras layer."""

from os import PathLike
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt._support.literal_paths import check_utf8, literal
from keras_bt.export.description import checked_description
from keras_bt.functional.image import as_unit_range


def load_encoder(path: str | PathLike[str], trainable: bool = False) -> "ExportedEncoder":
    """Loads an exported encoder as a Keras layer, to use as it is or to fine-tune.

    Args:
        path: Folder written by `export_encoder`.
        trainable: Whether training changes its weights and batch-norm statistics.

    Returns:
        Keras layer from images, uint8 or float in [0, 1], to features.

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
    """A Keras layer around a reusable SavedModel, with the SavedModel's own variables.

    Args:
        folder: Folder written by `export_encoder`.
        trainable: See `load_encoder`.
        **kwargs: `name` and `dtype` of `keras.Layer`.

    Call arguments:
        inputs: uint8 in 0...255 or floating point in [0, 1], [batch, height, width,
            channels].
        training: Whether batch statistics are used and updated; ignored unless `trainable`.

    Attributes:
        description: The metadata of the export; empty if there is none.

    Raises:
        ValueError: If the folder holds no reusable SavedModel, or a damaged one.
    """

    def __init__(self, folder: str | PathLike[str], trainable: bool = False, **kwargs: Any) -> None:
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.folder = str(Path(folder).expanduser())
        check_utf8(Path(self.folder))
        self.description = checked_description(Path(self.folder))
        if not tf.saved_model.contains_saved_model(self.folder):
            raise ValueError(f"There is no SavedModel in {self.folder}.")
        with literal(Path(self.folder)) as readable:
            self._module = tf.saved_model.load(str(readable))
        signatures = getattr(self._module, "signatures", {})
        signature = signatures.get("serving_default")
        outputs = getattr(signature, "structured_outputs", {})
        if signature is None or not callable(self._module) or "features" not in outputs:
            raise ValueError(
                f"The SavedModel in {self.folder} is not a reusable one: it needs __call__ and a "
                "signature serving_default from 'inputs' to 'features'."
            )
        self.input_spec = keras.layers.InputSpec(
            shape=signature.structured_input_signature[1]["inputs"].shape
        )
        trainable_ids = {id(variable) for variable in self._module.trainable_variables}
        for variable in self._module.variables:
            shared = keras.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=id(variable) in trainable_ids,
                dtype=variable.dtype.name,
                name=variable.name.split(":")[0].replace("/", "_"),
            )
            compat.share_variable(shared, variable)
            self._track_variable(shared)
        self.built = True

    @property
    def digest(self) -> str | None:
        """Checksum of the weights, which identifies the encoder; None without metadata."""
        checksums = self.description.get("sha256")
        return checksums and checksums.get("variables/variables.data-00000-of-00001")

    def call(self, inputs: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        # The SavedModel has traces for Python's True and False only.
        images = as_unit_range(inputs)
        features = self._module(images, training=bool(self.trainable and training))
        if self.trainable:
            for regularization in self._module.regularization_losses:
                self.add_loss(regularization())
        return features

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        signature = self._module.signatures["serving_default"]
        return (input_shape[0], signature.structured_outputs["features"].shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "folder": self.folder}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ExportedEncoder":
        # A SavedModel is code. Keras's TFSMLayer requires safe_mode=False too.
        if compat.in_safe_mode():
            raise ValueError(
                f"This model runs the SavedModel in {config['folder']}; pass safe_mode=False to "
                "load_model() if you trust it."
            )
        return cls(**config)

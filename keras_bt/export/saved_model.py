"""The encoder as a TF Hub style SavedModel, and back as a Keras layer.

`keras.Model.export` will not do: its root cannot be called, has no `training` switch and
no regularization losses, and stores every weight twice.
"""

import hashlib
import json
from pathlib import Path

import keras
import tensorflow as tf

from keras_bt import atomic
from keras_bt.functional.image import as_unit_range

DESCRIPTION = "assets.extra/encoder.json"


def export_encoder(encoder, path, *, metadata=None, overwrite=False):
    """Writes the encoder as a reusable SavedModel of TF Hub's image feature vector kind.

        module = tensorflow_hub.load(path)         # needs neither Keras nor keras_bt
        features = module(images)                  # float32 RGB in [0, 1], NHWC
        features = module(images, training=True)   # batch statistics, for fine-tuning

    The folder appears whole or not at all: it is written beside `path`, loaded again and
    compared with the encoder, and only then renamed. Its description holds checksums of all
    other files, by which `load_encoder` knows damage.

    Args:
        encoder: `keras.Model`, float [batch, height, width, channels] in [0, 1] to
            [batch, features].
        path: Folder to write.
        metadata: Dict that JSON can hold, kept in the folder's assets.extra/encoder.json.
        overwrite: Bool. Whether an existing `path` may be replaced.

    Returns:
        The path, a string.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false.
        ValueError: If the encoder is not built or does not return [batch, features].
        OSError: If it cannot be written, saying how much room is needed.
        RuntimeError: If called inside a strategy's scope, or if the reloaded SavedModel
            disagrees with the encoder.

    Example:
        >>> from keras_bt import networks
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> encoder = networks.resnet18((8, 8, 3), width=1, stem="small")
        >>> path = export_encoder(encoder, folder + "/encoder")
        >>> tf.saved_model.load(path)(tf.zeros([3, 8, 8, 3])).shape
        TensorShape([3, 8])

    Source: tensorflow/hub docs/reusable_saved_models.md and
        docs/common_saved_model_apis/images.md.
    """
    target = Path(path).expanduser().absolute()
    if target.exists() and not (overwrite and target.is_dir()):
        if overwrite:
            raise FileExistsError(f"{target} is a file, not a folder that could be replaced.")
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    if tf.distribute.has_strategy():
        raise RuntimeError("export_encoder has to be called outside strategy.scope().")
    input_shape = _input_shape(encoder)
    module = _reusable_module(encoder, input_shape)
    signature = module.serving_default.get_concrete_function()

    with atomic.replacing(target, 4 * encoder.count_params()) as aside:
        tf.saved_model.save(module, str(aside), signatures={"serving_default": signature})
        _describe(aside, encoder, input_shape, signature, metadata)
        _check_reloaded(aside, encoder, input_shape)
    return str(target)


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

    Raises:
        ValueError: If the folder holds no reusable SavedModel, or a damaged one.
    """

    def __init__(self, folder, trainable=False, **kwargs):
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.folder = str(Path(folder).expanduser())
        self.description = _undamaged_description(Path(self.folder))
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
            shared._value = variable
            self._track_variable(shared)
        self.built = True

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
        if keras.src.saving.serialization_lib.in_safe_mode():
            raise ValueError(
                f"This model runs the SavedModel in {config['folder']}; pass safe_mode=False to "
                "load_model() if you trust it."
            )
        return cls(**config)


def _reusable_module(encoder, input_shape):
    spec = tf.TensorSpec(input_shape, tf.float32, name="inputs")

    def forward(inputs, training):
        # Signatures do not enforce static sizes; without this a gray image would
        # broadcast against the three means of the normalization.
        inputs = tf.ensure_shape(inputs, input_shape)
        features = tf.cast(encoder(inputs, training=training), tf.float32)
        if features.shape.rank != 2:
            raise ValueError(f"The encoder must return [batch, features], got {features.shape}.")
        return features

    # tf.Module will not do: its `variables` are read-only. tf.train.Checkpoint would add a
    # counter to the weights.
    module = tf.__internal__.tracking.AutoTrackable()
    call = tf.function(lambda inputs, training=False: forward(inputs, training), autograph=False)
    for training in ({}, {"training": False}, {"training": True}):
        call.get_concrete_function(spec, **training)
    module.__call__ = call
    module.serving_default = tf.function(
        lambda inputs: {"features": forward(inputs, False)}, input_signature=[spec], autograph=False
    )
    # The tf.Variables behind Keras's: with Keras's every weight would be written twice.
    module.variables = [variable.value for variable in encoder.variables]
    module.trainable_variables = [variable.value for variable in encoder.trainable_variables]
    module.regularization_losses = [
        _regularization(variable)
        for variable in encoder.trainable_variables
        if variable.regularizer
    ]
    return module


def _regularization(variable):
    return tf.function(
        lambda: tf.cast(variable.regularizer(variable.value), tf.float32),
        input_signature=[],
        autograph=False,
    )


def _input_shape(encoder):
    if not encoder.built:
        raise ValueError("The encoder is not built; call it on a batch of images first.")
    input_shape = getattr(encoder, "input_shape", None)
    if input_shape is None:  # a subclassed model knows the shape it was first called with
        input_shape = (encoder._build_shapes_dict or {}).get("input_shape")
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 4:
        raise ValueError(
            f"The encoder must take [batch, height, width, channels], got {input_shape}."
        )
    return (None, *input_shape[1:])


def _describe(folder, encoder, input_shape, signature, metadata):
    description = {
        "inputs": "float32 RGB in [0, 1], [batch, height, width, channels]",
        "input_shape": input_shape,
        "features": signature.structured_outputs["features"].shape[-1],
        "parameters": encoder.count_params(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        **(metadata or {}),
        "sha256": {
            str(file.relative_to(folder)): _sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }
    file = folder / DESCRIPTION
    file.parent.mkdir()
    file.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _undamaged_description(folder):
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


def _check_reloaded(folder, encoder, input_shape):
    sides = [side or 64 for side in input_shape[1:]]
    images = tf.random.stateless_uniform([2, *sides], seed=[0, 1])
    expected = tf.cast(encoder(images, training=False), tf.float32)
    reloaded = tf.saved_model.load(str(folder))
    difference = tf.reduce_max(tf.abs(reloaded(images) - expected))
    scale = tf.reduce_max(tf.abs(expected))
    if not difference <= 1e-4 * scale + 1e-6:  # NaN included
        raise RuntimeError(
            f"The exported encoder differs from the one in memory by {float(difference):g} "
            f"(largest feature {float(scale):g}); nothing was written."
        )

"""Exports to ONNX and LiteRT: the same features, or a one-line error and no file."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.export.forward import check_same

onnxruntime = pytest.importorskip("onnxruntime")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

SUFFIXES = {keras_bt.export_onnx: ".onnx", keras_bt.export_litert: ".tflite"}
EXPORTS = pytest.mark.parametrize("export", SUFFIXES, ids=["onnx", "litert"])


def floats(rng, *shape):
    return rng.uniform(size=shape).astype("float32")


def run(path, images):
    """Runs an exported file in its own runtime."""
    if path.endswith(".onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["features"], {"inputs": images})[0]
    return interpreter.Interpreter(path).get_signature_runner()(inputs=images)["features"]


@pytest.fixture
def trained():
    """A narrow ResNet whose weights and batch statistics differ from the initial ones."""
    encoder = keras_bt.resnet18((None, None, 3), width=2, stem="small")
    for number, variable in enumerate(encoder.weights):
        random = np.random.default_rng(number)
        variable.assign(variable + 0.1 * random.uniform(size=variable.shape))
    return encoder


def assert_same(features, expected, tolerance):
    np.testing.assert_allclose(features, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "export",
    [
        pytest.param(keras_bt.export_onnx, id="onnx"),
        pytest.param(keras_bt.export_litert, id="litert", marks=pytest.mark.slow),
    ],
)
def test_features_equal_the_encoders_for_all_batch_and_image_sizes(trained, tmp_path, rng, export):
    path = export(trained, tmp_path / f"encoder{SUFFIXES[export]}")
    for shape in ((1, 16, 16, 3), (5, 16, 16, 3), (2, 24, 17, 3)):
        images = floats(rng, *shape)
        assert_same(run(path, images), trained(images), 1e-5)


@pytest.mark.slow
@EXPORTS
def test_converts_loaded_saved_model(trained, tmp_path, rng, export):
    folder = keras_bt.export_encoder(trained, tmp_path / "encoder", image_size=16)
    layer = keras_bt.load_encoder(folder)
    path = export(layer, tmp_path / f"encoder{SUFFIXES[export]}")
    images = floats(rng, 2, 16, 16, 3)
    assert_same(run(path, images), trained(images), 1e-5)


@pytest.mark.slow
@EXPORTS
def test_exports_16_bit_encoder_in_float32(tmp_path, rng, export):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = keras_bt.resnet18((16, 16, 3), width=2, stem="small")
    finally:
        keras.config.set_dtype_policy("float32")
    float32_encoder = keras_bt.resnet18((16, 16, 3), width=2, stem="small")
    float32_encoder.set_weights(encoder.get_weights())
    path = export(encoder, tmp_path / f"encoder{SUFFIXES[export]}")
    images = floats(rng, 2, 16, 16, 3)
    assert_same(run(path, images), float32_encoder(images), 1e-5)
    assert encoder.get_layer("conv1").compute_dtype == "bfloat16"


@pytest.mark.slow
def test_int8_is_smaller_with_similar_features(trained, tmp_path, rng):
    encoder = keras_bt.resnet18((16, 16, 3), width=16, stem="small")
    full = keras_bt.export_litert(encoder, tmp_path / "full.tflite")
    small = keras_bt.export_litert(encoder, tmp_path / "small.tflite", int8=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("small.tflite", "full.tflite")]
    assert sizes[0] < 0.4 * sizes[1]
    images = floats(rng, 3, 16, 16, 3)
    assert_same(run(small, images), encoder(images), 0.05)
    assert np.abs(run(small, images) - run(full, images)).max() > 0


def erf_encoder():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.Lambda(lambda x: keras.ops.erfinv(keras.ops.tanh(x)))(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.slow
@EXPORTS
def test_conversion_failure_is_one_line_without_a_file(tmp_path, export, caplog):
    message = r"^This encoder cannot be converted to (\w+): \1 has no Erfinv\.$"
    with pytest.raises(ValueError, match=message):
        export(erf_encoder(), tmp_path / f"encoder{SUFFIXES[export]}")
    assert not list(tmp_path.iterdir())
    assert not [record for record in caplog.records if record.name.startswith("tf2onnx")]


class Captures(keras.layers.Layer):
    """Uses tensors that are neither weights nor made in `call`, inside a compiled function."""

    def __init__(self, pixels):
        super().__init__()
        self.order = tf.constant(np.arange(pixels)[::-1].copy())
        self.scale = tf.random.stateless_uniform([pixels], [0, 1])

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, 1, 6))

    def call(self, images):
        @tf.function(jit_compile=True)
        def convolve(x):
            @tf.function(jit_compile=True)
            def grouped(x):
                return tf.nn.conv2d(x, self.kernel, 1, "SAME")

            return grouped(x) + self.scale[:6]

        pixels = tf.reshape(images, [-1, len(self.order)])
        shuffled = tf.gather(pixels, self.order, axis=1) * self.scale
        return convolve(tf.reshape(shuffled, tf.shape(images)))


@pytest.mark.slow
@EXPORTS
def test_converts_captured_constants_and_compiled_functions(tmp_path, rng, export):
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.6, 0.7])(x)
    x = keras.layers.Conv2D(6, 3, groups=3)(Captures(192)(x))
    encoder = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    path = export(encoder, tmp_path / f"encoder{SUFFIXES[export]}")
    images = floats(rng, 2, 8, 8, 3)
    assert_same(run(path, images), encoder(images), 1e-5)


@pytest.mark.slow
@EXPORTS
def test_exact_gelu_is_that_of_keras_on_its_tails_too(tmp_path, export):
    x = inputs = keras.Input((8, 8, 3))
    x = keras.activations.gelu(keras.layers.Rescaling(24.0, -12.0)(x), approximate=False)
    encoder = keras.Model(inputs, keras.layers.Flatten()(x))
    path = export(encoder, tmp_path / f"encoder{SUFFIXES[export]}")
    images = np.linspace(0, 1, 192, dtype="float32").reshape(1, 8, 8, 3)
    np.testing.assert_allclose(run(path, images), encoder(images), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@EXPORTS
def test_writes_no_file_with_other_features(trained, tmp_path, export, monkeypatch):
    def check_with_changed_features(features, expected, name, tolerance):
        check_same(features, 1.01 * expected, name, tolerance)

    monkeypatch.setattr("keras_bt.export.conversion.check_same", check_with_changed_features)
    with pytest.raises(RuntimeError, match="differs from the encoder in memory"):
        export(trained, tmp_path / f"encoder{SUFFIXES[export]}")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@EXPORTS
def test_rejects_wrong_suffix_and_existing_file(trained, tmp_path, export):
    with pytest.raises(ValueError, match=f"must end in {SUFFIXES[export]}, got encoder.pb"):
        export(trained, tmp_path / "encoder.pb")
    file = tmp_path / f"encoder{SUFFIXES[export]}"
    file.write_text("mine")
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        export(trained, file)
    assert file.read_text() == "mine"


@pytest.mark.slow
@EXPORTS
def test_names_missing_package(trained, tmp_path, export, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ImportError, match=r"This needs \w+.*: pip install 'keras-bt\["):
        export(trained, tmp_path / f"encoder{SUFFIXES[export]}")


@EXPORTS
def test_rejects_subclassed_16_bit_encoder_with_advice(tmp_path, export, rng):
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.dense = keras.layers.Dense(5, dtype="mixed_bfloat16")

        def call(self, inputs, training=False):
            return self.dense(keras.ops.mean(inputs, (1, 2)))

    encoder = Encoder()
    encoder(floats(rng, 2, 8, 8, 3))
    with pytest.raises(ValueError, match="computes in bfloat16.*build it in float32"):
        export(encoder, tmp_path / f"encoder{SUFFIXES[export]}")

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.export import saved_model
from keras_bt.export.forward import framing_of
from keras_bt.export.image_bytes import images_from_bytes
from keras_bt.functional.framing import FRAMINGS, IN_WORDS, frame


@pytest.fixture
def encoder():
    """A few weights with batch norm and a regularizer; takes images of any size."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x)))
    batch_norm = model.layers[2]
    batch_norm.moving_mean.assign(0.1 * tf.range(6, dtype=tf.float32))
    return model


@pytest.fixture
def exported(encoder, tmp_path):
    return keras_bt.export_encoder(encoder, tmp_path / "encoder", metadata={"recipe": "none"})


def floats(rng, *shape):
    return rng.uniform(size=shape).astype("float32")


CLIENT = """
import sys
import numpy as np
import tensorflow_hub

module = tensorflow_hub.load(sys.argv[1])
np.save(sys.argv[3], module(np.load(sys.argv[2])))
assert not any(name.startswith("keras_bt") for name in sys.modules)
"""


@pytest.mark.slow
def test_tensorflow_hub_loads_it_without_keras_bt(tmp_path, rng):
    encoder = keras_bt.resnet18((8, 8, 3), width=4, stem="small")
    model = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(32, (16, 8)), keras_bt.small_image_views(8, seed=0)
    )
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    images = floats(rng, 16, 8, 8, 3)
    model.fit(images, batch_size=8, epochs=2, verbose=0)
    path = keras_bt.export_encoder(model.encoder, tmp_path / "encoder")
    np.save(tmp_path / "images.npy", images)
    arguments = [path, str(tmp_path / "images.npy"), str(tmp_path / "features.npy")]
    subprocess.run(
        [sys.executable, "-c", CLIENT, *arguments], check=True, cwd=tmp_path, timeout=300
    )
    expected = model.predict(images, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        np.load(tmp_path / "features.npy"), expected, rtol=1e-5, atol=1e-5 * scale
    )


@pytest.mark.slow
def test_has_interface_of_reusable_saved_model(encoder, exported, rng):
    module = tf.saved_model.load(exported)
    for shape in ((1, 8, 8, 3), (5, 11, 7, 3)):
        images = floats(rng, *shape)
        for arguments in ({}, {"training": False}):
            np.testing.assert_allclose(
                module(images, **arguments), encoder(images, training=False), atol=1e-6
            )
        features = module.signatures["serving_default"](inputs=tf.constant(images))
        np.testing.assert_allclose(features["features"], encoder(images), atol=1e-6)
    assert len(module.variables) == len(encoder.variables) == 6
    assert len(module.trainable_variables) == len(encoder.trainable_variables) == 4
    penalties = [penalty() for penalty in module.regularization_losses]
    np.testing.assert_allclose(sum(penalties), sum(encoder.losses), rtol=1e-6)


@pytest.mark.slow
def test_training_uses_and_updates_batch_statistics(encoder, exported, rng):
    images = floats(rng, 8, 8, 8, 3)
    module = tf.saved_model.load(exported)
    expected = encoder(images, training=True)
    np.testing.assert_allclose(module(images, training=True), expected, atol=1e-6)
    for got, wanted in zip(module.variables, encoder.variables, strict=True):
        np.testing.assert_allclose(got, wanted.value, atol=1e-6)


@pytest.mark.slow
def test_weights_are_written_once(encoder, exported):
    stored = tf.train.list_variables(exported + "/variables/variables")
    values = [name for name, _ in stored if name.endswith("VARIABLE_VALUE")]
    assert len(values) == len(encoder.variables)


@pytest.mark.slow
def test_writes_metadata(exported):
    description = json.loads(Path(exported, "assets.extra", "encoder.json").read_text())
    assert description["features"] == 6
    assert description["input_shape"] == [None, None, None, 3]
    assert description["recipe"] == "none"
    assert description["keras_bt_version"] == keras_bt.__version__


@pytest.mark.slow
def test_16_bit_encoder_returns_float32(tmp_path, rng):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = keras_bt.resnet18((8, 8, 3), width=2, stem="small")
    finally:
        keras.config.set_dtype_policy("float32")
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    assert tf.saved_model.load(path)(floats(rng, 2, 8, 8, 3)).dtype == tf.float32


def png_and_jpeg(rng, side):
    pixels = tf.constant(rng.integers(0, 256, (side, side, 3)), tf.uint8)
    return tf.io.encode_png(pixels), tf.io.encode_jpeg(pixels[:, : side - 3], quality=95)


@pytest.mark.slow
def test_encodes_image_files_as_an_evaluation_does(tmp_path, rng):
    encoder = keras_bt.resnet18((12, 12, 3), width=2, stem="small")
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    encode = tf.saved_model.load(path).signatures["serving_encoded"]
    files = [*png_and_jpeg(rng, 12), *png_and_jpeg(rng, 30)]
    features = encode(image_bytes=tf.stack(files))["features"]
    images = images_from_bytes(tf.stack(files), 12)
    np.testing.assert_allclose(features, encoder(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        encode(image_bytes=tf.stack([files[0], tf.constant(b"not an image")]))


@pytest.mark.slow
def test_stores_intended_size_of_encoder_of_any_size(encoder, tmp_path):
    folder = keras_bt.export_encoder(encoder, tmp_path / "a", image_size=10)
    assert "serving_encoded" in tf.saved_model.load(folder).signatures
    assert keras_bt.load_encoder(folder).description["image_size"] == 10
    folder = keras_bt.export_encoder(encoder, tmp_path / "b")
    assert "serving_encoded" not in tf.saved_model.load(folder).signatures


@pytest.mark.slow
def test_endpoints_return_stages_and_features(tmp_path, rng):
    encoder = keras_bt.resnet18((16, 16, 3), width=2, stem="small")
    module = tf.saved_model.load(keras_bt.export_encoder(encoder, tmp_path / "encoder"))
    images = tf.constant(floats(rng, 2, 16, 16, 3))
    outputs = module.signatures["endpoints"](inputs=images)
    assert {name: tuple(output.shape[1:]) for name, output in outputs.items()} == {
        "stride_1": (16, 16, 2),
        "stride_2": (8, 8, 4),
        "stride_4": (4, 4, 8),
        "stride_8": (2, 2, 16),
        "features": (16,),
    }
    np.testing.assert_allclose(outputs["features"], encoder(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_refuses_pixels_out_of_range(encoder, exported, rng):
    module = tf.saved_model.load(exported)
    message = r"must be RGB in \[0, 1\]"
    for images in (255 * floats(rng, 2, 8, 8, 3), floats(rng, 2, 8, 8, 3) - 2):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            module(images)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            module.signatures["serving_default"](inputs=tf.constant(images))
        with pytest.raises(ValueError, match=message):
            keras_bt.load_encoder(exported)(images)


@pytest.mark.slow
def test_refuses_other_dtypes(exported, rng):
    integers = tf.constant(rng.integers(0, 256, (2, 8, 8, 3)), tf.int32)
    with pytest.raises(TypeError, match="must be uint8 in 0...255 or floating point"):
        keras_bt.load_encoder(exported)(integers)
    with pytest.raises(ValueError, match="matching"):
        tf.saved_model.load(exported)(integers)


@pytest.mark.slow
def test_every_signature_refuses_other_channels(exported, rng):
    module, gray = tf.saved_model.load(exported), floats(rng, 2, 8, 8, 1)
    with pytest.raises(ValueError, match=r"shape=\(None, None, None, 3\)"):
        module(gray)
    for name in ("serving_default", "endpoints"):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[2,8,8,1\].*\[\?,\?,\?,3\]"):
            module.signatures[name](inputs=tf.constant(gray))
    with pytest.raises(
        ValueError, match=r"expected axis -1.*3|expected shape=\(None, None, None, 3\)"
    ):
        keras_bt.load_encoder(exported)(gray)


@pytest.mark.slow
def test_keeps_existing_folder(encoder, exported, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileExistsError, match=r"encoder exists; pass overwrite=True"):
        keras_bt.export_encoder(encoder, exported)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_overwriting_leaves_no_other_files(encoder, exported, tmp_path, rng):
    encoder.layers[1].kernel.assign(2 * encoder.layers[1].kernel)
    keras_bt.export_encoder(encoder, exported, overwrite=True)
    images = floats(rng, 2, 8, 8, 3)
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), encoder(images), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["tf.saved_model.save", "_check_reloaded", "write_description"])
def test_failed_export_keeps_the_old_one(encoder, exported, tmp_path, monkeypatch, fails, rng):
    images = floats(rng, 2, 8, 8, 3)
    expected = encoder(images).numpy()

    def disk_full(*arguments, **more):
        raise OSError("no space left on device")

    owner = tf.saved_model if "." in fails else saved_model
    monkeypatch.setattr(owner, fails.rsplit(".")[-1], disk_full)
    with pytest.raises(OSError, match="no space left"):
        keras_bt.export_encoder(encoder, exported, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), expected, atol=1e-6)


@pytest.mark.slow
def test_raises_if_reloaded_encoder_differs(encoder, tmp_path, monkeypatch):
    class Other:
        def __call__(self, images):
            return tf.fill([2, 6], float("nan"))

    monkeypatch.setattr(tf.saved_model, "load", lambda path: Other())
    with pytest.raises(RuntimeError, match="differs from the encoder in memory"):
        keras_bt.export_encoder(encoder, tmp_path / "encoder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "is not built"),
        (
            lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]),
            r"\[batch, height, width, channels\], got \(None, 8\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()]),
            r"\[batch, features\], got \(None, 8, 8, 3\)",
        ),
    ],
)
def test_rejects_wrong_encoders(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        keras_bt.export_encoder(wrong(), tmp_path / "encoder")


def test_rejects_call_inside_strategy_scope(encoder, tmp_path):
    with (
        tf.distribute.OneDeviceStrategy("/cpu:0").scope(),
        pytest.raises(RuntimeError, match="outside strategy"),
    ):
        keras_bt.export_encoder(encoder, tmp_path / "encoder")


@pytest.mark.slow
def test_exports_subclassed_encoder(tmp_path, rng):
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(5)

        def call(self, inputs, training=False):
            return self.dense(keras.ops.mean(inputs, (1, 2)))

    encoder, images = Encoder(), floats(rng, 2, 8, 8, 3)
    expected = encoder(images)
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    np.testing.assert_allclose(tf.saved_model.load(path)(images), expected, atol=1e-6)


def classifier(exported, trainable):
    encoder = keras_bt.load_encoder(exported, trainable=trainable)
    model = keras.Sequential([keras.Input((8, 8, 3)), encoder, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return encoder, model


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
def test_loaded_layer_trains_only_if_trainable(exported, rng, trainable):
    encoder, model = classifier(exported, trainable)
    before = [weight.numpy().copy() for weight in encoder.weights]
    assert len(encoder.trainable_weights) == (4 if trainable else 0)
    model.fit(floats(rng, 8, 8, 8, 3), np.ones((8, 2)), epochs=2, verbose=0)
    changed = [
        np.abs(w.numpy() - b).max() > 0 for w, b in zip(encoder.weights, before, strict=True)
    ]
    assert changed == [trainable] * 6
    assert len(model.losses) == int(trainable)


@pytest.mark.slow
def test_saves_model_with_loaded_layer(exported, tmp_path, rng):
    _, model = classifier(exported, trainable=True)
    images = floats(rng, 8, 8, 8, 3)
    model.fit(images, np.ones((8, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.saving.load_model(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_allclose(reloaded(images), model(images), atol=1e-6)


def test_rejects_folders_without_encoder(tmp_path):
    with pytest.raises(ValueError, match="There is no SavedModel in .*missing"):
        keras_bt.load_encoder(tmp_path / "missing")
    module = tf.Module()
    module.call = tf.function(lambda x: x, input_signature=[tf.TensorSpec([])])
    tf.saved_model.save(module, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="other is not a reusable one"):
        keras_bt.load_encoder(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_loaded_layer_ignores_mixed_precision(encoder, exported, rng, policy):
    images = floats(rng, 2, 8, 8, 3)
    keras.config.set_dtype_policy(policy)
    try:
        features = keras_bt.load_encoder(exported)(images)
    finally:
        keras.config.set_dtype_policy("float32")
    assert features.dtype == tf.float32
    np.testing.assert_allclose(features, encoder(images), atol=1e-6)


@pytest.mark.slow
def test_loads_from_home_folder_and_takes_uint8(encoder, exported, images, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(exported).parent))
    features = keras_bt.load_encoder("~/encoder")(images)
    np.testing.assert_allclose(features, encoder(images / np.float32(255)), atol=1e-5)


def test_does_not_replace_file_by_folder(encoder, tmp_path):
    (tmp_path / "encoder").write_text("mine")
    with pytest.raises(FileExistsError, match="encoder is a file"):
        keras_bt.export_encoder(encoder, tmp_path / "encoder", overwrite=True)
    assert (tmp_path / "encoder").read_text() == "mine"


@pytest.mark.slow
def test_encoder_with_synchronized_batch_norm_can_be_fine_tuned(encoder, tmp_path, rng):
    encoder.layers[2].synchronized = True
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    assert encoder.layers[2].synchronized
    layer = keras_bt.load_encoder(path, trainable=True)
    x = floats(rng, 8, 9, 9, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    assert all(g is not None for g in tape.gradient(loss, layer.trainable_variables))


@pytest.mark.parametrize("name", ["a [1]/encoder", "back\\slash*"])
def test_folder_may_have_any_name(encoder, tmp_path, rng, name):
    folder = keras_bt.export_encoder(encoder, tmp_path / name, overwrite=True)
    images = floats(rng, 2, 8, 8, 3)
    layer = keras_bt.load_encoder(folder)
    np.testing.assert_allclose(layer(images), encoder(images), rtol=1e-5, atol=1e-6)
    assert layer.get_config()["folder"] == folder


def test_folder_that_is_not_utf8_is_refused(encoder, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    message = r"caf\\udce9' is not UTF-8, as TensorFlow needs"
    with pytest.raises(ValueError, match=message):
        keras_bt.export_encoder(encoder, folder)
    with pytest.raises(ValueError, match=message):
        keras_bt.load_encoder(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("framing", FRAMINGS)
def test_serving_encoded_follows_the_framing(encoder, tmp_path, rng, framing):
    pixels = rng.integers(0, 256, (20, 50, 3)).astype("uint8")
    png = tf.io.encode_png(pixels)
    folder = keras_bt.export_encoder(encoder, tmp_path / "a", image_size=10, framing=framing)
    encode = tf.saved_model.load(folder).signatures["serving_encoded"]
    features = encode(image_bytes=png[None])["features"]
    framed = frame(tf.constant(pixels), 10, framing)
    expected = encoder(tf.cast(framed, tf.float32)[None] / 255)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert keras_bt.load_encoder(folder).description["framing"] == framing
    assert framing_of(keras_bt.load_encoder(folder)) == framing
    assert IN_WORDS[framing] in (tmp_path / "a" / "README.md").read_text()


def test_an_unknown_framing_is_refused_before_anything_is_written(encoder, tmp_path):
    with pytest.raises(ValueError, match="framing must be one of .* got 'middle'"):
        keras_bt.export_encoder(encoder, tmp_path / "a", image_size=10, framing="middle")
    assert not list(tmp_path.iterdir())

"""Programs without keras_bt that use an exported encoder."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt

HUB_CLIENT = """
import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
from sklearn.datasets import load_digits

folder, trainable = sys.argv[1], sys.argv[2] == "trainable"
digits = load_digits()
images = np.repeat(digits.images[..., np.newaxis] / 16, 3, -1).astype("float32")
train, test = slice(0, 1200), slice(1200, None)
layer = hub.KerasLayer(folder, trainable=trainable)
before = [value.numpy() for value in layer.resolved_object.variables]
model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layer, tf_keras.layers.Dense(10)])
loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(tf_keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
accuracy = [model.evaluate(images[test], digits.target[test], verbose=0)[1]]
model.fit(images[train], digits.target[train], batch_size=60, epochs=4, verbose=0)
accuracy.append(model.evaluate(images[test], digits.target[test], verbose=0)[1])
after = [value.numpy() for value in layer.resolved_object.variables]
changed = sum(bool((a != b).any()) for a, b in zip(after, before))
assert not any(name.startswith("keras_bt") for name in sys.modules)
print(json.dumps({"accuracy": accuracy, "changed": changed, "losses": len(model.losses)}))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(0)
    encoder = keras_bt.resnet18((8, 8, 3), width=4, stem="small")
    # As after some training: with gammas of 0 some weights get no gradient in the first step.
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(tf.ones_like(layer.gamma))
    path = keras_bt.export_encoder(encoder, tmp_path_factory.mktemp("client") / "encoder")
    return path, encoder


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
def test_hub_layer_in_tf_keras_trains_all_or_no_weights(exported, tmp_path, trainable):
    path, encoder = exported
    done = subprocess.run(
        [sys.executable, "-c", HUB_CLIENT, path, "trainable" if trainable else "frozen"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["changed"] == (len(encoder.variables) if trainable else 0)
    before, after = result["accuracy"]
    assert after > (before + 0.3 if trainable else before)


def saved_model_cli(*arguments):
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_the_encoder(exported, tmp_path, rng):
    path, encoder = exported
    shown = saved_model_cli("show", "--dir", path, "--all")
    for name in ("serving_default", "serving_encoded", "endpoints", "stride_4", "image_bytes"):
        assert name in shown
    images = rng.uniform(size=(3, 8, 8, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    signature = ("--dir", path, "--tag_set", "serve", "--signature_def")
    given = ("--inputs", f"inputs={tmp_path}/images.npy", "--outdir", str(tmp_path))
    saved_model_cli("run", *signature, "serving_default", *given)
    np.testing.assert_allclose(
        np.load(tmp_path / "features.npy"), encoder(images), rtol=1e-5, atol=1e-5
    )
    pixels = np.round(255 * images[:1]).astype("uint8")
    np.save(tmp_path / "files.npy", np.array([tf.io.encode_png(pixels[0]).numpy()]))
    given = ("--inputs", f"image_bytes={tmp_path}/files.npy", "--outdir", str(tmp_path))
    saved_model_cli("run", *signature, "serving_encoded", *given, "--overwrite")
    np.testing.assert_allclose(
        np.load(tmp_path / "features.npy"), encoder(pixels / np.float32(255)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_loaded_layer_trains_under_mirrored_strategy(exported, rng):
    path, encoder = exported
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    with strategy.scope():
        layer = keras_bt.load_encoder(path, trainable=True)
        model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [weight.numpy().copy() for weight in layer.weights]
    images = rng.uniform(size=(8, 8, 8, 3)).astype("float32")
    model.fit(images, np.ones((8, 2)), epochs=1, verbose=0)
    changed = [(w.numpy() != b).any() for w, b in zip(layer.weights, before, strict=True)]
    assert len(changed) == len(encoder.variables) and all(changed)

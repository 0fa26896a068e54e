"""Files of earlier versions still load and give the same numbers.

The files in tests/saved were written at commit 8257bfe, before the modules of keras_bt moved.
expected.npz holds 16 images, the features that each model predicted for them, and the loss of the
next epoch of each model.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt

SAVED = Path(__file__).parent / "saved"


@pytest.fixture(scope="module")
def expected():
    with np.load(SAVED / "expected.npz") as file:
        return dict(file)


@pytest.mark.slow
@pytest.mark.parametrize("load", [keras_bt.load_encoder, tf.saved_model.load])
def test_loads_exported_encoder(expected, load):
    encoder = load(str(SAVED / "encoder"))
    features = encoder(expected["images"] / np.float32(255))
    np.testing.assert_allclose(features, expected["model_features"], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "mixed_samples"])
def test_loads_model_and_continues_training(expected, name):
    model = keras.saving.load_model(SAVED / f"{name}.keras")
    images = expected["images"]
    features = model.predict(images, verbose=0)
    np.testing.assert_allclose(features, expected[f"{name}_features"], rtol=0, atol=1e-5)
    history = model.fit(images, batch_size=8, shuffle=False, epochs=1, verbose=0).history
    np.testing.assert_allclose(history["loss"][-1], expected[f"{name}_loss"], rtol=1e-4)

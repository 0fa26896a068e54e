"""Damaged files: refused, or loaded with the same features."""

import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_bt

FILES = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets.extra/encoder.json",
)


@pytest.fixture(scope="module")
def encoder():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def whole(encoder, tmp_path_factory):
    return Path(keras_bt.export_encoder(encoder, tmp_path_factory.mktemp("whole") / "encoder"))


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def damages(content):
    """Ten truncations of a file, and forty copies with one flipped bit."""
    yield from (content[: len(content) * tenth // 10] for tenth in range(10))
    for place in np.linspace(0, len(content) - 1, 40, dtype=int):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        yield bytes(flipped)


@pytest.mark.parametrize("name", FILES)
def test_refuses_damaged_encoder(whole, copy, name, images):
    expected = keras_bt.load_encoder(whole)(images)
    for damaged in damages((whole / name).read_bytes()):
        (copy / name).write_bytes(damaged)
        try:
            features = keras_bt.load_encoder(copy)(images)
        except ValueError as error:
            assert str(error).startswith(f"{copy} is damaged: ")
        else:
            assert name == "assets.extra/encoder.json"  # its other fields change no feature
            np.testing.assert_array_equal(features, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES[:-1])
def test_names_missing_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"copy is damaged: {name} is missing or has changed"):
        keras_bt.load_encoder(copy)


@pytest.mark.slow
def test_refuses_changed_constants_that_tensorflow_loads(whole, copy, images):
    graph = copy / "saved_model.pb"
    epsilon, other = (np.float32(value).tobytes() for value in (1e-3, 1.0))
    graph.write_bytes(graph.read_bytes().replace(epsilon, other))
    with pytest.raises(ValueError, match="is damaged: saved_model.pb"):
        keras_bt.load_encoder(copy)
    (copy / "assets.extra" / "encoder.json").unlink()
    difference = keras_bt.load_encoder(copy)(images) - keras_bt.load_encoder(whole)(images)
    assert np.abs(difference).max() > 1e-3


@pytest.mark.slow
def test_loads_encoder_without_checksums(whole, copy, images):
    expected = keras_bt.load_encoder(whole)(images)
    description = copy / "assets.extra" / "encoder.json"
    for content in ({"features": 4}, [], None):
        description.write_text(json.dumps(content))
        np.testing.assert_array_equal(keras_bt.load_encoder(copy)(images), expected)
    description.unlink()
    np.testing.assert_array_equal(keras_bt.load_encoder(copy)(images), expected)


@pytest.mark.slow
def test_refuses_damaged_keras_file(encoder, tmp_path, images):
    file = tmp_path / "model.keras"
    encoder.save(file)
    expected = encoder(images)
    refused = 0
    for damaged in damages(file.read_bytes()):
        file.write_bytes(damaged)
        try:
            reloaded = keras.saving.load_model(file)
        except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError):
            refused += 1
        else:  # a few bytes of a zip file mean nothing
            np.testing.assert_array_equal(reloaded(images), expected)
    assert refused > 40

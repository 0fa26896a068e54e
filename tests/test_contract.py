"""Every public Keras object has a complete config and reloads from a .keras file."""

import copy
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt

CASES = {
    "BarlowTwinsLoss": lambda: keras_bt.BarlowTwinsLoss(
        0.02, 1e-4, False, "gram", -1.0, name="mine"
    ),
    "LARS": lambda: keras_bt.LARS(0.3, 0.8, 1e-5, 2e-3, 0.05, name="mine", global_clipnorm=1.0),
    "BarlowTwinsView": lambda: keras_bt.BarlowTwinsView(
        (6, 8),
        crop_area=(0.2, 0.9),
        aspect_ratio=(0.5, 2.0),
        interpolation="bilinear",
        flip_rate=0.1,
        jitter_rate=0.2,
        brightness=0.3,
        contrast=0.35,
        saturation=0.45,
        hue=0.15,
        grayscale_rate=0.25,
        blur_rate=0.55,
        blur_sigma=(0.3, 1.0),
        solarize_rate=0.65,
        solarize_threshold=0.7,
        seed=0,
        name="mine",
    ),
    "AdamW": lambda: keras_bt.AdamW(0.3, weight_decay=0.2, beta_1=0.5, epsilon=0.1, name="mine"),
    "SyncBatchNormalization": lambda: keras_bt.SyncBatchNormalization(
        axis=1, momentum=0.5, epsilon=0.1, center=False, scale=False, name="mine"
    ),
    "BarlowTwins": lambda: keras_bt.BarlowTwins(
        keras_bt.resnet18((8, 8, 3), width=1, stem="small"),
        keras_bt.projector(8, (4,)),
        keras_bt.small_image_views(8, seed=0),
        micro_batches=2,
        name="mine",
    ),
}


def constructor_arguments(cls):
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD} - {"self"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_config_holds_every_argument_and_rebuilds_the_object(name):
    original = CASES[name]()
    config = original.get_config()
    assert constructor_arguments(type(original)) <= set(config)
    assert keras.saving.get_registered_name(type(original)) == f"keras_bt>{name}"
    rebuilt = type(original).from_config(copy.deepcopy(config))
    assert rebuilt.get_config() == config
    through_json = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(original)
    )
    assert through_json.get_config() == config


def test_cases_have_no_default_arguments():
    """A lost argument with its default value would pass the test above."""
    for name in ("BarlowTwinsLoss", "LARS", "BarlowTwinsView"):
        original = CASES[name]()
        config = original.get_config()
        for parameter in inspect.signature(type(original).__init__).parameters.values():
            if parameter.name == "redundancy":  # excludes others; see model/test_losses.py
                continue
            if parameter.default not in (inspect.Parameter.empty, None):
                assert config[parameter.name] != parameter.default, parameter.name


def test_cases_cover_every_public_class():
    classes = {name for name in keras_bt.__all__ if hasattr(getattr(keras_bt, name), "get_config")}
    assert classes == set(CASES)


def test_all_classes_reload_from_a_keras_file(tmp_path, images):
    config = {**CASES["BarlowTwinsView"]().get_config(), "image_size": 8}
    model = keras_bt.BarlowTwins(
        keras_bt.resnet18((8, 8, 3), width=1, stem="small"),
        keras_bt.projector(8, (4,)),
        (keras_bt.BarlowTwinsView.from_config(config), keras_bt.BarlowTwinsView(8, seed=1)),
    )
    model.compile(CASES["LARS"](), CASES["BarlowTwinsLoss"](), run_eagerly=True)
    model.fit(images, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    for part in ("loss", "optimizer"):
        assert getattr(reloaded, part).get_config() == getattr(model, part).get_config()
    assert [v.get_config() for v in reloaded.views] == [v.get_config() for v in model.views]
    for got, expected in zip(reloaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy())
    np.testing.assert_array_equal(
        reloaded.views[0](tf.constant(images)), model.views[0](tf.constant(images))
    )

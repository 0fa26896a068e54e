import dataclasses

import numpy as np
import pytest

from keras_bt.config import rules
from keras_bt.evaluation import (
    LINEAR_PROTOCOL,
    SEMI_SUPERVISED_PROTOCOL,
    Protocol,
    crop_and_flip,
    fine_tune,
    linear_evaluation,
)


def test_protocols_have_the_published_settings():
    assert dataclasses.asdict(LINEAR_PROTOCOL) == {
        "epochs": 100,
        "least_steps": 0,
        "batch_size": 256,
        "head_learning_rate": 0.3,
        "encoder_learning_rate": None,
        "momentum": 0.9,
        "weight_decay": 1e-6,
        "view": None,
        "load_size": None,
        "seed": 0,
    }
    assert dataclasses.asdict(SEMI_SUPERVISED_PROTOCOL) == {
        **dataclasses.asdict(LINEAR_PROTOCOL),
        "epochs": 20,
        "least_steps": 1000,
        "head_learning_rate": 0.5,
        "encoder_learning_rate": 0.005,
        "weight_decay": 0.0,
    }


def test_public_functions_default_to_the_published_settings():
    assert linear_evaluation.__kwdefaults__["epochs"] == 100
    assert linear_evaluation.__kwdefaults__["learning_rate"] == 0.3
    assert fine_tune.__kwdefaults__["encoder_learning_rate"] == 0.005
    assert fine_tune.__kwdefaults__["head_learning_rate"] == 0.5


def test_settings_depend_on_the_images():
    protocol = Protocol(epochs=3, least_steps=10, batch_size=8, head_learning_rate=1.0)
    assert (protocol.batch_size_for(5), protocol.epochs_for(5)) == (5, 10)
    assert (protocol.batch_size_for(17), protocol.epochs_for(17)) == (8, 5)
    assert protocol.epochs_for(80) == 3
    assert protocol.load_size_for(224) == rules.load_size(224)
    assert dataclasses.replace(protocol, load_size=9).load_size_for(224) == 9
    assert protocol.view_for(6)(np.zeros((1, 8, 8, 3), "uint8")).shape == (1, 6, 6, 3)
    assert dataclasses.replace(protocol, view=abs).view_for(6) is abs


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_errors_name_the_setting(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        dataclasses.replace(LINEAR_PROTOCOL, **{name: 0})


def test_crop_and_flip_keeps_colors():
    half = np.zeros((64, 8, 8, 3), "float32")
    half[:, :, :4] = [0.2, 0.5, 0.9]
    views = crop_and_flip(8, crop_area=(0.99, 1.0))(half).numpy()
    left = views[:, :, :4].mean(axis=(1, 2, 3)) > views[:, :, 4:].mean(axis=(1, 2, 3))
    assert 16 < left.sum() < 48
    brightest = views.max(axis=(1, 2))
    np.testing.assert_allclose(brightest, np.broadcast_to([0.2, 0.5, 0.9], (64, 3)), atol=1e-6)
    unmirrored = crop_and_flip(8, crop_area=(0.99, 1.0), flip_rate=0.0)(half).numpy()
    assert (unmirrored[:, :, :3].mean(axis=(1, 2, 3)) > 0.4).all()

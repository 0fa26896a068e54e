"""Training on several devices equals training on one: mirrored replicas and workers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

# Views take most of the time to trace a step, so that only one case has them.
FORMS_AND_OPTIMIZERS = {
    f"{form}-{name}": {
        "form": form,
        "optimizer": {"name": name},
        "pairs": (form, name) != ("gram", "sgd"),
    }
    for form in ("matrix", "gram")
    for name in ("sgd", "lars")
}
# Four steps an epoch; the last batch has 7 images. In float64, because a small batch amplifies
# rounding. Five epochs of 24-image batches make 20 steps with 79 and with 96 images.
UNEVEN = {
    f"uneven-{form}": {
        "form": form,
        "optimizer": {"name": "sgd"},
        "images": 79,
        "floatx": "float64",
        "redundancy_target": -1.0,  # has more terms than 0
        "evaluate": True,
        "pairs": True,
    }
    for form in ("matrix", "gram")
}
UNEVEN["uneven-log-determinant"] = {
    **UNEVEN["uneven-matrix"],
    "redundancy": "log_determinant",
    "redundancy_target": 0.0,
}
# Our loss in another Keras model. Keras 3.15 cannot `fit` other models under workers.
FOREIGN = {
    f"foreign-{form}": {"form": form, "optimizer": {"name": "sgd"}, "foreign": True}
    for form in ("matrix", "gram")
}
STRATEGIES = {
    "2 mirrored replicas": {"strategy": "mirrored", "devices": "cpu:2"},
    "2 workers": {"strategy": "multi_worker", "workers": 2},
    "2 workers of 2 replicas": {"strategy": "multi_worker", "devices": "cpu:2", "workers": 2},
}
SQUASHED = {"squashed images": {"optimizer": {"name": "sgd"}, "sizes": True}}
TWO_STEPS = {"two steps": {"optimizer": {"name": "sgd"}, "images": 47, "epochs": 1, "pairs": True}}


def test_two_steps_equal_one_device(train, assert_same):
    training = runpy.run_path(str(Path(__file__).with_name("training.py")))
    expected = training["train"](tf.distribute.get_strategy(), TWO_STEPS["two steps"])
    for name in ("2 mirrored replicas", "2 workers"):
        for result in train(TWO_STEPS, **STRATEGIES[name]):
            assert_same(result["two steps"], expected, tolerance=1e-4)


@pytest.fixture(scope="module")
def one_device(train):
    return train({**FORMS_AND_OPTIMIZERS, **UNEVEN, **FOREIGN})[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2 mirrored replicas", "2 workers of 2 replicas"])
def test_twenty_steps_equal_one_device(name, train, one_device, assert_same):
    foreign = FOREIGN if STRATEGIES[name]["strategy"] == "mirrored" else {}
    for result in train({**FORMS_AND_OPTIMIZERS, **UNEVEN, **foreign}, **STRATEGIES[name]):
        for case in (*FORMS_AND_OPTIMIZERS, *foreign):
            assert_same(result[case], one_device[case], tolerance=1e-4)
        for case in UNEVEN:
            assert_same(result[case], one_device[case], tolerance=1e-10)


@pytest.mark.slow
def test_squashed_images_give_the_same_training_on_any_number_of_replicas(train, assert_same):
    """Each replica gets the true sizes of its own images."""
    expected = train(SQUASHED)[0]["squashed images"]
    squares = train({"squares": {"optimizer": {"name": "sgd"}}})[0]["squares"]
    assert np.abs(expected["weights/00"] - squares["weights/00"]).max() > 1e-3
    four = {"strategy": "mirrored", "devices": "cpu:4"}
    for placed in (STRATEGIES["2 mirrored replicas"], four, STRATEGIES["2 workers"]):
        for result in train(SQUASHED, **placed):
            assert_same(result["squashed images"], expected, tolerance=1e-4)


@pytest.mark.slow
def test_twenty_steps_change_every_weight(train, one_device):
    before = train({case: {**FORMS_AND_OPTIMIZERS[case], "epochs": 1} for case in ("gram-sgd",)})[0]
    after = one_device["gram-sgd"]
    names = [name for name in after if name.startswith("weights/")]
    assert names
    for name in names:
        change = np.abs(after[name] - before["gram-sgd"][name])
        assert change.max() > 1e-3 * np.abs(after[name]).max(), name

"""Micro-batches on several replicas equal those on one device, with synchronized batch norm."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# The last of four batches has 16 images: 6, 6 and 4 on three replicas.
CASES = {
    "float64": {
        "optimizer": {"name": "sgd"},
        "images": 88,
        "floatx": "float64",
        "pairs": True,  # views are float32
        "evaluate": True,
    },
    "clipped": {"optimizer": {"name": "lars", "global_clipnorm": 0.5}, "hold_nonfinite": True},
    "scaled": {
        "optimizer": {"name": "sgd", "loss_scale": True},
        "redundancy": "log_determinant",
        "pairs": True,
    },
}
MICRO = {name: {**case, "micro_batches": 2} for name, case in CASES.items()}
STRATEGIES = {
    "3 mirrored replicas": {"strategy": "mirrored", "devices": "cpu:3"},
    "2 workers of 2 replicas": {"strategy": "multi_worker", "devices": "cpu:2", "workers": 2},
}


@pytest.fixture(scope="module")
def one_device(train):
    return train(MICRO)[0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_equals_one_device(name, train, one_device, assert_same):
    for result in train(MICRO, **STRATEGIES[name]):
        for case in MICRO:
            tolerance = 1e-10 if case == "float64" else 1e-4
            assert_same(result[case], one_device[case], tolerance)


def test_batch_norm_uses_statistics_of_a_micro_batch(train, one_device):
    whole = train({"float64": CASES["float64"]})[0]["float64"]
    ratio = one_device["float64"]["weights/00"] / whole["weights/00"]
    assert np.abs(ratio - 1).max() > 1e-3

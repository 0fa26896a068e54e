"""Clipping and loss scaling apply to the global gradient, not to that of each replica."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

CLIPPED = {
    f"{clip} {'scaled' if scaled else ''}": {
        "optimizer": {"name": "sgd", clip: value, "loss_scale": scaled},
        "epochs": 2,
        "pairs": True,
    }
    for clip, value, scaled in (
        ("global_clipnorm", 0.5, False),
        ("global_clipnorm", 0.5, True),
        ("clipnorm", 0.1, True),
        ("clipvalue", 0.01, True),
    )
}
OVERFLOW = {
    "overflow": {"optimizer": {"name": "sgd", "loss_scale": True}, "overflow": True, "epochs": 1},
    "overflow clipped": {
        "optimizer": {"name": "sgd", "loss_scale": True, "clipvalue": 0.01},
        "overflow": True,
        "epochs": 1,
    },
    "overflow in float16": {
        "optimizer": {"name": "sgd"},
        "policy": "mixed_float16",
        "overflow": True,
        "epochs": 1,
    },
}
HELD = {
    "held": {
        "optimizer": {"name": "sgd"},
        "overflow": True,
        "hold_nonfinite": True,
        "epochs": 2,
    },
    "no step held, with a scale": {
        "optimizer": {"name": "sgd", "loss_scale": True},
        "overflow": True,
        "hold_nonfinite": True,
        "epochs": 1,
    },
    "no step held": {
        "optimizer": {"name": "lars"},
        "hold_nonfinite": True,
        "epochs": 2,
        "pairs": True,
    },
}
STRATEGIES = {
    "2 mirrored replicas": {"strategy": "mirrored", "devices": "cpu:2"},
    "2 workers": {"strategy": "multi_worker", "workers": 2},
}


@pytest.fixture(scope="module")
def one_device(train):
    free = {
        "free": {"optimizer": {"name": "sgd"}, "epochs": 2, "pairs": True},
        "free lars": {"optimizer": {"name": "lars"}, "epochs": 2, "pairs": True},
    }
    return train({**CLIPPED, **OVERFLOW, **HELD, **free})[0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_equals_one_device(name, train, one_device, assert_same):
    results = train({**CLIPPED, **OVERFLOW, **HELD}, **STRATEGIES[name])
    for result in results:
        for case in (*CLIPPED, *HELD, "overflow", "overflow clipped"):
            assert_same(result[case], one_device[case], tolerance=1e-4)
        np.testing.assert_array_equal(result["overflow"]["scale"], 2**15 / 2)
        for case in OVERFLOW:  # float16 also overflows while its scale is too large
            assert (result[case]["scale"] == results[0][case]["scale"][0]).all()
            assert (result[case]["scale"] <= 2**15 / 2).all()
            for weight, copies in result[case].items():
                assert np.isfinite(copies).all(), weight
                if weight.startswith("weights/"):
                    first = results[0][case][weight][:1]
                    np.testing.assert_array_equal(copies, np.broadcast_to(first, copies.shape))


def test_nonfinite_gradient_on_one_replica_holds_all_replicas(one_device, assert_same):
    np.testing.assert_array_equal(one_device["held"]["finite steps"], [1, True])
    for name, steps in (("no step held", 8), ("no step held, with a scale", 4)):
        np.testing.assert_array_equal(one_device[name]["finite steps"], [steps, False])
    guarded = {**one_device["no step held"]}
    del guarded["finite steps"]
    assert_same(guarded, one_device["free lars"], tolerance=1e-5)


def test_clipping_and_overflow_change_the_weights(one_device):
    for case in CLIPPED:
        ratio = one_device[case]["weights/00"] / one_device["free"]["weights/00"]
        assert np.abs(ratio - 1).max() > 1e-2, case
    assert one_device["overflow"]["scale"] == 2**14

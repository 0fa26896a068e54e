"""The script networks.py in a process of its own, and its table."""

import json
import subprocess
import sys
from pathlib import Path

import networks
import numpy as np
import pytest
from networks_table import HEAD, choices, line_of

from keras_bt.evaluation import knn_accuracy

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "networks.py"


@pytest.mark.slow
def test_trains_for_the_processor_time_that_is_asked_for():
    flags = ("--recipe=digits", "--width=2", "--projector_dims=16,8", "--processor_seconds=4,2")
    done = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["asked_seconds"] for row in rows] == [2.0, 4.0]
    for row in rows:
        assert row["asked_seconds"] / 3 < row["processor_seconds"] < 3 * row["asked_seconds"]
        assert len(line_of(row)) == len(HEAD)
    assert rows[0]["steps"] < rows[1]["steps"]


@pytest.mark.slow
def test_wrong_flags_are_refused_in_one_line():
    flag = "--processor_seconds=long"
    done = subprocess.run([sys.executable, SCRIPT, flag], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("networks: ") and "Traceback" not in done.stderr


def test_leave_one_out_is_the_accuracy_among_the_other_images(rng):
    labels = rng.integers(0, 3, 40)
    features = rng.normal(size=(40, 5)).astype("float32") + labels[:, None]
    others = [np.arange(40) != image for image in range(40)]
    each = [
        knn_accuracy(features[rest], labels[rest], features[~rest], labels[~rest], k=7)
        for rest in others
    ]
    assert networks.leave_one_out(features, labels, k=7) == pytest.approx(np.mean(each))


def test_faster_machines_and_longer_runs_get_larger_networks():
    networks = [line[2] for line in choices()]
    sizes = ["conv4, width 32", "conv4, width 64", "ResNet-18, width 64, published settings"]
    assert set(networks) == set(sizes)
    places = [sizes.index(network) for network in networks]
    for first in (0, 3, 6):  # each machine
        assert places[first : first + 3] == sorted(places[first : first + 3])
    for minutes in range(3):
        assert places[minutes::3] == sorted(places[minutes::3])

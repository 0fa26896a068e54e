"""Runs each test's training in separate processes, which end with the test.

Several strategies in one process break each other's collectives. A worker that waits for a dead
one waits for ever. So each process has a group, which is killed at the end.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

collect_ignore = ["training.py", "refusals.py"]  # programs that the tests start
HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@contextlib.contextmanager
def start_process(*command, **environment):
    """Starts a Python process in a new group, and kills the group at the end."""
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(*command, seconds=900, **environment):
    """Runs a Python command; raises after `seconds`."""
    with start_process(*command, **environment) as process:
        stdout, stderr = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def started():
    return start_process


@pytest.fixture(scope="session")
def start():
    return run


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """Runs `training.py` under a strategy; returns the results of each process by case."""

    def train(cases, strategy="one", devices="cpu:1", workers=1):
        folder = tmp_path_factory.mktemp("training")
        command = [HERE / "training.py", json.dumps(cases), folder]
        if workers > 1:
            launch = [
                "-m",
                "keras_bt",
                "launch",
                f"--workers={workers}",
                "--restarts=0",
                "--",
            ]
            command = [*launch, *command]
        done = run(*command, STRATEGY=strategy, DEVICES=devices)
        assert done.returncode == 0, done.stderr[-4000:]
        return [by_case(np.load(folder / f"{worker}.npz"), cases) for worker in range(workers)]

    return train


def by_case(arrays, cases):
    return {
        case: {
            name.removeprefix(f"{case}/"): arrays[name]
            for name in arrays.files
            if name.startswith(f"{case}/")
        }
        for case in cases
    }


@pytest.fixture(scope="session")
def assert_same():
    """Compares metrics, and every replica's copy of every weight, with those of one device."""

    def assert_same(result, one_device, tolerance):
        assert result.keys() == one_device.keys()
        for name, expected in one_device.items():
            if name.startswith(("weights/", "scale")):
                expected = np.broadcast_to(expected, result[name].shape)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                result[name], expected, rtol=0, atol=tolerance * scale, err_msg=name
            )

    return assert_same

"""Scripts with several workers: killed and restarted, started differently, read by one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TINY = ("--width=2", "--projector_dims=16,8", "--batch_size=256", "--epochs=8")
LAUNCH = ("-m", "keras_bt.distribution.launch", "--workers=2")
PRETRAIN = (ROOT / "examples" / "pretrain.py", *TINY, "--checkpoint_steps=3", "--seed=4")
OF_THE_RUN_ALONE = ("seconds", "images_per_second", "encoder_dir")


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def figures(result):
    return {name: value for name, value in result.items() if name not in OF_THE_RUN_ALONE}


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """The folder of a run of two workers, and its figures."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = start(*LAUNCH, "--restarts=0", "--", *PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "UserWarning" not in done.stderr
    return workdir, json.loads(done.stdout)


def test_one_worker_writes_and_prints(undisturbed):
    workdir, result = undisturbed
    assert result == json.loads((workdir / "result.json").read_text())
    assert result["replicas"] == 2
    assert result["untrained_loss"] > result["loss"]
    assert result["health"]["representation_rank"] > 1
    assert [line["epoch"] for line in metrics(workdir)] == [*range(1, 9)]
    assert {path.name for path in workdir.iterdir()} == {
        ".lock",
        "baselines.json",
        "checkpoints",
        "encoder",
        "map.npz",
        "metrics.jsonl",
        "model.keras",
        "plan.json",
        "report.html",
        "result.json",
        "run.json",
        "snapshots",
        "start.json",
        "views.npz",
    }


def worker_of(launcher, index):
    """The process of a launcher's worker."""
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        (config,) = (v for v in variables if v.startswith(b"TF_CONFIG="))
        if json.loads(config.removeprefix(b"TF_CONFIG="))["task"]["index"] == index:
            return int(pid)
    raise AssertionError(f"worker {index} is not running")


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_worker_changes_nothing_in_the_result(undisturbed, started, tmp_path):
    workdir = tmp_path / "killed"
    command = (*LAUNCH, "--", *PRETRAIN, f"--workdir={workdir}")
    with started(*command) as launcher:
        wait_for(lambda: (workdir / "checkpoints" / "ckpt-18").exists())
        os.kill(worker_of(launcher.pid, 1), signal.SIGKILL)
        stdout, stderr = launcher.communicate(timeout=240)
    assert launcher.returncode == 0, stderr[-4000:]
    assert "worker 1 was killed by SIGKILL; restarting all, 1 of 3 times" in stderr
    assert figures(json.loads(stdout)) == figures(undisturbed[1])
    losses, expected = (
        [line["loss"] for line in metrics(folder)] for folder in (workdir, undisturbed[0])
    )
    assert losses == expected


def test_a_signal_to_the_launcher_saves_the_run(undisturbed, started, tmp_path):
    workdir = tmp_path / "left"
    flags = [flag for flag in PRETRAIN if flag != "--checkpoint_steps=3"]
    command = (*LAUNCH, "--", *flags, f"--workdir={workdir}")
    with started(*command) as launcher:
        wait_for(lambda: (workdir / "metrics.jsonl").exists() and metrics(workdir))
        launcher.send_signal(signal.SIGTERM)
        _, stderr = launcher.communicate(timeout=30)
    assert launcher.returncode != 0
    assert "SIGTERM at step " in stderr and "Traceback" not in stderr
    assert list(workdir.glob("checkpoints/ckpt-*"))
    with started(*command) as launcher:
        stdout, stderr = launcher.communicate(timeout=240)
    assert figures(json.loads(stdout)) == figures(undisturbed[1])


def test_one_device_goes_on_where_two_workers_were(undisturbed, start, tmp_path):
    """The number of devices is no setting of the run."""
    workdir = tmp_path / "moved"
    shutil.copytree(undisturbed[0], workdir)
    (workdir / "result.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / "ckpt-40")
    done = start(*PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["replicas"] == 1
    assert result["loss"] == pytest.approx(undisturbed[1]["loss"], rel=1e-3)


@pytest.mark.variant
def test_a_finished_run_is_told_again_by_workers(undisturbed, start):
    workdir, result = undisturbed
    done = start(*LAUNCH, "--", *PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == result


def test_the_chiefs_refusal_ends_all_workers(undisturbed, start):
    flags = (*PRETRAIN, f"--workdir={undisturbed[0]}", "--redundancy_weight=0.02")
    done = start(*LAUNCH, "--", *flags)
    assert done.returncode == 2
    assert "redundancy_weight: 0.0051 there, 0.02 now" in done.stderr
    assert "Traceback" not in done.stderr and "restarting" not in done.stderr


@pytest.mark.variant
def test_minutes_are_measured_once_for_all_workers(start, tmp_path):
    flags = (*TINY[:3], "--minutes=0.05", f"--workdir={tmp_path}/run")
    done = start(*LAUNCH, "--restarts=0", "--", PRETRAIN[0], *flags)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    steps = plan["epochs"] * plan["steps_per_epoch"]
    assert (result["epochs"], result["steps"]) == (plan["epochs"], steps)


@pytest.mark.variant
def test_a_diverging_run_is_not_started_again(start, tmp_path):
    flags = ("--optimizer=adamw", "--learning_rate=1e30", f"--workdir={tmp_path}/run")
    done = start(*LAUNCH, "--", PRETRAIN[0], *TINY, *flags)
    assert done.returncode == 2, done.stderr[-4000:]
    assert (
        "of the loss is not finite, first in the output of layer" in done.stderr
        and "restarting" not in done.stderr
    )


DIFFERENTLY = """
import json, os
import keras_bt
from keras_bt.distribution import workers
strategy = keras_bt.strategy()
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
try:
    workers.check_agreement(strategy, {"epochs": 3, "seed": index})
except ValueError as error:
    print(error, flush=True)
workers.leave_together(strategy)
"""


def test_workers_that_were_started_differently_are_told_so(start):
    done = start(*LAUNCH, "--restarts=0", "--", sys.executable, "-c", DIFFERENTLY)
    assert done.returncode == 0, done.stderr[-4000:]
    expected = "The workers were started differently.\n  seed: 0 on worker 0, 1 on worker 1\n"
    assert done.stdout == expected
    assert expected in done.stderr  # what the other worker prints


@pytest.mark.variant
def test_wrong_flags_are_not_tried_again(start, tmp_path):
    script = ROOT / "examples" / "pretrain.py"
    flags = ("--recipe=digits", "--batch_size=255", f"--workdir={tmp_path}/run")
    done = start(*LAUNCH, "--", script, *flags)
    assert done.returncode == 2
    assert "batch_size" in done.stderr and "giving up" in done.stderr
    assert "restarting" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_hanging_worker_ends_with_the_test(start):
    code = "import time; time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        start(*LAUNCH, "--", sys.executable, "-c", code, seconds=15)
    sleeping = subprocess.run(["pgrep", "-f", code], capture_output=True, text=True)
    assert sleeping.stdout == ""

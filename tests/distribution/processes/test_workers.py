"""Runs of several workers: killed, restarted, interrupted, with different settings."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TINY = ("--width=2", "--projector_dims=16,8", "--batch_size=256", "--epochs=8")
LAUNCH = ("-m", "keras_bt", "launch", "--workers=2")
PRETRAIN = ("pretrain", *TINY, "--checkpoint_steps=3", "--seed=4")
CHANGES_BY_RUN = ("seconds", "total_seconds", "images_per_second", "encoder_dir")


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def comparable(result):
    return {name: value for name, value in result.items() if name not in CHANGES_BY_RUN}


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """The folder and the result of a run of two workers."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = start(*LAUNCH, "--restarts=0", "--", *PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "UserWarning" not in done.stderr
    return workdir, json.loads(done.stdout)


def test_only_the_chief_writes_and_prints(undisturbed):
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
        "monitored.json",
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


def wait_for(condition, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_worker_does_not_change_the_result(undisturbed, started, tmp_path):
    workdir = tmp_path / "killed"
    command = (*LAUNCH, "--", *PRETRAIN, f"--workdir={workdir}")
    with started(*command) as launcher:
        wait_for(lambda: (workdir / "checkpoints" / "ckpt-18").exists())
        os.kill(worker_of(launcher.pid, 1), signal.SIGKILL)
        stdout, stderr = launcher.communicate(timeout=600)
    assert launcher.returncode == 0, stderr[-4000:]
    assert "worker 1 was killed by SIGKILL; restarting all (restart 1 of 3)" in stderr
    assert comparable(json.loads(stdout)) == comparable(undisturbed[1])
    losses, expected = (
        [line["loss"] for line in metrics(folder)] for folder in (workdir, undisturbed[0])
    )
    assert losses == expected


def test_signal_to_the_launcher_saves_the_run(undisturbed, started, tmp_path):
    workdir = tmp_path / "left"
    flags = [flag for flag in PRETRAIN if flag != "--checkpoint_steps=3"]
    command = (*LAUNCH, "--", *flags, f"--workdir={workdir}")
    with started(*command) as launcher:
        wait_for(lambda: (workdir / "metrics.jsonl").exists() and metrics(workdir))
        launcher.send_signal(signal.SIGTERM)
        _, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert "SIGTERM at step " in stderr and "Traceback" not in stderr
    assert list(workdir.glob("checkpoints/ckpt-*"))
    with started(*command) as launcher:
        stdout, stderr = launcher.communicate(timeout=600)
    assert comparable(json.loads(stdout)) == comparable(undisturbed[1])


def test_one_device_resumes_a_run_of_two_workers(undisturbed, start, tmp_path):
    workdir = tmp_path / "moved"
    shutil.copytree(undisturbed[0], workdir)
    (workdir / "result.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / "ckpt-40")
    done = start("-m", "keras_bt", *PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["replicas"] == 1
    assert result["loss"] == pytest.approx(undisturbed[1]["loss"], rel=1e-3)


def test_workers_print_the_result_of_a_finished_run(undisturbed, start):
    workdir, result = undisturbed
    done = start(*LAUNCH, "--", *PRETRAIN, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == result


def test_refusal_by_the_chief_ends_all_workers(undisturbed, start):
    flags = (*PRETRAIN, f"--workdir={undisturbed[0]}", "--redundancy_weight=0.02")
    done = start(*LAUNCH, "--", *flags)
    assert done.returncode == 2
    assert "redundancy_weight: 0.0051 before, 0.02 now" in done.stderr
    assert "Traceback" not in done.stderr and "restarting" not in done.stderr


def test_workers_share_the_plan_for_a_budget_of_minutes(start, tmp_path):
    flags = (*TINY[:3], "--minutes=1.5", f"--workdir={tmp_path}/run")
    done = start(*LAUNCH, "--restarts=0", "--", PRETRAIN[0], *flags)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    steps = plan["epochs"] * plan["steps_per_epoch"]
    passes = round(steps * result["batch_size"] / result["images"], 1)
    assert (result["epochs"], result["steps"]) == (passes, steps)
    # Where processes share cores, a round and the last look take seconds more.
    assert plan["seconds"] == pytest.approx(result["seconds"], rel=0.5)
    assert [line["epoch"] for line in metrics(tmp_path / "run")] == [*range(1, plan["epochs"] + 1)]


def test_diverging_run_is_not_restarted(start, tmp_path):
    flags = ("--optimizer=adamw", "--learning_rate=1e30", f"--workdir={tmp_path}/run")
    done = start(*LAUNCH, "--", PRETRAIN[0], *TINY, *flags)
    assert done.returncode == 2, done.stderr[-4000:]
    assert (
        "of the loss is not finite, first in the output of layer" in done.stderr
        and "restarting" not in done.stderr
    )


DIFFERENT_SETTINGS = """
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


def test_workers_with_different_settings_raise_on_all(start):
    done = start(*LAUNCH, "--restarts=0", "--", sys.executable, "-c", DIFFERENT_SETTINGS)
    assert done.returncode == 0, done.stderr[-4000:]
    expected = (
        "The workers have different settings (seed: 0 on worker 0, 1 on worker 1); start all with "
        "the same ones.\n"
    )
    assert done.stdout == expected
    assert expected in done.stderr  # the output of the other worker

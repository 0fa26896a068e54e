"""The launcher, with workers that need no TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from keras_bt.distribution.launch import launch, worker_command, worker_environments

INDEX = "import json, os, sys, time, signal; index = json.loads(os.environ['TF_CONFIG'])['task']"
INDEX += "['index']; "


def worker(code):
    return [sys.executable, "-c", INDEX + code]


def test_commands_scripts_and_programs_can_be_launched():
    python = sys.executable
    assert worker_command(["views", "--out=a.png"], {"views"}) == [
        *(python, "-m", "keras_bt", "views", "--out=a.png"),
    ]
    assert worker_command(["views.py", "--x"], {"views"}) == [python, "views.py", "--x"]
    assert worker_command([python, "-c", "pass"], {"views"}) == [python, "-c", "pass"]


@pytest.fixture
def no_nvidia_smi(monkeypatch):
    monkeypatch.setattr("keras_bt.distribution.launch.shutil.which", lambda name: None)


def test_each_worker_has_an_index_and_an_equal_share(no_nvidia_smi):
    first, second = worker_environments(2, {"CUDA_VISIBLE_DEVICES": "3,5", "HOME": "/here"})
    for index, environment in enumerate((first, second)):
        config = json.loads(environment["TF_CONFIG"])
        assert config["task"] == {"type": "worker", "index": index}
        assert len(set(config["cluster"]["worker"])) == 2
        assert environment["HOME"] == "/here"
        assert int(environment["TF_NUM_INTRAOP_THREADS"]) == max(1, os.cpu_count() // 2)
    assert first["TF_CONFIG"].split('"task"')[0] == second["TF_CONFIG"].split('"task"')[0]
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("3", "5")
    environment = worker_environments(1, {"TF_NUM_INTRAOP_THREADS": "7"})[0]
    assert environment["TF_NUM_INTRAOP_THREADS"] == "7"


def test_gpus_are_shared_equally(monkeypatch):
    monkeypatch.setattr("keras_bt.distribution.launch.shutil.which", lambda name: name)
    listing = SimpleNamespace(stdout="GPU 0: H100\nGPU 1: H100\nGPU 2: H100\n")
    monkeypatch.setattr("keras_bt.distribution.launch.subprocess.run", lambda *_, **__: listing)
    shares = [each["CUDA_VISIBLE_DEVICES"] for each in worker_environments(2, {})]
    assert shares == ["0", "1"]
    for hidden in worker_environments(4, {"CUDA_VISIBLE_DEVICES": ""}):
        assert hidden["CUDA_VISIBLE_DEVICES"] == ""
    with pytest.raises(ValueError, match="There are 3 GPUs for 4 workers"):
        worker_environments(4, {})
    # CUDA numbers no fourth GPU, so its list ends there.
    with pytest.raises(ValueError, match="There is 1 GPU for 2 workers; start at most 1, or set"):
        worker_environments(2, {"CUDA_VISIBLE_DEVICES": "2,3"})


@pytest.mark.parametrize(
    ("visible", "shares"),
    [
        ("-1", ["-1", "-1"]),
        (" -1 ", [" -1 ", " -1 "]),
        ("-1,0,1", ["-1,0,1", "-1,0,1"]),
        ("NoDevFiles", ["NoDevFiles", "NoDevFiles"]),
        (",0,1", [",0,1", ",0,1"]),
        ("1,1", ["1,1", "1,1"]),
        ("0,1,-1,2,3", ["0", "1"]),
        ("0,1,,2,3", ["0", "1"]),
        ("3, 5", ["3", "5"]),
        ("GPU-8932f937,GPU-1f", ["GPU-8932f937", "GPU-1f"]),
        ("MIG-GPU-8932f937/1/2,MIG-b7", ["MIG-GPU-8932f937/1/2", "MIG-b7"]),
    ],
)
def test_gpus_are_those_that_cuda_takes_from_the_list(visible, shares, no_nvidia_smi):
    environments = worker_environments(2, {"CUDA_VISIBLE_DEVICES": visible})
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == shares


def test_refusal_is_named_before_the_errors_that_it_causes(capfd):
    code = "time.sleep(0.3 if index else 0); sys.exit(2 if index else 1)"
    assert launch(worker(code), 2) == 2
    assert capfd.readouterr().err == "launch: worker 1 exited with status 2; giving up.\n"


def test_stdout_is_that_of_the_first_worker(capfd):
    assert launch(worker("print('from', index)"), 3) == 0
    out, err = capfd.readouterr()
    assert out == "from 0\n"
    assert sorted(err.splitlines()) == ["from 1", "from 2"]


def test_all_workers_restart_on_new_ports_after_one_is_killed(tmp_path, capfd):
    code = (
        f"open(f'{tmp_path}/{{index}}', 'a').write(os.environ['TF_CONFIG'] + chr(10));"
        f"second = len(open(f'{tmp_path}/{{index}}').readlines()) == 2;"
        "second or index == 0 or os.kill(os.getpid(), signal.SIGKILL);"
        "second or time.sleep(60)"
    )
    began = time.monotonic()
    assert launch(worker(code), 2) == 0
    assert time.monotonic() - began < 30
    attempts = [json.loads(line)["cluster"] for line in (tmp_path / "0").read_text().splitlines()]
    assert len(attempts) == 2 and attempts[0] != attempts[1]
    message = "launch: worker 1 was killed by SIGKILL; restarting all (restart 1 of 3)."
    assert message in capfd.readouterr().err


def test_restarts_are_limited(capfd):
    assert launch(worker("sys.exit(7)"), 2, restarts=2) == 7
    messages = capfd.readouterr().err.splitlines()
    assert [message.split("; ")[1] for message in messages] == [
        "restarting all (restart 1 of 2).",
        "restarting all (restart 2 of 2).",
        "giving up.",
    ]


def test_refusal_is_not_restarted(capfd):
    assert launch(worker("sys.exit(2)"), 2) == 2
    assert capfd.readouterr().err == "launch: worker 0 exited with status 2; giving up.\n"


def test_killed_worker_is_named_before_the_errors_that_it_causes(capfd):
    code = "time.sleep(0.5); index == 1 and os.kill(os.getpid(), signal.SIGKILL); sys.exit(1)"
    assert launch(worker(code), 2, restarts=0) == 128 + signal.SIGKILL
    assert "worker 1 was killed by SIGKILL; giving up" in capfd.readouterr().err


def test_worker_that_ignores_sigterm_is_killed():
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "index == 0 and time.sleep(60); time.sleep(1); sys.exit(3)"
    )
    began = time.monotonic()
    assert launch(worker(code), 2, restarts=0, grace_seconds=0.5) == 3
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_stopped_launcher_stops_its_workers(tmp_path):
    code = f"open(f'{tmp_path}/{{index}}', 'w').write(str(os.getpid())); time.sleep(600)"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "keras_bt", "launch", "--workers=2", "--", *worker(code)]
    )
    deadline = time.monotonic() + 60
    while len(pids := [p.read_text() for p in tmp_path.iterdir()]) < 2 or "" in pids:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    launcher.terminate()
    assert launcher.wait(30) == 128 + signal.SIGTERM
    for pid in map(int, pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

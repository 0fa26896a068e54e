"""The script killed at any moment and started again ends as one that was never killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
STEPS, STEPS_PER_EPOCH = 50, 5
OF_THE_RUN_ALONE = ("seconds", "images_per_second", "encoder_dir")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images without labels, so that a start takes seconds."""
    folder = tmp_path_factory.mktemp("images")
    photo = Image.effect_noise((640, 640), 80).convert("RGB")
    for number in range(40):
        left, top = number % 8 * 80, number // 8 * 80
        photo.crop((left, top, left + 20, top + 20)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def command(images):
    flags = "--deterministic --width=1 --projector_dims=8,8 --batch_size=8 --image_size=12"
    flags += " --epochs=10 --checkpoint_steps=1 --seed=3 --optimizer=adamw"
    script = ROOT / "examples" / "pretrain.py"
    return [sys.executable, script, *flags.split(), f"--image_dir={images}"]


@pytest.fixture
def start(command):
    """Starts the script; it is gone when the test ends."""
    started = []

    def start(workdir, *flags):
        process = subprocess.Popen(
            [*command, *flags, f"--workdir={workdir}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """The folder of a run that nothing disturbs, with the checkpoints of all its steps."""
    workdir = tmp_path_factory.mktemp("run") / "undisturbed"
    flags = [f"--workdir={workdir}", "--keep_checkpoints=1000"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return workdir


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[1][-4000:]
        time.sleep(0.01)


def finish(start, workdir, *flags):
    process = start(workdir, *flags)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr[-4000:]


def without_time(entry):
    return {name: value for name, value in entry.items() if name not in OF_THE_RUN_ALONE}


def assert_same_state(workdir, expected, step):
    """The checkpoints of a step agree to the last bit in weights, optimizer and counters."""
    paths = [folder / "checkpoints" / f"ckpt-{step}" / "state" for folder in (workdir, expected)]
    got, wanted = (tf.train.load_checkpoint(str(path)) for path in paths)
    names = got.get_variable_to_shape_map()
    assert names == wanted.get_variable_to_shape_map()
    # A signal between two epochs saves before or after the logs of the first are told and its
    # sums are emptied, others in between; the history at the end shows that none is lost.
    apart = ("training.Sseconds", "training.Shistory", "training.Sended_epochs")
    if step % STEPS_PER_EPOCH == 0:
        apart += ("variables/logs.",)
    compared = [name for name in names if not any(part in name for part in apart)]
    assert sum("layer" in name for name in compared) > 50
    for name in compared:
        assert np.array_equal(got.get_tensor(name), wanted.get_tensor(name)), name


def assert_same_end(workdir, expected):
    """Last state, figures and history agree to the last bit, all but the time."""
    assert_same_state(workdir, expected, STEPS)
    results = [json.loads((folder / "result.json").read_text()) for folder in (workdir, expected)]
    assert without_time(results[0]) == without_time(results[1])
    assert history(workdir) == history(expected)


def history(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [without_time(json.loads(line)) for line in lines]


def checkpoints(workdir):
    return sorted(int(path.name[5:]) for path in workdir.glob("checkpoints/ckpt-*"))


def seconds_of_a_step(undisturbed):
    lines = (undisturbed / "metrics.jsonl").read_text().splitlines()
    first, *_, last = map(json.loads, lines)
    return (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])


def test_killed_at_ten_random_moments(undisturbed, start, tmp_path):
    """Each time the run is found in a state that the undisturbed run was in, and goes on."""
    workdir, moment = tmp_path / "run", Random(0)
    killed_at = []
    for _ in range(10):
        before = checkpoints(workdir)
        process = start(workdir)
        wait_for(lambda before=before: checkpoints(workdir) > before, process)
        time.sleep(moment.uniform(0, 2 * seconds_of_a_step(undisturbed)))
        process.kill()
        process.communicate()
        half_written = list(workdir.glob("checkpoints/.*-ckpt-*"))
        killed_at.append(f"{checkpoints(workdir)[-1]}{' while writing' * bool(half_written)}")
        assert_same_state(workdir, undisturbed, checkpoints(workdir)[-1])
    print("killed at steps", ", ".join(killed_at))
    finish(start, workdir)
    assert_same_end(workdir, undisturbed)


@pytest.mark.parametrize("trial", range(2))
def test_sigterm_at_a_random_moment(undisturbed, start, tmp_path, trial):
    """No checkpoint is written but for the signal."""
    workdir, seldom = tmp_path / "run", "--checkpoint_steps=1000"
    process = start(workdir, seldom)
    wait_for(lambda: (workdir / "metrics.jsonl").exists() and history(workdir), process)
    time.sleep(Random(trial).uniform(0, 3 * seconds_of_a_step(undisturbed)))
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    (step,) = checkpoints(workdir)
    assert f"SIGTERM at step {step}; the same command goes on." in stderr
    assert "Traceback" not in stderr
    assert_same_state(workdir, undisturbed, step)
    finish(start, workdir, seldom)
    assert_same_end(workdir, undisturbed)

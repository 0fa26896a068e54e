"""A run that is killed at any moment and started again ends like an uninterrupted one."""

import json
import runpy
import signal
import subprocess
import sys
import time
from random import Random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

STEPS, STEPS_PER_EPOCH = 50, 5
TRAINING = """
import sys
import keras_bt, keras, numpy as np, tensorflow as tf

def train(folder):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype("uint8")
    batches = tf.data.Dataset.from_tensor_slices(images).batch(8).repeat().skip
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Dropout(0.2, seed=3)]
    encoder = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])
    views = keras_bt.small_image_views(8, jitter_rate=0.0, grayscale_rate=0.0, seed=0)
    model = keras_bt.BarlowTwins(encoder, keras_bt.projector(4, (8, 6)), views)
    model.compile(keras.optimizers.Adam(0.01), hold_nonfinite=True)
    training = keras_bt.ResumableTraining(folder, every_steps=1)
    training.restore(model)
    training.fit(batches, epochs=30, steps_per_epoch=4)
    return model

if __name__ == "__main__":
    train(sys.argv[1])
"""
CHANGES_BY_RUN = ("seconds", "total_seconds", "images_per_second", "encoder_dir")


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
    flags += " --epochs=10 --checkpoint_steps=1 --seed=3 --optimizer=adamw --encoder=resnet18"
    return [sys.executable, "-m", "keras_bt", "pretrain", *flags.split(), f"--image_dir={images}"]


@pytest.fixture
def start(command):
    """Starts a run; it is killed when the test ends."""
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
def uninterrupted(command, tmp_path_factory):
    """The folder of an uninterrupted run, with the checkpoints of all steps."""
    workdir = tmp_path_factory.mktemp("run") / "uninterrupted"
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
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr[-4000:]


def comparable(entry):
    return {name: value for name, value in entry.items() if name not in CHANGES_BY_RUN}


def assert_same_state(workdir, expected, step):
    """Compares weights, optimizer and counters in the checkpoints of a step, to the last bit."""
    paths = [folder / "checkpoints" / f"ckpt-{step}" / "state" for folder in (workdir, expected)]
    actual, expected_state = (tf.train.load_checkpoint(str(path)) for path in paths)
    names = actual.get_variable_to_shape_map()
    assert names == expected_state.get_variable_to_shape_map()
    # At the end of an epoch, a signal may save before or after the callbacks receive the logs and
    # the metrics are reset. The history at the end shows that no logs are lost.
    ignored = ("training.Sseconds", "training.Shistory", "training.Sended_epochs")
    if step % STEPS_PER_EPOCH == 0:
        ignored += ("variables/logs.",)
    compared = [name for name in names if not any(part in name for part in ignored)]
    assert sum("layer" in name for name in compared) > 50
    for name in compared:
        assert np.array_equal(actual.get_tensor(name), expected_state.get_tensor(name)), name


def assert_same_end(workdir, expected):
    """Compares last checkpoint, result and history to the last bit, except durations."""
    assert_same_state(workdir, expected, STEPS)
    results = [json.loads((folder / "result.json").read_text()) for folder in (workdir, expected)]
    assert comparable(results[0]) == comparable(results[1])
    assert history(workdir) == history(expected)


def history(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [comparable(json.loads(line)) for line in lines]


def checkpoints(workdir):
    return sorted(int(path.name[5:]) for path in workdir.glob("checkpoints/ckpt-*"))


def seconds_per_step(uninterrupted):
    lines = (uninterrupted / "metrics.jsonl").read_text().splitlines()
    first, *_, last = map(json.loads, lines)
    return (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])


def test_resumes_after_a_sigkill(tmp_path):
    """With published views, dropout and Adam, in another process than the one that was killed."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    folder = tmp_path / "killed"
    with subprocess.Popen([sys.executable, script, folder], stderr=subprocess.DEVNULL) as process:
        while not list(folder.glob("ckpt-[3-9]")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not list(folder.glob("ckpt-120"))
    train = runpy.run_path(str(script))["train"]
    resumed, undisturbed = train(folder), train(tmp_path / "undisturbed")
    for actual, expected in zip(resumed.variables, undisturbed.variables, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6, err_msg=expected.path)


@pytest.mark.slow
def test_resumes_after_two_sigkills(uninterrupted, start, tmp_path):
    """After each one, the newest checkpoint equals that of the uninterrupted run."""
    workdir, moment = tmp_path / "run", Random(0)
    killed_at = []
    for _ in range(2):
        before = checkpoints(workdir)
        process = start(workdir)
        wait_for(lambda before=before: checkpoints(workdir) > before, process)
        time.sleep(moment.uniform(0, 2 * seconds_per_step(uninterrupted)))
        process.kill()
        process.communicate()
        unfinished = list(workdir.glob("checkpoints/.*-ckpt-*"))
        killed_at.append(f"{checkpoints(workdir)[-1]}{' while writing' * bool(unfinished)}")
        assert_same_state(workdir, uninterrupted, checkpoints(workdir)[-1])
    print("killed at steps", ", ".join(killed_at))
    finish(start, workdir)
    assert_same_end(workdir, uninterrupted)


@pytest.mark.slow
def test_resumes_after_sigterm(uninterrupted, start, tmp_path):
    """The signal causes the only checkpoint."""
    workdir, seldom = tmp_path / "run", "--checkpoint_steps=1000"
    process = start(workdir, seldom)
    wait_for(lambda: (workdir / "metrics.jsonl").exists() and history(workdir), process)
    time.sleep(Random(0).uniform(0, 3 * seconds_per_step(uninterrupted)))
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    (step,) = checkpoints(workdir)
    assert f"SIGTERM at step {step}; run the same command to continue" in stderr
    assert "Traceback" not in stderr
    assert_same_state(workdir, uninterrupted, step)
    finish(start, workdir, seldom)
    assert_same_end(workdir, uninterrupted)

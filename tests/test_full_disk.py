"""Runs on a full disk: files stay, errors name the space needed, the next start continues."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_bt
from keras_bt import data
from keras_bt._support import atomic
from keras_bt.data import preparation
from keras_bt.run import RunFolder
from keras_bt.training.checkpoint import Checkpoints

ROOM = r"; [\d,.]+ MB are free, about [\d,.]+ MB are needed\."


@pytest.fixture
def small_disk(tmp_path):
    """A folder with a file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def free_space(room, folder):
    """Fills the disk of a folder, except `room` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - room)
    try:
        yield
    finally:
        ballast.unlink()


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def encoder():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(24, 3)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "model", "encoder"])
def test_failed_write_changes_no_file(kind, encoder, small_disk, tiny_model):
    model = tiny_model()
    model.compile("adam")
    run = RunFolder(small_disk, {})
    run.close()  # so that the disk can be unmounted
    states = {str(number): variable.value for number, variable in enumerate(encoder.variables)}
    checkpoints = Checkpoints(run.checkpoints, states)
    write = {
        "checkpoint": lambda: checkpoints.save(1),
        "model": lambda: run.save_model(model),
        "encoder": lambda: keras_bt.export_encoder(encoder, run.encoder),
    }[kind]
    free = shutil.disk_usage(small_disk).free
    write()
    needed = free - shutil.disk_usage(small_disk).free
    for path in (run.checkpoints, run.model, run.encoder):
        atomic.remove(path)
    for room in np.linspace(0, needed, 6, endpoint=False, dtype=int):
        with free_space(room, small_disk):
            with pytest.raises(atomic.WriteError, match="no space left on device" + ROOM):
                write()
            assert set(contents(small_disk)) == {".lock", "run.json", "ballast"}
    write()


def test_read_only_disk_is_refused_at_the_start(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(atomic.WriteError, match="run could not be written: read-only file"):
        RunFolder(small_disk / "run", {})


EXPORT = """
import resource, sys
import keras, keras_bt
encoder = keras.saving.load_model(sys.argv[1])
for limit in range(0, int(sys.argv[3]), int(sys.argv[3]) // 4 + 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        keras_bt.export_encoder(encoder, sys.argv[2], overwrite=True)
    except keras_bt._support.atomic.WriteError as error:
        print(error)
"""


@pytest.mark.slow
def test_export_stays_if_it_cannot_be_overwritten(encoder, tmp_path, images):
    """The size of files is limited."""
    path = Path(keras_bt.export_encoder(encoder, tmp_path / "encoders" / "encoder"))
    expected, before = keras_bt.load_encoder(path)(images), contents(path.parent)
    encoder.layers[1].kernel.assign(2 * encoder.layers[1].kernel)
    encoder.save(tmp_path / "other.keras")
    largest = max(map(len, before.values()))
    program = [sys.executable, "-c", EXPORT, tmp_path / "other.keras", path, str(largest)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 4
    for message in messages:
        assert re.fullmatch(f"{path} could not be written: file too large" + ROOM, message)
    assert contents(path.parent) == before
    np.testing.assert_array_equal(keras_bt.load_encoder(path)(images), expected)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A run on images without labels, so that a start takes seconds."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(40):
        pixels = random.integers(0, 256, (20, 20, 3), "uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    flags = "--deterministic --width=1 --projector_dims=8,8 --batch_size=8 --image_size=12"
    flags += " --epochs=4 --checkpoint_steps=1 --seed=3 --encoder=resnet18"
    return [sys.executable, "-m", "keras_bt", "pretrain", *flags.split(), f"--image_dir={folder}"]


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    """The folder of a run with enough space."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    subprocess.run([*command, f"--workdir={workdir}"], check=True, capture_output=True)
    return workdir


@pytest.fixture(scope="module")
def stopped(command, uninterrupted, tmp_path_factory):
    """The folder of a run that was stopped after a few steps, with the export of an earlier run."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    process = subprocess.Popen([*command, f"--workdir={workdir}"], stderr=subprocess.PIPE)
    try:
        while not (workdir / "checkpoints" / "ckpt-3").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    shutil.copytree(uninterrupted / "encoder", workdir / "encoder")
    return workdir


@pytest.fixture
def start(command, small_disk):
    """Starts the run with `room` bytes of disk."""

    def start(room=None):
        with free_space(room, small_disk) if room else contextlib.nullcontext():
            arguments = [*command, f"--workdir={small_disk}/run"]
            return subprocess.run(arguments, capture_output=True, text=True, timeout=600)

    start.workdir = small_disk / "run"
    return start


def part(files, *names):
    return {name: files[name] for name in files if name.startswith(names)}


@pytest.mark.slow
def test_run_continues_after_a_full_disk(start, stopped, uninterrupted):
    workdir = start.workdir
    shutil.copytree(stopped, workdir)
    written = contents(uninterrupted)
    model = len(written["model.keras"])
    checkpoint = len(written["checkpoints/ckpt-20/state.data-00000-of-00001"])

    def fails(room, file):
        done = start(room)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        full = "no space left on device" + ROOM
        assert re.search(f"pretrain: {workdir}/{file} could not be written: {full}", done.stderr)
        assert not list(workdir.rglob(".keras_bt-*"))
        return done.stderr

    before = contents(workdir)
    message = fails(checkpoint // 2, "checkpoints/ckpt-20")
    assert re.search("ckpt-19 could not be written: .* are needed. Training continues", message)
    after = contents(workdir)
    assert after.pop("metrics.jsonl") != before.pop("metrics.jsonl")
    assert part(after, "snapshots").items() >= part(before, "snapshots").items()
    assert {**after, **part(before, "snapshots")} == {**before, **part(after, "snapshots")}

    fails(model // 2, "model.keras")
    trained = contents(workdir)
    assert part(trained, "encoder") == part(before, "encoder")

    done = start()
    assert done.returncode == 0, done.stderr
    trainings = part(trained, "checkpoints", "metrics")  # with the duration
    assert "checkpoints/ckpt-20/state.index" in trainings
    assert part(contents(workdir), "checkpoints", "metrics") == trainings
    keras_bt.load_encoder(workdir / "encoder")
    assert results(workdir) == results(uninterrupted)


def results(workdir):
    """Metrics and result of a run, without values that change by run."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in [*lines, (workdir / "result.json").read_text()]]
    for each in entries:
        for name in ("seconds", "total_seconds", "images_per_second", "encoder_dir"):
            each.pop(name, None)
    return entries


@pytest.mark.slow
def test_prepared_shards_are_whole(small_disk, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(preparation, "IMAGES_PER_SHARD", 50)
    (tmp_path / "photos").mkdir()
    for number in range(500):  # of twelve kilobytes each
        pixels = rng.integers(0, 256, (64, 64, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:03}.png")
    photos, whole, out = tmp_path / "photos", tmp_path / "prepared", small_disk / "prepared"
    data.prepare(photos, whole, 64)
    with pytest.raises(ValueError, match="needs about .* MB for 500 images, but .* are free there"):
        data.prepare(photos, out, 64)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "free_bytes", lambda path: 10**12)
        with pytest.raises(atomic.WriteError, match=r"0000\d.tfrecord .*no space left on device"):
            data.prepare(photos, out, 64)
    written = contents(out)
    written.pop(".lock")
    assert b'"finished": false' in written.pop("manifest.json")
    assert len(written) >= 8
    assert written == {name: (whole / name).read_bytes() for name in written}

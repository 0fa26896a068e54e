import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from keras_bt import data
from keras_bt._support import atomic
from keras_bt.data import preparation, reducing
from keras_bt.data.preparation import Preparation, prepare

SIZES = ((90, 120), (120, 90), (33, 200), (64, 64))


def write_photo(path, number, size=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Image.effect_noise(size or SIZES[number % len(SIZES)], 60 + number % 50)
    noise.convert("RGB").save(path)


@pytest.fixture
def photos(tmp_path):
    """Twenty-two images in two classes."""
    for number in range(22):
        write_photo(tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.jpg", number)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(preparation, "IMAGES_PER_SHARD", 5)


def contents(folder):
    files = sorted(path for path in folder.iterdir() if path.name != ".lock")
    return {path.name: path.read_bytes() for path in files}


def assert_same_source(prepared, original):
    """The same images in the same sets, with the same labels."""
    for name in ("name", "classes", "class_names", "digest", "skipped"):
        assert getattr(prepared, name) == getattr(original, name), name
    for part in ("train", "test"):
        got, expected = getattr(prepared, part), getattr(original, part)
        if expected is None:
            assert got is None
            continue
        assert got.count == expected.count
        common = [os.path.commonpath(images.file_names) for images in (got, expected)]
        names = [
            [os.path.relpath(path, folder) for path in images.file_names]
            for images, folder in zip((got, expected), common, strict=True)
        ]
        assert names[0] == names[1]
        if expected.labelled:
            labels = [
                np.concatenate([batch["label"] for batch in images.batches(7, 16)])
                for images in (got, expected)
            ]
            np.testing.assert_array_equal(*labels)


@pytest.mark.parametrize(
    "layout",
    ["classes", "sets", *(pytest.param(n, marks=pytest.mark.slow) for n in ("train", "none"))],
)
def test_sets_classes_and_held_out_images_are_those_of_the_folder(layout, tmp_path):
    root = tmp_path / "photos"
    for number in range(24):
        name = f"{'ab'[number % 2]}/{number:02d}.jpg"
        folder = {
            "classes": root,
            "sets": root / ("val" if number > 15 else "train"),
            "train": root / "train",
            "none": root / str(number),
        }[layout]
        write_photo(folder / name, number)
    result = prepare(root, tmp_path / "prepared", 20)
    assert (result["images"], result["skipped_images"], result["shards"]) == (24, 0, 5)
    prepared, original = data.from_folder(tmp_path / "prepared"), data.from_folder(root)
    assert_same_source(prepared, original)
    assert prepared.train.largest_size == 20 and original.train.largest_size is None


def test_images_look_like_those_of_the_files_and_know_their_true_size(photos, tmp_path):
    prepare(photos, tmp_path / "prepared", 40)
    original, prepared = (
        data.from_folder(folder).train.framed("whole") for folder in (photos, tmp_path / "prepared")
    )
    whole = [next(iter(images.batches(18, 20, to_crop=True))) for images in (original, prepared)]
    np.testing.assert_array_equal(whole[0]["size"], whole[1]["size"])
    assert set(map(tuple, whole[0]["size"].numpy())) == {(w, h)[::-1] for w, h in SIZES}
    for framing in ("whole", "pad"):
        first, second = (
            next(iter(images.framed(framing).batches(18, 20)))["image"].numpy().astype(float)
            for images in (original, prepared)
        )
        assert "size" not in next(iter(prepared.framed(framing).batches(18, 20)))
        assert np.abs(first - second).mean() < 6, framing  # noise, reduced twice


def test_files_are_the_same_on_any_number_of_cores(photos, tmp_path, monkeypatch):
    for cores in (1, 3):
        monkeypatch.setattr(reducing.os, "cpu_count", lambda cores=cores: cores)
        prepare(photos, tmp_path / f"prepared{cores}", 70)
    assert contents(tmp_path / "prepared1") == contents(tmp_path / "prepared3")


def test_an_interrupted_preparation_continues(photos, tmp_path, monkeypatch):
    """Finished shards are kept, and the result is that of an undisturbed preparation."""
    prepare(photos, tmp_path / "undisturbed", 20)
    write, out = preparation.write_shard, tmp_path / "prepared"

    def interrupted(folder, number, *arguments):
        if number == 2:
            raise KeyboardInterrupt
        return write(folder, number, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(photos, out, 20)
    with pytest.raises(ValueError, match="not prepared completely; run the same `keras-bt prepare"):
        data.from_folder(out)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("0000[01].*")}
    assert len(before) == 4
    prepare(photos, out, 20)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_only_shards_of_new_and_changed_files_are_written_again(photos, tmp_path):
    out = tmp_path / "prepared"
    prepare(photos, out, 20)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    assert len(before) == 5
    prepare(photos, out, 20)  # nothing to do
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    write_photo(photos / "b" / "21.jpg", 3)  # the last one
    write_photo(photos / "b" / "99.jpg", 4)
    assert Preparation(photos, out, 20).estimate.files == 3
    assert prepare(photos, out, 20)["images"] == 23
    changed = [name for name in before if (out / name).stat().st_mtime_ns != before[name]]
    assert changed == ["00004.tfrecord"]
    assert_same_source(data.from_folder(out), data.from_folder(photos))
    for path in sorted((photos / "b").iterdir())[:8]:
        path.unlink()
    assert prepare(photos, out, 20)["shards"] == 3
    assert len(list(out.glob("*.tfrecord"))) == len(list(out.glob("0*.json"))) == 3
    assert_same_source(data.from_folder(out), data.from_folder(photos))


def test_a_renamed_folder_is_the_same_but_another_one_is_refused(photos, tmp_path):
    out, renamed, other = (tmp_path / name for name in ("prepared", "renamed", "other"))
    prepare(photos, out, 20)
    shards = {path.name: path.stat().st_mtime_ns for path in out.glob("0*")}
    shutil.move(photos, renamed)
    assert prepare(renamed, out, 20)["images"] == 22
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("0*")} == shards
    assert data.from_folder(out).name == "renamed"
    write_photo(other / "1.jpg", 1)
    with pytest.raises(ValueError, match=r"folder: 'renamed' before, 'other' now\); delete it"):
        prepare(other, out, 20)


def test_broken_files_are_named_and_left_out_on_request(photos, tmp_path, caplog):
    out = tmp_path / "prepared"
    whole = (photos / "a" / "00.jpg").read_bytes()
    (photos / "a" / "02.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "b" / "03.jpg").write_text("text")
    with pytest.raises(
        ValueError, match=r"2 of 22 images cannot be read: .*02.jpg: damaged or cut"
    ):
        prepare(photos, out, 20)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    assert len(before) == 5
    result = prepare(photos, out, 20, bad_images="skip")  # reads nothing again
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert (result["images"], result["skipped_images"]) == (20, 2)
    assert caplog.text.count("2 of 22 images cannot be read") == 1
    original = data.from_folder(photos, "skip", check="decode")
    assert_same_source(data.from_folder(out), original)
    with pytest.raises(ValueError, match="2 of 22 images cannot be read"):
        prepare(photos, out, 20)
    shutil.copy(photos / "a" / "00.jpg", photos / "a" / "02.jpg")
    (photos / "b" / "03.jpg").unlink()
    assert prepare(photos, out, 20)["images"] == 21


def test_files_that_change_meanwhile_are_named(photos, tmp_path):
    out = tmp_path / "prepared"
    opened = Preparation(photos, out, 20)
    write_photo(photos / "a" / "04.jpg", 3, (50, 50))
    (photos / "b" / "05.jpg").unlink()
    message = r"2 of 22 .*04.jpg: it changed while .*05.jpg: no such file"
    with pytest.raises(ValueError, match=message):
        opened.run()
    assert prepare(photos, out, 20)["images"] == 21
    assert_same_source(data.from_folder(out), data.from_folder(photos))


def test_a_disk_without_room_is_refused_before_it_begins(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "free_bytes", lambda path: 10_000)
    message = r"prepared needs about [\d.]+ MB for 22 images, but 0.0 MB are free there; prepare in"
    with pytest.raises(ValueError, match=message):
        prepare(photos, tmp_path / "prepared", 90)
    assert not list((tmp_path / "prepared").glob("[!.]*"))


def test_a_disk_that_becomes_full_leaves_finished_shards(photos, tmp_path, monkeypatch):
    replacing, out = atomic.replacing, tmp_path / "prepared"

    def full(path, needed_bytes=None):
        if path.name == "00002.tfrecord":
            raise atomic.WriteError(path, OSError(28, "No space left on device"), needed_bytes)
        return replacing(path, needed_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "replacing", full)
        with pytest.raises(
            atomic.WriteError, match="00002.*no space left on device; .* are needed"
        ):
            prepare(photos, out, 20)
    names = {f"0000{number}.{suffix}" for number in (0, 1) for suffix in ("json", "tfrecord")}
    assert set(contents(out)) == {*names, "manifest.json"}
    assert prepare(photos, out, 20)["images"] == 22


def test_estimate_is_that_of_the_result(photos, tmp_path):
    found = Preparation(photos, tmp_path / "prepared", 20).estimate
    assert found.files == 22 and 6_600 <= found.pixels <= 10_800
    prepare(photos, tmp_path / "prepared", 20)
    written = sum(path.stat().st_size for path in (tmp_path / "prepared").iterdir())
    assert 0.8 * written < found.size_bytes < 2 * written


def test_every_file_is_read_once(photos, tmp_path, monkeypatch):
    read, reduce_file = [], reducing.reduce_file
    monkeypatch.setattr(
        reducing, "reduce_file", lambda path, *rest: read.append(path) or reduce_file(path, *rest)
    )
    prepare(photos, tmp_path / "prepared", 20)
    assert sorted(read) == sorted(map(str, photos.rglob("*.jpg")))


def test_other_settings_and_foreign_folders_are_refused(photos, tmp_path):
    out = tmp_path / "prepared"
    prepare(photos, out, 20)
    message = (
        r"prepared with other settings \(load_size: 20 before, 30 now\); delete it, or prepare"
    )
    with pytest.raises(ValueError, match=message):
        prepare(photos, out, 30)
    with pytest.raises(ValueError, match="holds prepared images already"):
        prepare(out, tmp_path / "twice", 20)
    with pytest.raises(ValueError, match="holds other files; prepare into a folder of its own"):
        prepare(photos, photos, 20)
    with pytest.raises(ValueError, match="load_size must be at least 1, got 0"):
        prepare(photos, tmp_path / "none", 0)
    with pytest.raises(ValueError, match="max_pixels must be at least 1"):
        prepare(photos, tmp_path / "none", 20, max_pixels=0)
    with pytest.raises(ValueError, match='bad_images must be "fail" or "skip"'):
        prepare(photos, tmp_path / "none", 20, bad_images="ignore")
    assert not (tmp_path / "none").exists()


def test_a_second_process_is_refused_or_waits(photos, tmp_path):
    out = tmp_path / "prepared"
    lock = preparation.locked(out, "")
    with pytest.raises(ValueError, match="Another process is running in .*; wait, or prepare into"):
        prepare(photos, out, 20)
    second = Preparation(photos, out, 20)
    release = threading.Timer(0.3, os.close, (lock,))
    release.start()
    assert second.run(wait=True).images == 22
    release.join()
    reused = Preparation(photos, out, 20)
    shutil.move(photos, tmp_path / "gone")
    assert reused.run().images == 22


@pytest.mark.slow
def test_any_file_name_is_kept(tmp_path):
    for name in ("Ä quote'd", "line\nbreak", os.fsdecode(b"\xff")):
        for number in range(5):
            write_photo(tmp_path / "photos" / name / f"{number}.png", number)
    prepare(tmp_path / "photos", tmp_path / "prepared", 20)
    source = data.from_folder(tmp_path / "prepared")
    assert set(source.class_names) == {"Ä quote'd", "line\nbreak", os.fsdecode(b"\xff")}
    assert_same_source(source, data.from_folder(tmp_path / "photos"))


KILLED = """
import sys
from keras_bt.data import preparation
preparation.IMAGES_PER_SHARD = 5
print("ready", flush=True)
preparation.prepare(sys.argv[1], sys.argv[2], 70)
"""


@pytest.mark.slow
def test_five_kills_at_random_moments_change_no_byte(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "prepared"
    for number in range(150):
        write_photo(photos / "ab"[number % 2] / f"{number:03d}.jpg", number, (900, 700))
    started = time.monotonic()
    prepare(photos, tmp_path / "undisturbed", 70)
    seconds, moment = time.monotonic() - started, random.Random(0)
    finished = []
    for _ in range(5):
        program = [sys.executable, "-c", KILLED, photos, out]
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            process.stdout.readline()
            time.sleep(moment.uniform(0.05, 0.4) * seconds)
            process.kill()
        finished.append(len(list(out.glob("0*.json"))))
        names = {path.name for path in out.glob("*") if not path.name.startswith(".")}
        for name in names - {"manifest.json"}:  # no half shard is visible
            path = tmp_path / "undisturbed" / name
            assert (out / name).read_bytes() == path.read_bytes(), name
    print("finished shards at each kill:", finished)
    assert finished == sorted(finished)
    prepare(photos, out, 70)
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert json.loads((out / "manifest.json").read_text())["images"] == 150

"""`keras-bt prepare`, and `keras-bt pretrain --prepare`."""

import logging
import re
from types import SimpleNamespace

import pytest
from PIL import Image

from keras_bt.cli import preparing
from keras_bt.data.reducing import Estimate


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty photographs of 200 x 150 pixels in two classes."""
    folder = tmp_path_factory.mktemp("images") / "photos"
    for number in range(40):
        path = folder / "ab"[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((200, 150), 40 + number).convert("RGB").save(path)
    return folder


TRAINING = ("--image_size=16", "--epochs=2", "--batch_size=16", "--encoder=conv4", "--width=2")
TRAINING += ("--projector_dims=16,8", "--progress=none")


def test_command_prepares_and_continues(photos, command, tmp_path):
    out = tmp_path / "prepared"
    flags = (f"--image_dir={photos}", "--image_size=16", f"--out={out}")
    finished = command("prepare", *flags)
    assert finished.result["images"] == 40 and finished.result["out"] == str(out)
    assert re.search(
        r"Preparing images of 16 pixels in .*: about .* for 40 images", finished.stderr
    )
    assert "Preparing" not in command("prepare", *flags).stderr
    refusal = command("prepare", *flags, "--image_size=96").refusal
    assert (
        "other settings (encoding: 'PNG' before, 'JPEG, quality 98, 4:4:4' now; load_size: 16 "
        in refusal
    )
    assert "--out is missing" in command("prepare", *flags[:2]).refusal
    assert "--image_dir is empty" in command("prepare", *flags[1:], "--image_dir=").refusal


@pytest.mark.slow
def test_a_run_on_prepared_images_scores_the_same_images(photos, command, tmp_path):
    prepared = tmp_path / "prepared"
    assert command(
        "prepare", f"--image_dir={photos}", "--image_size=16", f"--out={prepared}"
    ).result
    results = [
        command(
            "pretrain", f"--image_dir={folder}", f"--workdir={tmp_path / name}", *TRAINING
        ).result
        for name, folder in (("files", photos), ("records", prepared))
    ]
    same = ("images", "dataset", "epochs", "steps", "skipped_images", "protocol")
    assert [results[0][name] for name in same] == [results[1][name] for name in same]
    for result in results:
        assert result["trained"]["knn_accuracy"] is not None
    encoder = f"--encoder={tmp_path / 'records' / 'encoder'}"
    assert command("evaluate", encoder, f"--image_dir={prepared}").result["test_images"] == 8
    picture = tmp_path / "views.png"
    views = ("views", f"--image_dir={prepared}", "--image_size=16", f"--out={picture}")
    assert command(*views).status == 0 and picture.exists()
    refusal = command("pretrain", f"--image_dir={prepared}", "--image_size=32", *TRAINING[1:])
    assert "prepared for a load_size of 16 pixels, and 32 are needed" in refusal.refusal
    features = tmp_path / "features.npz"
    flags = (encoder, f"--image_dir={prepared}", f"--out={features}")
    assert command("features", *flags).result["images"] == 40
    near = tmp_path / "near.png"
    flags = (f"--features={features}", f"--image={prepared}/a/00.jpg", f"--out={near}", "--count=3")
    found = command("neighbors", *flags)
    assert found.status == 0, found.stderr
    assert len(found.stdout.splitlines()) == 3 and near.exists()


@pytest.mark.slow
def test_a_run_prepares_its_images_itself(photos, command, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    flags = (f"--image_dir={photos}", f"--workdir={workdir}", "--prepare=always", *TRAINING)
    result = command("pretrain", *flags).result
    assert (workdir / "prepared" / "manifest.json").exists()
    assert (result["images"], result["dataset"]) == (32, "photos")
    assert command("pretrain", *flags).result == result  # finished
    never = command("pretrain", *flags[:1], f"--workdir={tmp_path / 'other'}", *flags[3:]).result
    assert not (tmp_path / "other" / "prepared").exists()  # the images fit into memory
    assert never["images"] == 32
    monkeypatch.setattr(preparing, "fits_into_memory", lambda count, size: False)
    workdir = tmp_path / "auto"
    flags = (f"--image_dir={photos}", f"--workdir={workdir}", *TRAINING[:-1], "--validation")
    finished = command("pretrain", *flags)
    said = rf"Preparing images of 16 pixels in {workdir}/prepared: about [\d.]+ MB for 40 images"
    assert re.search(f"{said}, about ", finished.stderr)
    assert finished.result["images"] == 28  # every tenth of 32 is held out


def test_prepare_always_needs_a_folder(command, tmp_path):
    flags = ("--recipe=digits", "--prepare=always", f"--workdir={tmp_path / 'run'}", "--epochs=1")
    assert "--prepare=always needs --image_dir." in command("pretrain", *flags).refusal


FLAGS = SimpleNamespace(deterministic=False)


def settings(epochs=10, load_size=320, minutes=None):
    return SimpleNamespace(
        recipe=SimpleNamespace(epochs=epochs, load_size=load_size), minutes=minutes
    )


def source(count):
    return SimpleNamespace(train=SimpleNamespace(count=count))


@pytest.mark.parametrize(
    ("flags", "fitted", "count", "expected"),
    [
        (FLAGS, settings(), 100_000, True),
        (FLAGS, settings(), 3000, False),  # they fit into memory
        (FLAGS, settings(epochs=1), 100_000, False),
        (SimpleNamespace(deterministic=True), settings(), 100_000, False),
    ],
)
def test_preparing_may_pay(flags, fitted, count, expected):
    assert preparing._may_pay(flags, fitted, source(count)) is expected


def pays(fitted, tmp_path, begun=False, **estimate):
    values = {"files": 10_000, "seconds": 100.0, "size_bytes": 1000, "pixels": 12e6, **estimate}
    opened = SimpleNamespace(begun=begun, estimate=Estimate(**values), out=tmp_path / "prepared")
    return preparing._pays(opened, fitted)


def test_preparing_pays(tmp_path, caplog):
    assert pays(settings(), tmp_path)
    assert not pays(settings(), tmp_path, pixels=4 * 320**2)
    assert pays(settings(), tmp_path, pixels=4 * 320**2, begun=True)
    assert not pays(settings(minutes=6.0), tmp_path)
    assert pays(settings(minutes=7.0), tmp_path)
    with caplog.at_level(logging.WARNING):
        assert not pays(settings(), tmp_path, size_bytes=10**18)
    assert "The images are read from their files in each epoch: " in caplog.text

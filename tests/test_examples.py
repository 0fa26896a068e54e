"""The scripts as a user starts them, each in a process of its own."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt.config.recipe import Recipe

ROOT = Path(__file__).parents[1]
TINY = ("--width=2", "--projector_dims=16,8", "--epochs=2", "--batch_size=256")
RESULT = {
    "recipe",
    "dataset",
    "images",
    "image_size",
    "skipped_images",
    "replaced_images",
    "steps",
    "epochs",
    "batch_size",
    "replicas",
    "seconds",
    "images_per_second",
    "nonfinite_steps",
    "loss",
    "loss_floor",
    "untrained_loss",
    "health",
    "protocol",
    "encoder_dir",
    "seed",
    "pixels",
    "untrained",
    "trained",
}
FIGURES = {"knn_accuracy", "linear_accuracy", "few_label_accuracy"}


def start(script, *flags, timeout=300):
    return subprocess.run(
        [sys.executable, ROOT / "examples" / f"{script}.py", *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def last_line(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def fails(script, *flags):
    run = start(script, *flags)
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    return run.stderr.splitlines()


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A tiny digits run: its folder, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    return workdir, start("pretrain", f"--workdir={workdir}", "--seed=3", *TINY)


@pytest.mark.slow
def test_profile_validation_and_ledger_of_a_run(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    flags = ("--profile", "--validation", f"--ledger={ledger}", *TINY, "--epochs=4")
    run = start("pretrain", f"--workdir={tmp_path}/run", *flags)
    result = last_line(run)
    (row,) = map(json.loads, ledger.read_text().splitlines())
    assert result["images"] == row["figures"]["images"] == 1437 - 144
    assert result["dataset"] == "digits (validation)"
    assert row["figures"]["trained"] == result["trained"]
    assert (row["recipe"], row["seed"], row["protocol"]) == ("digits", 0, result["protocol"])
    assert "--validation" in row["command"] and str(tmp_path) not in row["command"]
    found = result["profile"]
    for shares in (found["step"]["shares"], found["run"]):
        assert sum(shares.values()) == pytest.approx(1.0)
    assert set(found["run"]) == {
        "training",
        "monitors",
        "checkpoints",
        "scoring",
        "report",
        "export",
        "rest",
    }
    assert "waiting for input" in run.stderr and "share of the run's time" in run.stderr


@pytest.mark.slow
def test_pretrain_leaves_what_the_readme_says(tiny_run):
    workdir, run = tiny_run
    result = last_line(run)
    assert set(result) == RESULT
    assert result == json.loads((workdir / "result.json").read_text())
    assert (result["recipe"], result["dataset"], result["images"]) == ("digits", "digits", 1437)
    assert (result["steps"], result["epochs"], result["batch_size"]) == (10, 2, 256)
    assert result["seed"] == 3
    for name in ("pixels", "untrained", "trained"):
        assert set(result[name]) == FIGURES
        assert all(0 <= value <= 1 for value in result[name].values())
    settings = json.loads((workdir / "run.json").read_text())["settings"]
    assert settings["width"] == 2 and settings["projector_dims"] == [16, 8]
    metrics = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [5, 10]
    assert metrics[-1]["loss"] == result["loss"]
    assert metrics[-1]["knn_accuracy"] == pytest.approx(result["trained"]["knn_accuracy"], abs=0.01)
    encoder = tf.saved_model.load(result["encoder_dir"])
    assert encoder(np.zeros((2, 8, 8, 3), "float32")).shape == (2, 16)
    assert "floor=" in run.stderr and "start=" in run.stderr and "knn=" in run.stderr
    assert result["untrained_loss"] > 0 and isinstance(result["health"]["findings"], list)
    page = (workdir / "report.html").read_text()
    assert "What went in" in page and "What it sees as alike" in page and "http-equiv" not in page
    for name in ("pixels", "untrained", "trained"):
        for value in result[name].values():
            assert f"{100 * value:.1f}\N{NO-BREAK SPACE}%" in page
    assert "report:  " in run.stderr and "this encoder" in run.stderr


@pytest.mark.slow
def test_lines_of_json_and_logs_for_tensorboard(tmp_path):
    flags = ("--progress=json", "--tensorboard", *TINY)
    run = start("pretrain", f"--workdir={tmp_path}/run", *flags)
    *epochs, result = map(json.loads, run.stdout.splitlines())
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert epochs[-1]["knn_accuracy"] > 0 and epochs[0]["seconds_left"] > 0
    assert "trained" in result and "floor=" not in run.stderr and "report:" not in run.stderr
    logs = tmp_path / "run" / "tensorboard"
    assert list(logs.glob("train/events.*")) and list(logs.glob("pictures/events.*"))
    assert "sprite.png" in (logs / "pictures" / "projector_config.pbtxt").read_text()


@pytest.mark.slow
def test_views_of_ones_own_images_as_a_picture(tmp_path, rng):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = rng.integers(0, 256, (40, 30, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    flags = (f"--image_dir={tmp_path}/photos", "--image_size=32", "--rows=2", "--pairs=2")
    run = start("show_views", *flags, f"--out={tmp_path}/views.png")
    assert run.stdout.strip() == f"{tmp_path}/views.png", run.stderr
    with Image.open(tmp_path / "views.png") as drawn:
        assert drawn.size == (5 * 96 + 8 * 4, 22 + 2 * 96 + 4)
        columns = np.asarray(drawn)[22:118]
    assert (columns[:, :96] != columns[:, 108:204]).any()  # the image, and a view of it
    message = fails("show_views", *flags, f"--out={tmp_path}/views.jpg")[-1]
    assert message == f"show_views: --out must end in .png, got {tmp_path}/views.jpg."


@pytest.mark.slow
def test_a_finished_run_is_told_again_and_other_settings_are_refused(tiny_run):
    workdir, run = tiny_run
    flags = (f"--workdir={workdir}", "--seed=3", *TINY)
    assert last_line(start("pretrain", *flags)) == last_line(run)
    message = " ".join(fails("pretrain", *flags, "--redundancy_weight=0.01"))
    assert "redundancy_weight: 0.0051 there, 0.01 now" in message


@pytest.mark.slow
def test_linear_eval_and_export_of_a_run(tiny_run, tmp_path):
    workdir, run = tiny_run
    scores = last_line(start("linear_eval", f"--encoder={workdir}/encoder"))
    trained = last_line(run)["trained"]
    assert {name: scores[name] for name in FIGURES} == pytest.approx(trained, abs=0.01)
    assert (scores["train_images"], scores["test_images"]) == (1437, 360)

    out = tmp_path / "again"
    exported = start("export_encoder", f"--model={workdir}/model.keras", f"--out={out}")
    assert exported.stdout.strip() == str(out), exported.stderr
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    first, second = (tf.saved_model.load(str(path))(images) for path in (workdir / "encoder", out))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    message = " ".join(fails("export_encoder", f"--model={workdir}/model.keras", f"--out={out}"))
    assert "again exists" in message


@pytest.mark.slow
def test_export_to_other_formats(tiny_run, tmp_path):
    workdir, _ = tiny_run
    encoder, model = f"--encoder={workdir}/encoder", f"--model={workdir}/model.keras"
    out, onnx = tmp_path / "again", tmp_path / "encoder.onnx"
    done = start("export_encoder", model, f"--out={out}", "--licence=CC0")
    assert done.returncode == 0, done.stderr
    card = (out / "README.md").read_text()
    assert "CC0" in card and "- images: 1437" in card
    assert start("export_encoder", encoder, "--format=onnx", f"--out={onnx}").returncode == 0
    lite = tmp_path / "encoder.tflite"
    done = start("export_encoder", model, "--format=litert_int8", f"--out={lite}")
    assert done.stdout.strip() == str(lite) and lite.stat().st_size > 1000
    for flags, message in (
        ((encoder, "--out=x"), "--encoder is a SavedModel already"),
        ((model, "--format=onnx", "--out=x"), "must end in .onnx, got x"),
        ((model, "--format=onnx", "--out=x.onnx", "--licence=CC0"), "--licence has no effect"),
        ((f"--encoder={tmp_path}", "--format=onnx", "--out=x.onnx"), "There is no SavedModel"),
    ):
        assert message in " ".join(fails("export_encoder", *flags))


@pytest.mark.slow
def test_import_of_pytorchs_weights(tmp_path):
    golden = ROOT / "tests" / "golden"
    flags = (f"--checkpoint={golden}/checkpoint_resnet50_width1.pth", "--image_size=40")
    flags += (f"--keras={tmp_path}/encoder.keras", f"--projector={tmp_path}/projector.keras")
    run = start("import_torch", *flags, f"--out={tmp_path}/encoder")
    assert run.stdout.strip() == f"{tmp_path}/encoder", run.stderr
    assert "Not taken from" in run.stderr and "module.bn.running_mean" in run.stderr
    images = np.random.default_rng(0).uniform(size=(2, 40, 40, 3)).astype("float32")
    encoder = keras.saving.load_model(tmp_path / "encoder.keras")
    features = tf.saved_model.load(f"{tmp_path}/encoder")(images)
    np.testing.assert_allclose(features, encoder(images), rtol=1e-4, atol=1e-4)
    projector = keras.saving.load_model(tmp_path / "projector.keras")
    assert projector(features).shape == (2, 8)
    again = (*flags, f"--out={tmp_path}/encoder")
    assert "encoder.keras exists; --overwrite" in " ".join(fails("import_torch", *again))
    narrow = (f"--checkpoint={golden}/resnet18_width2.pth", f"--projector={tmp_path}/p.keras")
    message = " ".join(fails("import_torch", *narrow, f"--out={tmp_path}/b"))
    assert "resnet18_width2.pth holds no projector" in message


@pytest.mark.slow
def test_embed_a_folder_and_find_neighbors(tiny_run, tmp_path):
    workdir, _ = tiny_run
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 11, 3)).astype("uint8")
    for number, image in enumerate(images):
        file = str(tmp_path / "photos" / f"{number:02d}.png")
        tf.io.write_file(file, tf.io.encode_png(image))
    tf.io.write_file(str(tmp_path / "twin.png"), tf.io.encode_png(images[4]))
    out = tmp_path / "features.parquet"
    flags = (f"--encoder={workdir}/encoder", f"--image_dir={tmp_path}/photos", f"--out={out}")
    result = last_line(start("embed", *flags))
    assert (result["images"], result["skipped_images"], result["features"]) == (12, 0, 16)
    assert "features.parquet exists; --overwrite" in " ".join(fails("embed", *flags))

    found = start(
        "neighbors", f"--features={out}", f"--image={tmp_path}/photos/04.png", "--count=3"
    )
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(lines) == 3 and all(line["path"] != "04.png" for line in lines)
    assert lines == sorted(lines, key=lambda line: -line["cosine"])
    drawn = tmp_path / "near.png"
    flags = (f"--features={out}", f"--image={tmp_path}/twin.png", f"--out={drawn}", "--count=2")
    found = start("neighbors", *flags)
    assert json.loads(found.stdout.splitlines()[0]) == {"path": "04.png", "cosine": 1.0}
    assert tf.io.decode_png(drawn.read_bytes()).shape[0] == 128
    message = " ".join(fails("neighbors", f"--features={workdir}/model.keras", "--image=a.png"))
    assert "ending in .parquet or .npz" in message


@pytest.mark.slow
def test_published_protocols_of_a_run(tiny_run):
    workdir, _ = tiny_run
    flags = ("--protocol=sgd", "--epochs=2", "--knn_sweep")
    result = last_line(start("linear_eval", f"--encoder={workdir}/encoder", *flags))
    assert (result["linear_sgd"]["epochs"], result["linear_sgd"]["steps"]) == (2, 10)
    assert 0 <= result["linear_sgd"]["top1"] <= result["linear_sgd"]["top5"] <= 1
    assert len(result["knn_sweep"]) == 64
    assert set(result["protocol"]) == {"linear_sgd", "knn_sweep"}

    flags = ("--fractions=0.01,0.1", "--epochs=2", "--seed=1")
    run = start("finetune", f"--encoder={workdir}/encoder", *flags)
    few, more = last_line(run)["fractions"]
    assert (few["images"], few["epochs"], few["steps"]) == (10, 2, 2)
    assert (more["images"], more["epochs"], more["steps"]) == (142, 2, 2)
    assert few["linear_accuracy"] is None and 0.1 < more["linear_accuracy"] < 1
    assert 0 <= more["top1"] <= more["top5"] <= 1
    assert len([line for line in run.stderr.splitlines() if re.match(r" +0\.\d+  +\d+", line)]) == 2

    flags = ("--from_scratch", "--fractions=0.1", "--epochs=1")
    result = last_line(start("finetune", f"--model={workdir}/model.keras", *flags))
    assert result["encoder_learning_rate"] == 0.1 and result["from_scratch"] is True
    assert result["fractions"][0]["linear_accuracy"] is None


REFUSALS = """
import importlib, json, sys
from absl import flags

sys.path.insert(0, sys.argv[1])
script = importlib.import_module(sys.argv[2])
import encoder_source
for given in json.loads(sys.argv[3]):
    flags.FLAGS.unparse_flags()
    try:
        encoder_source.run(sys.argv[2], script.measure, flags.FLAGS([sys.argv[2], *given]))
    except (SystemExit, flags.Error) as error:
        print(str(error).replace("\\n", " "))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "refusals"),
    [
        (
            "linear_eval",
            [
                ([], "encoder=None, model=None"),
                (["--encoder=a", "--model=b"], "encoder=a, model=b"),
                (["--encoder=nowhere"], "linear_eval: There is no SavedModel in nowhere"),
                (["--encoder=nowhere", "--epochs=3"], "--epochs goes with --protocol=sgd"),
                (
                    ["--encoder=ENCODER", "--image_size=9"],
                    "takes images of 8 x 8 pixels, image_size is 9",
                ),
            ],
        ),
        (
            "finetune",
            [
                (["--model=nowhere.keras"], "finetune: File not found: filepath=nowhere.keras"),
                (["--encoder=ENCODER", "--fractions=0.1,2"], "numbers in (0, 1], got [0.1, 2.0]"),
                (
                    ["--encoder=ENCODER", "--fractions=1,t"],
                    "takes numbers with commas between, got 1,t",
                ),
                (
                    ["--encoder=ENCODER", "--crop_area=0,1"],
                    "crop_area must be (low, high) with 0 <",
                ),
                (["--encoder=ENCODER", "--from_scratch"], "--from_scratch needs --model"),
                (["--encoder=ENCODER", "--dataset=cifar11"], "no data set 'cifar11'; did you mean"),
                (["--encoder=ENCODER", "more"], "unexpected arguments ['more']"),
            ],
        ),
    ],
    ids=["linear_eval", "finetune"],
)
def test_wrong_flags_of_an_evaluation(tiny_run, script, refusals):
    """All in one process, for importing takes longest."""
    encoder = str(tiny_run[0] / "encoder")
    given = [[flag.replace("ENCODER", encoder) for flag in flags] for flags, _ in refusals]
    run = subprocess.run(
        [sys.executable, "-c", REFUSALS, ROOT / "examples", script, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    for said, (_, message) in zip(run.stdout.splitlines(), refusals, strict=True):
        assert message in said


@pytest.mark.slow
def test_own_images_of_mixed_sizes_without_labels(tmp_path):
    random = np.random.default_rng(0)
    for number in range(40):
        shape = (*random.integers(10, 40, 2), 3)
        encoded = tf.io.encode_jpeg(random.integers(0, 256, shape).astype("uint8"))
        tf.io.write_file(str(tmp_path / "photos" / f"{number}.jpg"), encoded)
    (tmp_path / "photos" / "text.jpg").write_text("not a picture")
    workdir = tmp_path / "run"
    flags = (
        "--bad_images=skip",
        "--width=2",
        "--projector_dims=8",
        "--batch_size=8",
        "--image_size=12",
        "--minutes=0.02",
    )
    result = last_line(
        start(
            "pretrain",
            f"--image_dir={tmp_path}/photos",
            f"--workdir={workdir}",
            "--minutes=0.02",
            *flags,
        )
    )
    assert (result["recipe"], result["dataset"], result["images"]) == ("images", "photos", 40)
    assert (result["skipped_images"], result["replaced_images"]) == (1, 0)
    assert len(list(tmp_path.glob(".photos-*.images.gz"))) == 1
    for name in ("pixels", "untrained", "trained"):
        assert result[name] == dict.fromkeys(FIGURES)
    encoder = tf.saved_model.load(result["encoder_dir"])
    assert encoder(np.zeros((1, 12, 12, 3), "float32")).shape == (1, 16)


@pytest.mark.slow
def test_a_diverging_run_says_where_and_goes_no_further(tmp_path):
    flags = (f"--workdir={tmp_path}", "--learning_rate=1e20", *TINY)
    message = " ".join(fails("pretrain", *flags))
    assert re.search(
        r"pretrain: Step \d \(epoch \d\): the \w+ term of the loss is not finite, first in the "
        r"output of layer \S+ The weights are those before it. A lower learning rate may help.",
        message,
    )
    message = " ".join(fails("pretrain", *flags, "--on_nonfinite=skip"))
    assert "Step 5 (epoch 1)" in message and "Going on by skip." in message
    assert "No step of this epoch was finite." in message
    written = [path.read_text() for path in tmp_path.rglob("*.json*")]
    assert not any("NaN" in text or "Infinity" in text for text in written)


@pytest.mark.slow
def test_digits_learn(tmp_path):
    """A fifth of the recipe's epochs is enough to leave the untrained encoder behind."""
    result = last_line(start("pretrain", f"--workdir={tmp_path}", "--epochs=40", timeout=400))
    for figure in FIGURES:
        assert result["trained"][figure] > result["untrained"][figure] + 0.05, figure
    assert result["loss"] > result["loss_floor"]
    assert result["health"]["findings"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bach_size=8"], "Unknown command line flag 'bach_size'. Did you mean: batch_size"),
        (["--image_dir=nowhere"], "pretrain: There is no folder"),
        (["--image_dir=a", "--tfrecords=b"], "image_dir"),
        (["--batch_size=2000"], "1437 images, fewer than the batch_size of 2000"),
        (["--hue=0.2", "--jitter_rate=0"], "--hue has no effect: jitter_rate is 0."),
        (["--crop_area=0.5,2"], "crop_area must be (low, high) with 0 < low <= high <= 1"),
        (["--redundancy_weight=-2"], "redundancy_weight must be at least 0, got -2.0"),
        (["--minutes=-1"], "--minutes=-1"),
        (["--image_dir="], "--image_dir is empty"),
        (["recipe=imagenet"], "unexpected arguments ['recipe=imagenet']"),
        (["--dataset=cifar11"], "no data set 'cifar11'; did you mean 'cifar10"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_flags_are_met_at_once(tmp_path, flags, message):
    assert message in " ".join(fails("pretrain", f"--workdir={tmp_path}/run", *flags))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ablate_trains_what_is_not_there_and_prints_a_table(tmp_path):
    def ablate(rows):
        flags = (f"--workdir={tmp_path}", f"--rows={rows}", "--seeds=0", *TINY)
        done = start("ablate", *flags)
        assert done.returncode == 0, done.stderr
        results = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        return done, results

    done, results = ablate("baseline,stop_gradient,no_grayscale")
    assert [(result["row"], result["seed"]) for result in results] == [
        ("baseline", 0),
        ("stop_gradient", 0),
    ]
    for result in results:
        assert all(0 < result[name] <= 1 for name in ("knn_accuracy", "linear_accuracy"))
        assert result["settings"]["width"] == 2 and result["settings"]["images"] == 1437
    assert "no_grayscale is baseline in digits, left out" in done.stderr
    table = done.stdout.splitlines()
    assert table[-1].startswith("| stop_gradient |") and table[-1].endswith("| 70.5 | -0.9 |")
    again, same = ablate("stop_gradient,baseline")
    assert same == results and again.stdout.splitlines()[-2:] == table[-2:]
    message = " ".join(fails("ablate", f"--workdir={tmp_path}", "--rows=stop"))
    assert "ablate: there is no row 'stop'; --list names them." in message


@pytest.mark.slow
def test_help_describes_every_field_of_a_recipe():
    text = start("pretrain", "--help").stdout
    for field in dataclasses.fields(Recipe):
        if field.name not in ("name", "sources"):
            assert re.search(rf"--{field.name}: \S", text), field.name
    assert "--blur_rates: Probability of a blur, of view A and of view B." in text
    assert "--image_dir: Folder of images" in text


@pytest.mark.slow
def test_describe_prints_the_settings_of_own_images_with_their_reasons(tmp_path):
    image = tf.io.encode_jpeg(np.zeros((8, 8, 3), "uint8"))
    for number in range(40):
        tf.io.write_file(str(tmp_path / "photos" / f"{number}.jpg"), image)
    flags = (f"--image_dir={tmp_path}/photos", f"--workdir={tmp_path}/run", "--batch_size=8")
    text = start("pretrain", *flags, "--describe").stdout
    assert re.search(r"batch_size +8 +as given", text)
    assert re.search(r"projector_dims +2048,2048 +the paper's figure 4 rises", text)
    assert not (tmp_path / "run").exists()


def test_scripts_stay_wiring():
    for script in (ROOT / "examples").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 200, script

"""`keras-bt pretrain`: what a run writes, prints and refuses."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tensorflow as tf

METRICS = {"knn_accuracy", "linear_accuracy", "few_label_accuracy"}
REFERENCE = Path(__file__).parents[2] / "docs/reference"


def test_a_run_writes_its_files_and_prints_its_result(tiny_run):
    workdir, finished = tiny_run
    result = finished.result
    assert result == json.loads((workdir / "result.json").read_text())
    assert (result["recipe"], result["dataset"], result["images"]) == ("digits", "digits", 1437)
    assert (result["steps"], result["epochs"], result["batch_size"]) == (10, 2, 256)
    assert (result["seed"], result["framing"]) == (3, "square")
    for name in ("pixels", "untrained", "trained"):
        assert set(result[name]) == METRICS
        assert all(0 <= value <= 1 for value in result[name].values())
    run = json.loads((workdir / "run.json").read_text())
    assert run["settings"]["width"] == 2 and run["settings"]["projector_dims"] == [16, 8]
    assert run["command"].startswith(f"keras-bt pretrain --workdir={workdir} --seed=3 ")
    assert re.fullmatch(r"\d+\.\d+\.\d+", run["versions"]["keras_bt"])
    epochs = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in epochs] == [5, 10]
    assert epochs[-1]["loss"] == result["loss"]
    assert 0 < epochs[-1]["knn_accuracy"] < 1  # of a quarter of the images, in so short a run
    encoder = tf.saved_model.load(result["encoder_dir"])
    assert encoder(np.zeros((2, 8, 8, 3), "float32")).shape == (2, 16)
    assert result["untrained_loss"] > 0 and isinstance(result["health"]["findings"], list)


def test_a_result_follows_its_schema(tiny_run):
    schema = json.loads((REFERENCE / "result.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tiny_run[1].result, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tiny_run[1].result, "unknown": 1}, schema)


def test_the_reference_names_the_files_of_a_run(tiny_run):
    rows = re.findall(r"^\| (`.*?) \|", (REFERENCE / "run_files.md").read_text("utf-8"), re.M)
    named = {name for row in rows for name in re.findall(r"`([\w.]+)/?`", row)}
    assert named - {"prepared", "tensorboard"} == {
        path.name for path in tiny_run[0].iterdir() if not path.name.startswith(".")
    }


def test_a_run_shows_its_progress_and_a_summary(tiny_run):
    _, finished = tiny_run
    for text in ("floor=", "start=", "knn=", "untrained=", "report:  ", "this encoder"):
        assert text in finished.stderr
    lines = finished.stderr.splitlines()
    assert lines[0].startswith("Pretraining on digits; folder of the run: ")
    assert finished.result["verdict"] in lines
    assert lines.index(finished.result["verdict"]) < lines.index(
        next(line for line in lines if "k-NN      linear" in line)
    )


def test_the_report_has_the_metrics_of_the_result(tiny_run):
    workdir, finished = tiny_run
    page = (workdir / "report.html").read_text()
    assert "http-equiv" not in page
    for name in ("pixels", "untrained", "trained"):
        for value in finished.result[name].values():
            assert f"{100 * value:.1f}\N{NO-BREAK SPACE}%" in page


def test_finished_run_prints_its_result_and_other_settings_are_refused(
    tiny_run, command, tiny_flags
):
    workdir, finished = tiny_run
    flags = (f"--workdir={workdir}", "--seed=3", *tiny_flags)
    assert command("pretrain", *flags).result == finished.result
    refusal = command("pretrain", *flags, "--framing=pad").refusal
    assert "framing: 'square' before, 'pad' now" in refusal
    refusal = command("pretrain", *flags, "--redundancy_weight=0.01").refusal
    assert "redundancy_weight: 0.0051 before, 0.01 now" in refusal


def test_automatic_precision_is_that_of_the_run(
    tiny_run, command, tiny_flags, tmp_path, monkeypatch
):
    chosen = [("mixed_bfloat16", "auto: because")]
    monkeypatch.setattr("keras_bt.config.recipe.choose_precision", lambda *stage: chosen.pop())
    workdir, finished = tiny_run
    assert finished.result["precision"] == "float32"
    flags = ("pretrain", "--seed=3", *tiny_flags, "--precision=auto")
    described = command(*flags, f"--workdir={tmp_path}", "--describe").stdout
    assert re.search("precision +mixed_bfloat16 +auto: because", described) and not chosen
    assert command(*flags, f"--workdir={workdir}").result == finished.result
    described = command(*flags, f"--workdir={workdir}", "--describe").stdout
    assert re.search(f"precision +float32 +the run in {workdir} began with it", described)
    refusal = command(*flags, f"--workdir={workdir}", "--precision=mixed_bfloat16").refusal
    assert "precision: 'float32' before, 'mixed_bfloat16' now" in refusal
    (tmp_path / "run.json").write_text("{}")
    assert "is not a run.json of keras_bt" in command(*flags, f"--workdir={tmp_path}").refusal


@pytest.mark.slow
def test_a_run_stores_the_chosen_precision_and_resumes_in_it(
    command, tiny_flags, tmp_path, monkeypatch
):
    chosen = [("mixed_bfloat16", "auto: because")]
    monkeypatch.setattr("keras_bt.config.recipe.choose_precision", lambda *stage: chosen.pop())
    flags = ("pretrain", *tiny_flags, "--precision=auto", f"--workdir={tmp_path}/run")
    result = command(*flags, f"--ledger={tmp_path}/ledger.jsonl").result
    assert result["precision"] == "mixed_bfloat16"
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["precision"] == "mixed_bfloat16"
    row = json.loads((tmp_path / "ledger.jsonl").read_text())
    assert row["figures"]["precision"] == "mixed_bfloat16"
    assert "<td>mixed_bfloat16</td>" in (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "result.json").unlink()
    again = command(*flags).result
    assert (again["precision"], again["loss"]) == ("mixed_bfloat16", result["loss"])


@pytest.mark.slow
def test_run_with_profile_validation_and_ledger(tmp_path, command, tiny_flags):
    ledger = tmp_path / "ledger.jsonl"
    flags = ("--profile", "--validation", f"--ledger={ledger}", *tiny_flags, "--epochs=4")
    finished = command("pretrain", f"--workdir={tmp_path}/run", *flags)
    result = finished.result
    (row,) = map(json.loads, ledger.read_text().splitlines())
    assert result["images"] == row["figures"]["images"] == 1437 - 144
    assert result["dataset"] == "digits (validation)"
    assert row["figures"]["trained"] == result["trained"]
    assert (row["recipe"], row["seed"], row["protocol"]) == ("digits", 0, result["protocol"])
    assert row["command"].startswith("keras-bt pretrain --profile --validation --width=2")
    assert str(tmp_path) not in row["command"]
    profile = result["profile"]
    for shares in (profile["step"]["shares"], profile["run"]):
        assert sum(shares.values()) == pytest.approx(1.0)
    parts = {"reading", "training", "monitors", "checkpoints", "scoring", "report", "export"}
    parts.add("rest")
    assert set(profile["run"]) == parts
    assert "waiting for input" in finished.stderr


@pytest.mark.slow
def test_run_with_json_progress_and_tensorboard(tmp_path, command, tiny_flags):
    flags = ("--progress=json", "--tensorboard", *tiny_flags)
    workdir = tmp_path / "run [1]"  # a pattern, for TensorFlow
    finished = command("pretrain", f"--workdir={workdir}", *flags)
    *epochs, result = map(json.loads, finished.stdout.splitlines())
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert epochs[-1]["knn_accuracy"] > 0 and epochs[0]["seconds_left"] > 0
    assert "trained" in result
    assert "floor=" not in finished.stderr and "report:" not in finished.stderr
    logs = workdir / "tensorboard"
    assert list(logs.glob("train/events.*")) and list(logs.glob("pictures/events.*"))
    assert "sprite.png" in (logs / "pictures" / "projector_config.pbtxt").read_text()


@pytest.mark.slow
def test_trains_on_own_images_of_mixed_sizes_without_labels(tmp_path, command, monkeypatch):
    monkeypatch.setattr("keras_bt.cli.fitting.check_budget", lambda *_: None)
    random = np.random.default_rng(0)
    for number in range(40):
        shape = (*random.integers(10, 40, 2), 3)
        encoded = tf.io.encode_jpeg(random.integers(0, 256, shape).astype("uint8"))
        tf.io.write_file(str(tmp_path / "photos" / f"{number}.jpg"), encoded)
    (tmp_path / "photos" / "text.jpg").write_text("not a picture")
    flags = ("--bad_images=skip", "--width=2", "--projector_dims=8", "--batch_size=8")
    flags += ("--image_size=12", "--minutes=0.1", f"--workdir={tmp_path}/run")
    result = command("pretrain", f"--image_dir={tmp_path}/photos", *flags).result
    assert (result["recipe"], result["dataset"], result["images"]) == ("images", "photos", 40)
    assert (result["skipped_images"], result["replaced_images"]) == (1, 0)
    assert len(list(tmp_path.glob(".photos-*.images.gz"))) == 1
    for name in ("pixels", "untrained", "trained"):
        assert result[name] == dict.fromkeys(METRICS)
    encoder = tf.saved_model.load(result["encoder_dir"])
    assert encoder(np.zeros((1, 12, 12, 3), "float32")).shape == (1, 16)


@pytest.fixture
def classes(tmp_path):
    """Twenty images in two class folders, two of which are cut off."""
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (8, 8, 3)).astype("uint8")
        content = tf.io.encode_png(pixels).numpy()
        path.write_bytes(content[:-30] if number in (3, 10) else content)  # 10 is held out
    return tmp_path / "photos"


SMALL = ("--width=2", "--projector_dims=8", "--batch_size=4", "--image_size=8", "--epochs=2")


@pytest.mark.slow
def test_damaged_images_are_replaced_named_and_counted(classes, tmp_path, command):
    flags = (f"--image_dir={classes}", "--encoder=conv4", *SMALL, f"--workdir={tmp_path}/run")
    refusal = command("pretrain", *flags, "--check=decode").refusal
    assert "2 of 20 images cannot be read" in refusal and "03.png: damaged or cut" in refusal
    finished = command("pretrain", *flags)
    assert (finished.result["images"], finished.result["skipped_images"]) == (16, 0)
    assert finished.result["replaced_images"] == 2, "one to train on, and one held out"
    for name in ("b/03.png", "a/10.png"):
        assert finished.stderr.count(f"Another image replaces {classes}/{name}: damaged") == 1
    flags = (f"--encoder={tmp_path}/run/encoder", f"--image_dir={classes}")
    evaluated = command("evaluate", *flags).result
    assert (evaluated["test_images"], evaluated["replaced_images"]) == (4, 2)
    flags += ("--check=decode", "--bad_images=skip")
    evaluated = command("evaluate", *flags).result
    assert (evaluated["train_images"], evaluated["replaced_images"]) == (14, 0)


@pytest.mark.slow
def test_a_run_ends_in_one_line_if_many_images_are_damaged(classes, tmp_path, command, monkeypatch):
    monkeypatch.setattr("keras_bt.data.reader.MAX_REPLACED", 1)
    flags = (f"--image_dir={classes}", "--encoder=conv4", *SMALL, f"--workdir={tmp_path}/run")
    assert re.search(
        r"pretrain: \S+\.png cannot be read: damaged", command("pretrain", *flags).refusal
    )


@pytest.mark.slow
def test_the_index_of_tfrecords_lies_beside_the_run(tmp_path, command, monkeypatch):
    image = tf.io.encode_png(np.zeros((8, 8, 3), "uint8")).numpy()
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    for shard in range(2):
        with tf.io.TFRecordWriter(f"{tmp_path}/{shard}.tfrecord") as writer:
            for _ in range(5):
                writer.write(record)
    flags = (f"--tfrecords={tmp_path}/*.tfrecord", f"--out={tmp_path}/views.png")
    flags += (f"--workdir={tmp_path}/runs/a", "--image_size=8", "--rows=2", "--pairs=1")
    assert command("views", *flags).status == 0
    (index,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\._\.tfrecord-\w{8}\.records\.gz", index.name)
    monkeypatch.setattr("keras_bt.data.tfrecords.examine_records", lambda *a, **b: 1 / 0)
    assert command("views", *flags).status == 0


@pytest.mark.slow
def test_a_diverging_run_names_the_step_and_stops(tmp_path, command, tiny_flags):
    flags = (f"--workdir={tmp_path}", "--learning_rate=1e20", *tiny_flags)
    refusal = command("pretrain", *flags).refusal
    assert re.search(r"pretrain: Step \d \(epoch \d\): .* not finite", refusal)
    again = command("pretrain", *flags, "--on_nonfinite=skip")
    assert again.status == 2 and "Step 5 (epoch 1)" in again.stderr
    assert "The features after epoch 1 are not finite. Try a lower learning rate." in again.stderr
    written = [path.read_text() for path in tmp_path.rglob("*.json*")]
    assert not any("NaN" in text or "Infinity" in text for text in written)


@pytest.mark.slow
def test_digits_learn_in_a_process_that_prints_nothing_else(tmp_path):
    """A fifth of the recipe's epochs is enough to do better than the untrained encoder."""
    flags = [f"--workdir={tmp_path}", "--epochs=40", "--progress=none"]
    program = [sys.executable, "-m", "keras_bt", "pretrain", *flags]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    finished = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=400)
    assert finished.returncode == 0, finished.stderr
    # Squares are slow at first, and the warm-up takes a quarter of so short a run.
    lines = finished.stderr.splitlines()
    assert all(line.startswith("Warning: worse than untrained: ") for line in lines), lines
    result = json.loads(finished.stdout)
    for metric in METRICS:
        assert result["trained"][metric] > result["untrained"][metric] + 0.05, metric
    assert result["loss"] > result["loss_floor"]
    assert result["health"]["findings"] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bach_size=8"], "Unknown command line flag 'bach_size'. Did you mean: batch_size"),
        (["--image_dir=nowhere"], "keras-bt pretrain: There is no folder"),
        (["--image_dir=a", "--tfrecords=b"], "--image_dir and --tfrecords cannot be combined"),
        (["--epochs=2", "--minutes=1"], "--epochs and --minutes cannot be combined"),
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
def test_wrong_flags_are_refused_at_once(tmp_path, command, flags, message):
    assert message in command("pretrain", f"--workdir={tmp_path}/run", *flags).refusal
    assert not (tmp_path / "run").exists()


def test_describe_prints_the_settings_of_own_images_with_their_reasons(tmp_path, command):
    image = tf.io.encode_jpeg(np.zeros((8, 8, 3), "uint8"))
    for number in range(40):
        tf.io.write_file(str(tmp_path / "photos" / f"{number}.jpg"), image)
    flags = (f"--image_dir={tmp_path}/photos", f"--workdir={tmp_path}/run", "--batch_size=8")
    described = command("pretrain", *flags, "--describe", "--minutes=8")
    text = described.stdout
    words, shares, *_ = text.splitlines()
    assert words not in described.stderr
    assert re.match(r"\d+ cores?, [\d,]+ images a second through conv4 of width \d+ in ", words)
    assert re.search(r": about [\d,]+ epochs(; width \d+ would get [\d,]+)?\.$", words)
    assert re.fullmatch(
        r"Start 0:\d\d, baselines 0:00, training 7:\d\d, scores and report 0:12\.", shares
    )
    assert re.search(r"batch_size +8 +as given", text)
    assert re.search(r"image_size +8 +the images' own short side, at most 64 pixels", text)
    assert re.search(r"projector_dims +32,16 +256, as many as both views", text)
    assert re.search(r"epochs +\d+ +about as many as fit into 8 minutes, at", text)
    assert not (tmp_path / "run").exists()


def test_a_budget_without_a_single_pass_is_refused_with_the_least(tmp_path, command):
    flags = (f"--workdir={tmp_path}/run", "--recipe=digits", "--minutes=0.05")
    refusal = command("pretrain", *flags).refusal
    assert re.search(r"--minutes=0.05 is too short: .*; give at least \d\.\d\.$", refusal)
    assert not (tmp_path / "run").exists()


def test_a_run_of_days_gets_an_hour_on_cpus_and_says_so(tmp_path, command, monkeypatch):
    monkeypatch.setattr("keras_bt.cli.fitting.measure_speed", lambda *_: 100.0)
    flags = ("pretrain", f"--workdir={tmp_path}/run", "--recipe=digits")
    hint, *_ = command(*flags, "--width=2", "--batch_size=600", "--describe").stdout.splitlines()
    assert hint.endswith(
        "100 images a second through resnet18 of width 2 in float32: 200 epochs "
        "take about 48 minutes, without scoring."
    )
    monkeypatch.setattr("keras_bt.cli.fitting.measure_speed", lambda *_: 10.0)
    hint, words, *_ = command(*flags, "--width=2", "--describe").stdout.splitlines()
    assert hint == (
        "200 epochs of recipe digits would take 8 hours. The run takes an hour; --minutes=8 or "
        "--epochs=100, for example, changes that."
    )
    assert "10 images a second through conv4 of width 2" in words
    words = command(*flags, "--epochs=500", "--describe").stdout.splitlines()[0]
    assert words.endswith("500 epochs take about 20 hours, without scoring.")


class Stopped:
    """A training that stops at once, or after its result."""

    finishes = False

    def __init__(self, *arguments, **options):
        pass

    def run(self, folder, **options):
        if self.finishes:
            folder.write_result({"loss": 1.0})
        raise OSError("stopped")


@pytest.mark.parametrize("finishes", [False, True])
@pytest.mark.parametrize("kind", ["image_dir", "tfrecords", "tars"])
def test_a_run_continues_with_its_images_wherever_they_are(
    tmp_path, command, monkeypatch, kind, finishes
):
    monkeypatch.setattr("keras_bt.cli.pretrain.Pretraining", Stopped)
    monkeypatch.setattr(Stopped, "finishes", finishes)
    image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    features = tf.train.Features(feature={"image": value})
    record = tf.train.Example(features=features).SerializeToString()
    for folder, count in (("a", 9), ("b", 8), ("c", 9)):
        (tmp_path / folder / "photos").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(tmp_path / folder / "photos" / "0.tfrecord")) as writer:
            for number in range(count):
                (tmp_path / folder / "photos" / f"{number}.png").write_bytes(image)
                writer.write(record)
        with tarfile.open(tmp_path / folder / "photos" / "0.tar", "w") as tar:
            for number in range(count):
                tar.add(tmp_path / folder / "photos" / f"{number}.png", f"{number}.png")

    def start(folder, place):
        monkeypatch.chdir(tmp_path / folder)
        names = {"tfrecords": f"{place}/*.tfrecord", "tars": f"{place}/{{0..0}}.tar"}
        name = names.get(kind, place)
        flags = (f"--{kind}={name}", "--batch_size=8", f"--workdir={tmp_path}/run")
        return command("pretrain", *flags, "--progress=none")

    assert start("a", "photos").refusal == "keras-bt pretrain: stopped"
    (tmp_path / "a" / "link").symlink_to("photos")
    for folder, place in (("a", "./photos"), ("a", "link"), ("b", "../a/photos"), ("c", "photos")):
        again = start(folder, place)
        assert again.status == 0 if finishes else again.refusal.endswith("stopped")
    assert "belongs to a run on other images" in start("b", "photos").refusal
    (tmp_path / "c" / "photos").rename(tmp_path / "c" / "renamed")
    again = start("c", "renamed")
    assert again.status == 0 if finishes else again.refusal.endswith("stopped")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], "photos holds no images ("),
        ([b"x"] * 3, "3 of 3 images cannot be read: "),
        (["image"], "photos holds a single image; at least 2 are needed."),
    ],
    ids=["none", "unreadable", "one"],
)
@pytest.mark.parametrize("bad_images", ["fail", "skip"])
def test_too_few_images_are_refused_in_one_line(tmp_path, command, contents, message, bad_images):
    image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
    (tmp_path / "photos").mkdir()
    for number, content in enumerate(contents):
        path = tmp_path / "photos" / f"{number}.png"
        path.write_bytes(image if content == "image" else content)
    flags = (f"--image_dir={tmp_path}/photos", f"--bad_images={bad_images}")
    finished = command("pretrain", *flags, f"--workdir={tmp_path}/run")
    assert message in finished.refusal
    first, *error = finished.stderr.splitlines()
    assert first.startswith("Pretraining on") and len(error) == 1
    assert not (tmp_path / "run").exists()

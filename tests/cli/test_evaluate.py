"""`keras-bt evaluate` and `keras-bt finetune`."""

import json
import re

import pytest

METRICS = {"knn_accuracy", "linear_accuracy", "few_label_accuracy"}
pytestmark = pytest.mark.slow


def test_evaluate_repeats_the_metrics_of_the_run(tiny_run, command, tmp_path):
    workdir, finished = tiny_run
    ledger = tmp_path / "ledger.jsonl"
    scores = command("evaluate", f"--encoder={workdir}/encoder", f"--ledger={ledger}").result
    trained = finished.result["trained"]
    assert {name: scores[name] for name in METRICS} == pytest.approx(trained, abs=0.01)
    assert (scores["train_images"], scores["test_images"]) == (1437, 360)
    (row,) = map(json.loads, ledger.read_text().splitlines())
    assert row["figures"]["knn_accuracy"] == scores["knn_accuracy"]
    assert row["command"] == f"keras-bt evaluate --encoder={workdir}/encoder"
    of_model = command("evaluate", f"--model={workdir}/model.keras").result
    assert {name: of_model[name] for name in METRICS} == pytest.approx(trained, abs=0.01)


def test_evaluate_runs_the_published_protocol_and_a_sweep(tiny_run, command):
    workdir, _ = tiny_run
    flags = ("--protocol=sgd", "--epochs=2", "--knn_sweep")
    result = command("evaluate", f"--encoder={workdir}/encoder", *flags).result
    assert (result["linear_sgd"]["epochs"], result["linear_sgd"]["steps"]) == (2, 10)
    assert 0 <= result["linear_sgd"]["top1"] <= result["linear_sgd"]["top5"] <= 1
    assert len(result["knn_sweep"]) == 64
    assert set(result["protocol"]) == {"linear_sgd", "knn_sweep"}


def test_finetune_trains_on_fractions_of_the_labels(tiny_run, command):
    workdir, _ = tiny_run
    flags = ("--fractions=0.01,0.1", "--epochs=2", "--seed=1")
    finished = command("finetune", f"--encoder={workdir}/encoder", *flags)
    few, more = finished.result["fractions"]
    assert (few["images"], few["epochs"], few["steps"]) == (10, 2, 2)
    assert (more["images"], more["epochs"], more["steps"]) == (142, 2, 2)
    assert few["linear_accuracy"] is None and 0.1 < more["linear_accuracy"] < 1
    assert 0 <= more["top1"] <= more["top5"] <= 1
    rows = [line for line in finished.stderr.splitlines() if re.match(r" +0\.\d+  +\d+", line)]
    assert len(rows) == 2


def test_finetune_from_scratch_has_no_linear_probe(tiny_run, command):
    workdir, _ = tiny_run
    flags = ("--from_scratch", "--fractions=0.1", "--epochs=1")
    result = command("finetune", f"--model={workdir}/model.keras", *flags).result
    assert result["encoder_learning_rate"] == 0.1 and result["from_scratch"] is True
    assert result["fractions"][0]["linear_accuracy"] is None


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("evaluate", [], "--encoder or --model is missing"),
        ("evaluate", ["--encoder=a", "--model=b"], "--encoder and --model cannot be combined"),
        ("evaluate", ["--encoder=nowhere"], "evaluate: There is no SavedModel in nowhere"),
        ("evaluate", ["--encoder=nowhere", "--epochs=3"], "--epochs needs --protocol=sgd"),
        (
            "evaluate",
            ["--encoder=ENCODER", "--image_size=9"],
            "takes images of 8 x 8 pixels, but image_size is 9",
        ),
        ("finetune", ["--model=nowhere.keras"], "finetune: File not found: filepath=nowhere.keras"),
        ("finetune", ["--encoder=ENCODER", "--fractions=0.1,2"], "(0, 1], got [0.1, 2.0]"),
        ("finetune", ["--encoder=ENCODER", "--fractions=1,t"], "separated by commas, got 1,t"),
        ("finetune", ["--encoder=ENCODER", "--crop_area=0,1"], "crop_area must be (low, high)"),
        ("finetune", ["--encoder=ENCODER", "--from_scratch"], "--from_scratch needs --model"),
        ("finetune", ["--encoder=ENCODER", "--dataset=cifar11"], "no data set 'cifar11'; did you"),
        ("finetune", ["--encoder=ENCODER", "more"], "unexpected arguments ['more']"),
    ],
)
def test_wrong_flags_are_refused(tiny_run, command, name, flags, message):
    encoder = str(tiny_run[0] / "encoder")
    given = [flag.replace("ENCODER", encoder) for flag in flags]
    assert message in command(name, *given).refusal

"""The races of benchmarks/ with fake contestants, and the sections of RESULTS.md."""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_bt import data

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CALM = """
def prepare(name="", log="/dev/null", seconds=1.0):
    def run(steps):
        with open(log, "a") as file:
            print(name, steps, file=file)
        return seconds * steps

    return run
"""
GREEDY = """
def prepare(megabytes):
    return lambda steps: len(bytearray(megabytes * 1_000_000))
"""
FAINT = """
def prepare():
    def run(steps):
        raise ValueError("too tired\\nfor words")

    return run
"""

PRETRAIN = """
import json
import sys

print("on the way")
run = {"steps": 6, "batch_size": 10, "images": 40, "epochs": 1, "encoder_dir": "encoder"}
run |= {"seconds": 3.0, "total_seconds": 5.0, "images_per_second": 20.0, "flags": sys.argv[1:]}
print(json.dumps(run))
"""
LIGHTLY = """
import json
import sys

import numpy as np

flags = dict(flag.split("=") for flag in sys.argv[1:])
images = {name: np.load(f"{flags['--images']}/{name}.npy") for name in ("train", "test")}
np.savez(flags["--features"], **{name: array[:, 0, 0] for name, array in images.items()})
run = {"steps": 8, "batch_size": 5, "epochs": 8 * 5 / len(images["train"])}
run |= {"seconds": 4.0, "images_per_second": 10.0, "versions": {"lightly": "0"}}
print(json.dumps({**run, "settings": {"images": len(images["train"])}}))
"""


@pytest.fixture
def race(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import race

    shutil.copy(BENCHMARKS / "contestants" / "__main__.py", tmp_path)
    for name, code in {"calm": CALM, "greedy": GREEDY, "faint": FAINT}.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "needy.py").write_text("import missing_library")
    monkeypatch.setattr(race, "CONTESTANTS", tmp_path)
    return race


def calm(race, name, **options):
    return race.Contestant(name, "calm", {"name": name, **options})


def test_contestants_take_turns(race, tmp_path):
    log = str(tmp_path / "log")
    contestants = [calm(race, name, seconds=s) for name, s in (("a", 0.5), ("b", 1.0), ("c", 9.0))]
    times, versions = race.time_steps(race.Case("", {"log": log}), contestants, 3, seconds=2.0)
    assert times == {"a": [0.5] * 3, "b": [1.0] * 3, "c": [9.0] * 3}
    assert versions["a"] == {"versions": {}, "threads": race.CORES}
    warmed_up = [f"{name} 1" for name in "aabbcc"]
    steps = {"a": 4, "b": 2, "c": 1}  # two seconds each, but at least one step
    rounds = [f"{name} {steps[name]}" for name in "abcbcacab"]
    assert (tmp_path / "log").read_text().splitlines() == warmed_up + rounds


def test_ratio_is_the_median_over_rounds(race):
    times = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 6.0, 20.0]}
    case = race.Case("small", {}, images=8, wanted={"theirs": 2.0})
    ours, theirs = race.rows_of("loss", case, times, {name: {"threads": 2} for name in times})
    assert (ours["median"], ours["fastest"], ours["slowest"], ours["ratio"]) == (2.0, 1.0, 4.0, 1.0)
    assert (theirs["median"], theirs["ratio"], theirs["wanted"]) == (6.0, 3.0, 2.0)
    assert (theirs["rounds"], theirs["images"], theirs["threads"]) == (3, 8, 2)
    assert {"command", "commit", "date", "machine"} <= set(theirs)


def test_missing_contestants_are_named_and_the_others_race(race, tmp_path, monkeypatch):
    monkeypatch.setattr(race, "PEERS", str(tmp_path / "no-python"))
    contestants = [
        calm(race, "ours"),
        race.Contestant("absent", "calm", python=race.PEERS),
        race.Contestant("needy", "needy"),
        race.Contestant("faint", "faint"),
    ]
    times, versions = race.time_steps(race.Case("", {}), contestants, 2, seconds=1.0)
    assert times["ours"] == [1.0, 1.0]
    assert times["absent"].endswith("no-python; make bench-setup")
    assert "No such file" in times["absent"]
    assert "ModuleNotFoundError: No module named 'missing_library'" in times["needy"]
    assert times["faint"] == "ValueError: too tired (status 1)"
    rows = list(race.rows_of("loss", race.Case("", {}), times, versions))
    assert [row.get("not_measured") for row in rows] == [None, *list(times.values())[1:]]
    assert "not measured: ValueError: too tired" in race.report.race_table(rows)


def test_missing_library_of_peers_names_the_setup_command(race, monkeypatch):
    monkeypatch.setattr(race, "PEERS", sys.executable)
    times, _ = race.time_steps(race.Case("", {}), [race.Contestant("needy", "needy")], 1, 1.0)
    assert times["needy"].endswith("'missing_library' (status 1); make bench-setup")


def test_no_ratios_if_the_first_contestant_fails(race):
    times = {"ours": "gone", "theirs": [1.0]}
    ours, theirs = race.rows_of("loss", race.Case("", {}), times, {"theirs": {}})
    assert (ours["not_measured"], theirs["ratio"]) == ("gone", None)


def test_memory_is_measured_in_new_processes(race):
    contestants = [
        race.Contestant("much", "greedy", {"megabytes": 60}),
        race.Contestant("little", "greedy", {"megabytes": 1}),
        race.Contestant("absent", "greedy", python="/no/python"),
    ]
    peaks, _ = race.weigh_steps(race.Case("", {}), contestants, 2, steps=1)
    assert all(59 < peak < 66 for peak in peaks["much"]) and len(peaks["much"]) == 2
    assert max(peaks["little"]) < 6
    assert "/no/python" in peaks["absent"]


def test_script_prints_rows_of_the_chosen_cases(race, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["loss.py", "--case=big", "--rounds=1"])
    cases = [race.Case("small", {}), race.Case("quite big", {})]
    race.main("loss", cases, [calm(race, "ours"), calm(race, "theirs", seconds=2.0)])
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [(row["case"], row["ratio"]) for row in rows] == [("quite big", 1.0), ("quite big", 2.0)]
    assert "| quite big | theirs | 2 s (2-2) |  | 2 |  |" in printed.err


def test_page_has_a_section_for_each_race_with_rows(race, tmp_path, monkeypatch):
    report = race.report
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("tables.ROOT", tmp_path)
    assert report.races() == ""
    times = {"keras_bt": [0.5], "keras_bt, encoder and projector": [0.475], "theirs": "gone"}
    versions = {name: {"versions": {"tensorflow": "2.21.0"}} for name in times}
    case = race.Case("width 16", {}, images=256, wanted={"theirs": 1.5})
    rows = race.rows_of("step", case, times, versions)
    (tmp_path / "results" / "step.jsonl").write_text("\n".join(map(json.dumps, rows)))
    page = report.races()
    assert page.count("###") == 1 and "tensorflow 2.21.0" in page
    assert "outside encoder and projector: 5.0% (width 16)." in page
    assert "| width 16 | keras_bt | 500 ms (500-500) | 512 | 1 |  |" in page
    assert "| width 16 | theirs | not measured: gone |  |  | at least 1.5 |" in page


def test_startup_lists_seconds_beyond_the_first(race):
    times = {"plain": [4.0], "with keras_bt": [4.75]}
    rows = race.rows_of("startup", race.Case("", {}), times, {name: {} for name in times})
    sentence = race.report.seconds_beyond_first(list(rows))
    assert sentence == ' Seconds beyond the first: "with keras_bt" 0.75.'


@pytest.fixture
def ten_minutes(race, monkeypatch, tmp_path):
    import ten_minutes

    for name, code in {"PRETRAIN": PRETRAIN, "LIGHTLY": LIGHTLY}.items():
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setattr(ten_minutes, name, [sys.executable, tmp_path / f"{name}.py"])
    # Red images of class 0 and green images of class 1; every tenth has the other color.
    labels = np.arange(40) % 2
    colors = np.eye(3, dtype="uint8")[np.where(np.arange(40) % 10 == 0, 1 - labels, labels)]
    images = np.tile(255 * colors[:, None, None], (1, 32, 32, 1))
    source = data.Source(
        "cifar10", data.from_arrays(images, labels), data.from_arrays(images[1:9], labels[1:9])
    )
    monkeypatch.setattr(data, "from_tfds", lambda name, data_dir: source)
    monkeypatch.setattr(ten_minutes, "PEERS", sys.executable)
    monkeypatch.setattr(ten_minutes, "in_new_process", lambda function, *args: function(*args))
    scores = {"knn_accuracy": 0.5, "linear_accuracy": 0.5}
    monkeypatch.setattr(ten_minutes, "score_encoder", lambda folder, encoder_dir: scores)
    return ten_minutes


def rows_printed(script, monkeypatch, capsys, *flags):
    monkeypatch.setattr(sys, "argv", ["ten_minutes.py", *flags])
    script.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
def test_ten_minutes_alternates_the_contestants(ten_minutes, monkeypatch, capsys):
    flags = "--minutes=0.5", "--seeds=0,3", "--", "--batch_size=10"
    rows = rows_printed(ten_minutes, monkeypatch, capsys, *flags)
    ours, theirs, *_ = rows
    order = [(row["contestant"], row["seed"]) for row in rows]
    assert order == [("keras_bt", 0), ("lightly", 0), ("lightly", 3), ("keras_bt", 3)]
    assert (ours["images_seen"], ours["epochs"], ours["knn_accuracy"]) == (60, 1.5, 0.5)
    assert (ours["seconds"], theirs["seconds"]) == (5.0, 4.0)
    assert (theirs["images_seen"], theirs["epochs"], theirs["knn_accuracy"]) == (40, 1.0, 1.0)
    assert theirs["linear_accuracy"] == 1.0 and theirs["settings"] == {"images": 40}
    assert ours["command"] == (
        "python benchmarks/ten_minutes.py --minutes=0.5 --seeds=0 --only=keras_bt"
        " -- --batch_size=10"
    )
    assert rows[2]["command"].endswith("--seeds=3 --only=lightly")
    assert "; test images; k-NN: cosine, k 200" in theirs["protocol"]
    assert {"commit", "date", "machine", "minutes", "seconds", "versions"} <= set(theirs)


@pytest.mark.slow
def test_validation_uses_every_tenth_training_image(ten_minutes, monkeypatch, capsys):
    (row,) = rows_printed(ten_minutes, monkeypatch, capsys, "--validation", "--only=lightly")
    assert row["settings"] == {"images": 36} and row["epochs"] == round(40 / 36, 3)
    assert row["knn_accuracy"] == 0.0  # all four have the color of the other class
    assert "; every tenth training image, not trained on; " in row["protocol"]


def test_keras_bt_gets_the_flags_after_two_dashes(ten_minutes, tmp_path):
    parsed = argparse.Namespace(
        minutes=2.0, width=8, data_dir="images", validation=True, pretrain_flags=["--batch_size=9"]
    )
    given = ten_minutes.keras_bt(parsed, 4, tmp_path)["flags"]
    expected = ["--recipe=cifar10", "--minutes=2.0", "--width=8", "--encoder=resnet18", "--seed=4"]
    expected += [f"--workdir={tmp_path}/keras_bt-4", "--data_dir=images", "--validation"]
    assert given == [*expected, "--batch_size=9"]


def test_ten_minutes_refuses_missing_peers_before_training(
    ten_minutes, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(ten_minutes, "PEERS", str(tmp_path / "no-python"))
    with pytest.raises(SystemExit):
        rows_printed(ten_minutes, monkeypatch, capsys)
    printed = capsys.readouterr()
    assert "no-python, which does not exist; run `make bench-setup`" in printed.err
    assert not printed.out


def test_page_compares_the_means_after_ten_minutes(race, tmp_path, monkeypatch):
    def row(contestant, seed, knn, linear, width=None):
        return {
            "contestant": contestant,
            "seed": seed,
            "minutes": 10.0,
            "width": width,
            "epochs": 3.5,
            "seconds": 606.0,
            "images_per_second": 288.6,
            "knn_accuracy": knn,
            "linear_accuracy": linear,
            "protocol": f"{contestant} is scored so",
            "versions": {contestant: "1.0"},
            "command": f"python {contestant} {seed}",
            "date": "today",
            "commit": "abc",
            "machine": "small",
        }

    rows = [row("lightly", 1, 0.42, 0.45), row("keras_bt", 1, 0.52, 0.5)]
    rows = [row("keras_bt", 0, 0.5, 0.46), row("lightly", 0, 0.4, 0.47), *rows]
    rows += [row("keras_bt", 0, 0.45, 0.5, width=16)]
    report = race.report
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("tables.ROOT", tmp_path)
    assert report.ten_minutes() == ""
    file = tmp_path / "results" / "ten_minutes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    page = report.ten_minutes()
    assert [line.split(" | ")[:2] for line in page.splitlines() if line.startswith("| ")][2:] == [
        ["| 0", "keras_bt"],
        ["| 1", "keras_bt"],
        ["| mean", "keras_bt"],
        ["| 0", "keras_bt, width 16"],
        ["| 0", "lightly"],
        ["| 1", "lightly"],
        ["| mean", "lightly"],
    ]
    assert "| mean | keras_bt | 10.10 min | 3.50 | 289 | 0.5100 | 0.4800 |" in page
    ahead = "keras_bt: k-NN +10.00; keras_bt: linear +2.00; keras_bt, width 16: k-NN +4.00;"
    assert f"minus lightly's, in percentage points: {ahead}" in page
    assert "95 % are ± 1.0 percentage points" in page
    assert "- keras_bt: `python keras_bt 0`, today, commit abc, small" in page
    assert "- lightly: `python lightly 0`" in page
    assert (
        "Protocol of lightly: lightly is scored so." in page
        and "Versions: keras_bt 1.0, lightly 1.0" in page
    )
    file.write_text(json.dumps(rows[0]))
    assert "minus lightly's" not in report.ten_minutes()


def test_page_has_ablations_and_evaluations_of_the_ledger(race, tmp_path, monkeypatch):
    def row(command, protocol, minutes=1.0, seed=0, **metrics):
        circumstances = {"date": "today", "commit": "abc", "machine": "small"}
        row = {"command": f"python examples/{command}", **circumstances, "recipe": "cifar10"}
        return {**row, "seed": seed, "minutes": minutes, "protocol": protocol, "figures": metrics}

    settings = {"dataset": "cifar10", "image_size": 16, "width": 4, "epochs": 2}

    def ablated(name, seed, knn):
        accuracies = {"knn_accuracy": knn, "linear_accuracy": knn}
        return row("ablate.py", "k-NN", 2.0, seed, ablation=name, settings=settings, **accuracies)

    part = {"fraction": 0.01, "images": 500, "linear_accuracy": 0.3, "top1": 0.4}
    accuracies = {"knn_accuracy": 0.5, "linear_accuracy": 0.6, "few_label_accuracy": 0.7}
    rows = [
        ablated("baseline", 0, 0.5),
        ablated("baseline", 1, 0.6),
        ablated("invariance_only", 0, 0.25),
        row(
            "finetune.py", {"top1": "last"}, dataset="cifar10", from_scratch=False, fractions=[part]
        ),
        row("linear_eval.py", {"k-NN": "near"}, dataset="fashion_mnist", **accuracies),
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ledger.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr("tables.ROOT", tmp_path)
    ablations = race.report.ablations()
    assert "| baseline | 55.0 ± 7.1 | | 55.0 ± 7.1 | | 71.4 | |" in ablations
    assert "| invariance_only | 25.0 | -30.0 | 25.0 | -30.0 | 57.3 | -14.1 |" in ablations
    assert "width 4, 2 epochs; 6 minutes of training in total" in ablations
    assert ablations.count("- `python examples/ablate.py`, today, commit abc, small") == 1
    evaluated = race.report.protocols()
    tuned = "1 % of the labels (500): fine-tuned 0.400, linear probe, frozen 0.300"
    assert f"| `examples/finetune.py` | cifar10 | {tuned} | abc |" in evaluated
    of_encoder = "k-NN 0.500, linear 0.600, ten labels a class 0.700"
    assert f"| `examples/linear_eval.py` | fashion_mnist | {of_encoder} | abc |" in evaluated
    assert "- top1: last" in evaluated and "- k-NN: near" in evaluated


@pytest.mark.parametrize("name", ["loss", "views", "step", "end_to_end", "memory", "startup"])
def test_contestants_of_the_scripts_exist(name):
    text = (BENCHMARKS / f"{name}.py").read_text()
    files = re.findall(r'Contestant\(\s*(?:name|"[^"]*"),\s*"(\w+)"', text)
    assert len(files) == text.count("Contestant(")
    for file in files:
        assert (BENCHMARKS / "contestants" / f"{file}.py").exists(), file


@pytest.mark.slow
def test_an_exported_encoder_is_scored_on_the_arrays(race, tmp_path):
    """Colors tell the classes apart, and an encoder of pixels finds them."""
    import keras
    import ten_minutes

    import keras_bt

    labels = np.arange(40) % 2
    images = np.tile(255 * np.eye(3, dtype="uint8")[labels][:, None, None], (1, 4, 4, 1))
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}.npy", images)
        np.save(tmp_path / f"{name}_labels.npy", labels)
    encoder = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    keras_bt.export_encoder(encoder, tmp_path / "encoder", image_size=4)
    scores = ten_minutes.score_encoder(tmp_path, str(tmp_path / "encoder"))
    assert scores["knn_accuracy"] == scores["linear_accuracy"] == 1.0

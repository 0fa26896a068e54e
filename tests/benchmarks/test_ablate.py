"""The script ablate.py, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import ablations
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ablate.py"
TINY = ("--width=2", "--projector_dims=16,8", "--epochs=2", "--batch_size=256")

pytestmark = pytest.mark.slow


def run(*flags):
    return subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)


def test_trains_missing_rows_and_prints_the_table(tmp_path):
    def ablate(rows):
        done = run(f"--workdir={tmp_path}", f"--rows={rows}", "--seeds=0", *TINY)
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
    assert "no_grayscale equals baseline with digits, left out" in done.stderr
    table = done.stdout.splitlines()
    assert table[-1].startswith("| stop_gradient |") and table[-1].endswith("| 70.5 | -0.9 |")
    again, same = ablate("stop_gradient,baseline")
    assert same == results and again.stdout.splitlines()[-2:] == table[-2:]


def test_adds_results_to_the_ledger(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    flags = [f"--workdir={tmp_path}", f"--ledger={ledger}", "--rows=baseline", "--seeds=3"]
    done = run(*flags, *TINY)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, ledger.read_text().splitlines())
    assert row["command"] == (
        "python benchmarks/ablate.py --rows=baseline --seeds=3 --width=2 --projector_dims=16,8 "
        "--epochs=2 --batch_size=256"
    )
    assert (row["recipe"], row["seed"], row["figures"]["ablation"]) == ("digits", 3, "baseline")


def test_refuses_unknown_rows(tmp_path):
    done = run(f"--workdir={tmp_path}", "--rows=stop")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ablate: there is no row 'stop'; --list prints all rows."
    )


def test_lists_all_rows():
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(ablations.ABLATIONS)
    assert lines[1].split(maxsplit=1) == ["invariance_only", "no redundancy term (table 5)"]

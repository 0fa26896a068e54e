"""The script minutes.py in a process of its own, and its table."""

import json
import subprocess
import sys
from pathlib import Path

import minutes_table
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "minutes.py"


def row(case, low, high):
    scores = {"knn_accuracy": 0.5, "linear_accuracy": 0.6}
    interval = [(low + high) / 2, low, high]
    advantage = {"untrained": {metric: [0.2, 0.1, 0.3] for metric in scores}}
    advantage |= {"pixels": {"knn_accuracy": [0.2, 0.1, 0.3], "linear_accuracy": interval}}
    return {
        "case": case,
        "total_seconds": 480.0 + 100 * low,
        "training_seconds": 360.0,
        **dict.fromkeys(("trained", "untrained", "pixels"), scores),
        "advantage": advantage,
    }


def test_table_says_what_is_not_better_beyond_noise():
    line = minutes_table.line_of("one", [row("one", 0.1, 0.2), row("one", 0.2, 0.3)])
    assert line[1:4] == [2, "490-500 s", "6.0 min"]
    assert line[4:] == ["0.500 / 0.500 / 0.500", "0.600 / 0.600 / 0.600", "better in all"]
    mixed = [row("one", 0.1, 0.2), row("one", -0.1, 0.1), row("one", -0.2, -0.1)]
    found = minutes_table.beyond_noise(mixed)
    assert found == "pixels, linear: 1 better, 1 neither, 1 worse"


@pytest.mark.slow
def test_a_row_has_the_whole_time_and_the_baselines():
    flags = ["--case=digits", "--minutes=2", "--seeds=3", "--", "--width=2"]
    done = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["case"], found["seed"], found["cores"]) == ("digits", 3, 1)
    assert found["training_seconds"] < found["total_seconds"]
    assert len(minutes_table.line_of("digits", [found])) == len(minutes_table.HEAD)
    assert "--seeds=3" in found["command"] and "data_dir" not in found["command"]

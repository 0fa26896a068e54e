"""The script first_steps.py in a process of its own, and its table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from first_steps_table import means, table_of

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "first_steps.py"


@pytest.mark.slow
def test_scores_the_encoder_after_each_number_of_steps():
    flags = ("--recipe=digits", "--width=2", "--projector_dims=16,8", "--steps=6,2", "--label=few")
    done = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["label"], row["images"], row["settings"]["width"]) == ("few", "digits", 2)
    assert [score["step"] for score in row["scores"]] == [0, 2, 6]
    assert all(0 < score["knn_accuracy"] <= 1 for score in row["scores"])
    assert all(1 <= score["embedding_rank"] <= 8 for score in row["scores"])
    seconds = [score["seconds"] for score in row["scores"]]
    assert seconds == sorted(set(seconds))


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--steps=many", "--steps=0", "--seeds=a"])
def test_wrong_flags_are_refused_in_one_line(flag):
    done = subprocess.run([sys.executable, SCRIPT, flag], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("first_steps: --steps must be ")
    assert "Traceback" not in done.stderr


def test_table_has_means_over_seeds():
    def row(label, accuracies, rank):
        scores = [
            {"step": step, "knn_accuracy": accuracy, "embedding_rank": rank}
            for step, accuracy in accuracies.items()
        ]
        return {"label": label, "scores": scores, "settings": {"projector_dims": [16, 8]}}

    few = [row("few", {0: 0.25, 100: 0.5}, 2.0), row("few", {0: 0.25, 100: 0.75}, 4.0)]
    assert means(few, "knn_accuracy") == {0: 0.25, 100: 0.625}
    lines = table_of([*few, row("many", {0: 0.25, 300: 0.875}, 7.0)]).splitlines()
    assert lines[0].startswith("| settings | seeds | 0 steps | 100 steps | 300 steps |")
    assert lines[2] == "| few | 2 | 0.250 ± 0.000 | 0.625 ± 0.177 |  | 3 of 8 |"
    assert lines[3] == "| many | 1 | 0.250 |  | 0.875 | 7 of 8 |"

"""The script photographs.py in a process of its own, and its table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import photographs_table
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "photographs.py"


def save_photographs(folder, count):
    random = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def run(*flags):
    command = [sys.executable, SCRIPT, "--only=keras_bt", *flags]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_a_row_has_accuracies_and_baselines(tmp_path):
    save_photographs(tmp_path / "photos" / "train", 20)
    save_photographs(tmp_path / "photos" / "validation", 10)
    place = (f"--image_dir={tmp_path / 'photos'}", "--image_size=16", "--minutes=1.5")
    few = ("--encoder=conv4", "--width=2", "--batch_size=16", "--projector_dims=8,4")
    done = run(*place, "--seeds=3", "--", *few)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["seed"], row["images"], row["test_images"]) == (3, "photos", 20)
    assert set(row["baselines"]) == {"untrained", "pixels"}
    assert 0 <= row["knn_accuracy"] <= 1
    assert str(tmp_path) not in row["command"]
    assert row["command"].endswith(" ".join(("--", *few)))


@pytest.mark.slow
def test_a_folder_without_held_out_images_is_refused(tmp_path):
    save_photographs(tmp_path / "photos", 10)
    done = run(f"--image_dir={tmp_path / 'photos'}")
    assert done.returncode == 1
    assert "needs folders train and test of classes" in done.stderr


def test_table_has_means_and_the_interval_of_the_images(monkeypatch):
    def row(contestant, seed, accuracy):
        return {
            "contestant": contestant,
            "seed": seed,
            "images": "photos",
            "image_size": 64,
            "minutes": 8.0,
            "test_images": 100,
            "seconds": 480.0,
            "epochs": 9.5,
            "images_per_second": 50.0,
            "knn_accuracy": accuracy,
            "linear_accuracy": accuracy,
            "baselines": {"pixels": {"knn_accuracy": 0.25, "linear_accuracy": 0.3}},
            "protocol": "as is",
            "versions": {},
            **dict.fromkeys(("command", "date", "commit", "machine"), "x"),
        }

    found = [row("keras_bt", 0, 0.4), row("lightly_train", 0, 0.2), row("keras_bt", 1, 0.6)]
    found[1]["baselines"] = None
    for seed, accuracy in ((0, 0.1), (2, 0.3)):
        found[seed]["baselines"]["untrained"] = dict.fromkeys(photographs_table.METRICS, accuracy)
    monkeypatch.setattr(photographs_table, "rows", lambda name: found)
    section = photographs_table.photographs()
    assert "| mean | keras_bt | 8.00 min | 9.50 | 50 | 0.5000 | 0.5000 |" in section
    assert "|  | pixels |  |  |  | 0.2500 | 0.3000 |" in section
    assert "|  | untrained |  |  |  | 0.2000 | 0.2000 |" in section
    assert "± 9.8 percentage points" in section  # 1.96 sqrt(0.5 * 0.5 / 100)

"""Folders of runs with known numbers."""

import json

import numpy as np
import pytest

from keras_bt.config.named import recipes
from keras_bt.report.gallery import nearest_neighbors
from keras_bt.report.snapshots import compute_snapshot

ACCURACIES = {"knn_accuracy": 0.75, "linear_accuracy": 0.8125, "few_label_accuracy": 0.5}


@pytest.fixture
def run_folder(tmp_path, rng):
    """Function that makes the folder of a run, finished or still training."""

    def make(
        name="run",
        *,
        dim=12,
        images=40,
        epochs=6,
        class_names=("cat", "dog"),
        file_names=None,
        finished=True,
        settings=None,
    ):
        folder = tmp_path / name
        (folder / "snapshots").mkdir(parents=True)
        recipe = recipes["digits"].override(projector_dims=(16, dim), epochs=epochs)
        all_settings = {**recipe.settings(), "seed": 0, "image_dir": None, **(settings or {})}
        start = {
            "command": "keras-bt pretrain --recipe=digits '--image_dir=my photos'",
            "started": "2026-11-26T10:00:00+0000",
            "versions": {"python": "3.11.7", "keras": "3.15.1"},
            "machine": {"platform": "Linux", "cpus": 2, "accelerators": []},
            "settings": all_settings,
        }
        write(folder / "run.json", start)
        write(
            folder / "plan.json",
            {"epochs": epochs, "steps_per_epoch": 11, "images": images, "skipped_images": 2},
        )
        write(folder / "start.json", {"untrained_loss": 30.5})
        baseline = {**ACCURACIES, "knn_accuracy": 0.25}
        trained = ACCURACIES
        if not class_names:
            trained = baseline = dict.fromkeys(ACCURACIES)
        baselines = {"pixels": baseline, "untrained": baseline}
        write(folder / "baselines.json", baselines)
        lines = [history_line(epoch, bool(class_names)) for epoch in range(1, epochs + 1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for epoch in (0, epochs // 2, epochs):
            z = rng.normal(size=(64, dim))
            noise = rng.normal(size=(2, 64, dim)) * (epochs - epoch + 0.1)
            representations = rng.normal(size=(64, 8))
            arrays = compute_snapshot(representations, z + noise[0], z + noise[1])
            np.savez(folder / "snapshots" / f"{epoch:06d}.npz", **arrays)
        pixels = rng.integers(0, 256, (4, 8, 8, 3)).astype("uint8")
        np.savez(folder / "views.npz", images=pixels, view_a=pixels[::-1], view_b=255 - pixels)
        if finished:
            save_map(folder / "map.npz", rng, images, class_names, file_names)
            result = {
                "recipe": "digits",
                "dataset": "digits",
                "images": images,
                "epochs": epochs,
                "seconds": 93.0,
                "skipped_images": 2,
                "replaced_images": 0,
                "nonfinite_steps": 0,
                "images_per_second": 1234.5,
                "replicas": 1,
                "precision": recipe.precision,
                "loss": lines[-1]["loss"],
                "loss_floor": 1.5,
                "untrained_loss": 30.5,
                "health": {"findings": []},
                "protocol": "offline, held-out images",
                **baselines,
                "trained": trained,
            }
            write(folder / "result.json", result)
        return folder

    return make


def write(file, content):
    file.write_text(json.dumps(content))


def history_line(epoch, labelled):
    """A line of metrics.jsonl; every second epoch has metrics of monitors."""
    line = {
        "epoch": epoch,
        "step": 11 * epoch,
        "seconds": 10.0 * epoch,
        "learning_rate": 0.001 / epoch,
        "loss": 30.0 / epoch,
        "invariance": 20.0 / epoch,
        "redundancy": 1000.0 / epoch,
    }
    if epoch % 2 == 0:
        line |= {
            "representation_rank": 5.0 + epoch,
            "embedding_rank": 6.0 + epoch,
            "embedding_spread": 0.5,
            "dead_dimensions": 0.0,
            "mean_diagonal": 0.9,
            "mean_off_diagonal": 0.05,
            "loss_above_floor": 0.2,
        }
        line |= {"knn_accuracy": 0.1 * epoch} if labelled else {}
    return line


def save_map(file, rng, images, class_names, file_names):
    """Writes map.npz with random representations."""
    representations = rng.normal(size=(images, 8)).astype("float32")
    arrays = {
        "thumbnails": rng.integers(0, 256, (images, 8, 8, 3)).astype("uint8"),
        "names": np.array(file_names or [], str),
        "representations": representations,
        "neighbours": nearest_neighbors(representations),
    }
    if class_names:
        labels = np.arange(images) % len(class_names)
        confusion = np.zeros((len(class_names),) * 2, int)
        np.add.at(confusion, (labels, labels[::-1]), 1)
        arrays |= {
            "labels": labels,
            "class_names": np.array(class_names),
            "confusion": confusion,
        }
    np.savez(file, **arrays)

"""What a run has left in its folder so far, as its page wants it."""

import dataclasses
import json
from pathlib import Path

from keras_bt.evaluation.health import diagnose
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.report.snapshots import read_arrays, read_snapshots

SCORED = {"trained": "this encoder", "untrained": "untrained", "pixels": "raw pixels"}
FIGURES = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "ten labels a class",
}


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """A run as its folder tells it.

    Args:
        name: Name of the folder.
        start: Dict of run.json: command, versions, machine, settings.
        plan: Dict of plan.json, or None.
        result: Dict of result.json, or None while it is training.
        scores: Dict from "trained", "untrained", "pixels" to figures, as far as they are known.
        untrained_loss: Float or None.
        history: Dicts of metrics.jsonl.
        snapshots: Dict from epochs to snapshots.
        views: Dict of arrays of `gallery.save_views`, or None.
        map: Dict of arrays of `gallery.save_map`, or None.
    """

    name: str
    start: dict
    plan: dict | None
    result: dict | None
    scores: dict
    untrained_loss: float | None
    history: list
    snapshots: dict
    views: dict | None
    map: dict | None

    @property
    def settings(self):
        """Every setting of the run."""
        return self.start["settings"]

    @property
    def command(self):
        """What repeats the run."""
        return "python " + self.start["command"]

    @property
    def dataset(self):
        """What the images are."""
        s = self.settings
        named = s.get("image_dir") or s.get("tfrecords") or s["dataset"]
        return str((self.result or {}).get("dataset") or named)

    @property
    def minutes(self):
        """Of training, so far."""
        last = self.history[-1]["seconds"] if self.history else 0.0
        return (self.result or {}).get("seconds", last) / 60

    @property
    def loss_floor(self):
        """The least value of the loss; None where it is not known."""
        if self.result:
            return self.result["loss_floor"]
        s = self.settings
        loss = BarlowTwinsLoss(
            redundancy_weight=s["redundancy_weight"],
            redundancy_target=s.get("redundancy_target", 0.0),
        )
        return loss.floor(s["batch_size"], s["projector_dims"][-1])

    @property
    def findings(self):
        """What is wrong with it, in sentences; see `evaluation.health.diagnose`."""
        if self.result:
            return (self.result.get("health") or {}).get("findings", [])
        looked = [line for line in self.history if "embedding_rank" in line]
        if not looked:
            return []
        progress = looked[-1]["epoch"] / self.plan["epochs"] if self.plan else 0.0
        return list(map(str, diagnose(looked[-1], progress, self.untrained_loss, self.loss_floor)))

    @property
    def images(self):
        """How many images it trains on; None where that is not known yet."""
        return (self.result or self.plan or {}).get("images")

    @property
    def skipped_images(self):
        """How many were left out, as they could not be read; None where that is not known."""
        return (self.result or self.plan or {}).get("skipped_images")

    def column(self, name):
        """(epochs, values) of a figure of the history, where it is there."""
        rows = [(line["epoch"], line[name]) for line in self.history if name in line]
        return tuple(map(list, zip(*rows, strict=True))) if rows else ([], [])


def read_run(folder):
    """Reads the folder of a run, finished or not.

    Args:
        folder: Path.

    Returns:
        `RunFiles`.

    Raises:
        ValueError: If it is not the folder of a run, or what is in it is damaged.

    Example:
        >>> read_run("no/such/folder")
        Traceback (most recent call last):
            ...
        ValueError: no/such/folder holds no run of keras_bt: there is no run.json.
    """
    folder = Path(folder).expanduser()
    start = _json(folder / "run.json")
    if start is None or "settings" not in start:
        raise ValueError(f"{folder} holds no run of keras_bt: there is no run.json.")
    result, known = _json(folder / "result.json"), _json(folder / "baselines.json") or {}
    scores = {name: (result or known).get(name) for name in SCORED}
    return RunFiles(
        name=folder.resolve().name,
        start=start,
        plan=_json(folder / "plan.json"),
        result=result,
        scores={name: figures for name, figures in scores.items() if figures},
        untrained_loss=(_json(folder / "start.json") or {}).get("untrained_loss"),
        history=_lines(folder / "metrics.jsonl"),
        snapshots=read_snapshots(folder / "snapshots"),
        views=read_arrays(folder / "views.npz"),
        map=read_arrays(folder / "map.npz"),
    )


def _json(file):
    try:
        return json.loads(file.read_text("utf-8")) if file.exists() else None
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _lines(file):
    """Lines of JSON but for a last one that is being written."""
    text = file.read_text("utf-8") if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

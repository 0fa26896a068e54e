"""Reads the files of a run for its report."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from keras_bt.evaluation import ENCODER_LABELS, diagnose
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.report.snapshots import read_arrays, read_snapshots


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files of a run, finished or still training.

    Args:
        name: Name of the folder.
        start: Content of `run.json`: command, versions, machine, settings.
        plan: Content of `plan.json`, or None.
        result: Content of `result.json`; None until the run is finished.
        scores: The accuracies known so far, by "trained", "untrained" and "pixels".
        untrained_loss: Loss of the first step, or None.
        history: Lines of `metrics.jsonl`.
        snapshots: Arrays of `compute_snapshot`, by epoch. With a budget of time, epochs are passes
            over the images, with fractions.
        view_arrays: Arrays of `save_views`, or None.
        map_arrays: Arrays of `save_map`, or None.
    """

    name: str
    start: dict[str, Any]
    plan: dict[str, Any] | None
    result: dict[str, Any] | None
    scores: dict[str, dict[str, float | None]]
    untrained_loss: float | None
    history: list[dict[str, Any]]
    snapshots: dict[float, dict[str, np.ndarray]]
    view_arrays: dict[str, np.ndarray] | None
    map_arrays: dict[str, np.ndarray] | None

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the run."""
        return self.start["settings"]

    @property
    def command(self) -> str:
        """The shell command that repeats the run."""
        command = self.start["command"]
        return f"python {command}" if shlex.split(command)[0].endswith(".py") else command

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        s = self.settings
        source = s.get("image_dir") or s.get("tfrecords") or s.get("tars") or s["dataset"]
        return str((self.result or {}).get("dataset") or source)

    @property
    def minutes(self) -> float:
        """Minutes of training so far."""
        seconds = self.history[-1]["seconds"] if self.history else 0.0
        return (self.result or {}).get("seconds", seconds) / 60

    @property
    def loss_floor(self) -> float | None:
        """Lowest possible value of the loss; None if it is unknown."""
        if self.result:
            return self.result["loss_floor"]
        s = self.settings
        loss = BarlowTwinsLoss(
            redundancy_weight=s["redundancy_weight"],
            redundancy_target=s.get("redundancy_target", 0.0),
            redundancy=s.get("redundancy", "squares"),
        )
        return loss.floor(s["batch_size"], s["projector_dims"][-1])

    @property
    def findings(self) -> list[str]:
        """Problems that `evaluation.diagnose` found, as sentences."""
        if self.result:
            return (self.result.get("health") or {}).get("findings", [])
        checked = [line for line in self.history if "embedding_rank" in line]
        if not checked:
            return []
        progress = checked[-1]["epoch"] / self.plan["epochs"] if self.plan else 0.0
        findings = diagnose(checked[-1], progress, self.untrained_loss, self.loss_floor)
        return [str(finding) for finding in findings]

    @property
    def images(self) -> int | None:
        """Number of training images; None if it is unknown yet."""
        return (self.result or self.plan or {}).get("images")

    @property
    def skipped_images(self) -> int | None:
        """Number of unreadable images that were left out; None if it is unknown."""
        return (self.result or self.plan or {}).get("skipped_images")

    def knn_accuracy(self, encoder: str) -> float | None:
        """Returns the k-NN accuracy of "trained", "untrained" or "pixels", if it is known."""
        return self.scores.get(encoder, {}).get("knn_accuracy")

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Returns the epochs that logged a metric, and its values."""
        lines = [line for line in self.history if name in line]
        return [line["epoch"] for line in lines], [line[name] for line in lines]

    def columns(self, labels: dict[str, str]) -> dict[str, tuple[list[float], list[float]]]:
        """Returns the columns of those metrics that were logged, by their labels.

        Args:
            labels: Maps names of metrics to labels.
        """
        columns = {label: self.column(name) for name, label in labels.items()}
        return {label: column for label, column in columns.items() if column[0]}


def read_run(folder: str | Path) -> RunFiles:
    """Reads the folder of a run, finished or still training.

    Args:
        folder: Folder of the run.

    Returns:
        The files of the run.

    Raises:
        ValueError: If the folder holds no run, or one of its JSON files is damaged.

    Example:
        >>> read_run("no/such/folder")
        Traceback (most recent call last):
            ...
        ValueError: no/such/folder holds no run of keras_bt: run.json is missing.
    """
    folder = Path(folder).expanduser()
    start = _read_json(folder / "run.json")
    if start is None or "settings" not in start:
        raise ValueError(f"{folder} holds no run of keras_bt: run.json is missing.")
    result, plan = _read_json(folder / "result.json"), _read_json(folder / "plan.json")
    history = _read_lines(folder / "metrics.jsonl")
    found = read_snapshots(folder / "snapshots")
    snapshots = {float(epoch): arrays for epoch, arrays in found.items()}
    if plan and plan.get("seconds") is not None:
        # The epochs of a run with a budget are parts of it. A reader wants passes over the images.
        passes = plan["steps_per_epoch"] * start["settings"]["batch_size"] / plan["images"]
        plan = {**plan, "epochs": round(plan["epochs"] * passes, 1)}
        history = [{**line, "epoch": round(line["epoch"] * passes, 2)} for line in history]
        snapshots = {round(epoch * passes, 2): arrays for epoch, arrays in snapshots.items()}
    scores = result or _read_json(folder / "baselines.json") or {}
    return RunFiles(
        name=folder.resolve().name,
        start=start,
        plan=plan,
        result=result,
        scores={name: scores[name] for name in ENCODER_LABELS if scores.get(name)},
        untrained_loss=(_read_json(folder / "start.json") or {}).get("untrained_loss"),
        history=history,
        snapshots=snapshots,
        view_arrays=read_arrays(folder / "views.npz"),
        map_arrays=read_arrays(folder / "map.npz"),
    )


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text("utf-8")) if file.exists() else None
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _read_lines(file: Path) -> list[dict[str, Any]]:
    """Reads JSON lines; skips a last line without a line break, which is being written."""
    text = file.read_text("utf-8") if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

"""`RunFolder`: the files of a run, and how they are written."""

import json
import logging
import math
import os
import platform
import shlex
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.literal_paths import check_utf8
from keras_bt._support.locks import locked
from keras_bt._support.version import __version__
from keras_bt.run.identity import check_same_run, has_moved

ENVIRONMENT = ("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "OMP_NUM_THREADS", "TF_XLA_FLAGS")


class RunFolder:
    """The folder of one run.

        run.json        command, settings, versions and environment; written first
        plan.json       epochs, steps per epoch and images; kept at a restart
        baselines.json  metrics of raw pixels and of the untrained encoder, and which images they
                        classify correctly
        monitored.json  the k-NN accuracy before training, on the images of the monitors
        start.json      the loss of the first step
        metrics.jsonl   one line per epoch
        checkpoints/    for resuming
        encoder/        the SavedModel
        model.keras     the whole model, for Python
        views.npz, snapshots/, map.npz
                        data of the report
        prepared/       reduced images, if the run has prepared them
        tensorboard/    logs for TensorBoard, with --tensorboard
        report.html     the report; rewritten during training, and at the end
        result.json     the result; it exists once the run is finished

    Args:
        workdir: The folder; made if it does not exist.
        settings: All settings that determine the run; JSON can hold them.
        writes: False for workers other than the chief, which only read. The folder need not
            exist for them.
        command_line: The command that started the run; None for that of this process.
        images: `Source.digest` of the images; None before they are opened.

    Attributes:
        settings: Those of the first start, if there was one.
        moved: Whether the settings name another place of the images than at the first start.

    Raises:
        ValueError: If the folder belongs to a run with other settings or images (see
            `check_same_run`), or is in use by another process. Also if it has files with a run's
            names but no run.json, or its path is not UTF-8.

    Example:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp(), {"epochs": 2})
        >>> run.write_result({"loss": 1.5})
        >>> run.result()
        {'loss': 1.5}
    """

    def __init__(
        self,
        workdir: str | Path,
        settings: dict[str, Any],
        writes: bool = True,
        command_line: str | None = None,
        images: str | None = None,
    ) -> None:
        self.path = Path(workdir).expanduser()
        check_utf8(self.path)
        self.encoder = self.path / "encoder"
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model.keras"
        self.checkpoints = self.path / "checkpoints"
        self.writes = writes
        self.settings = json.loads(json.dumps(settings))  # JSON has lists, not tuples
        self.moved = False
        self._refuse_others(images)
        self._unlock: Callable[[], Any] = lambda: None
        if writes:
            lock = locked(self.path, "wait, or use another workdir")
            self._unlock = weakref.finalize(self, os.close, lock)
            self._refuse_others(images)  # again: another run may have come before the lock
            atomic.clean_up(self.path)
            circumstances = {**_circumstances(command_line), "settings": self.settings}
            circumstances["images"] = images
            self.once("run", lambda: circumstances)

    def _refuse_others(self, images: str | None) -> None:
        """Rejects a folder that belongs to another run, or to no run."""
        start = self.path / "run.json"
        if start.exists():
            before = check_same_run(start, self.settings, images)
            self.moved |= has_moved(before, self.settings)
            self.settings = before
        else:
            _refuse_foreign_files(self.path)

    def close(self) -> None:
        """Unlocks the folder, as the end of the process does."""
        self._unlock()

    def result(self) -> dict[str, Any] | None:
        """The result of the finished run, or None."""
        return self.read("result")

    def read(self, name: str) -> Any:
        """The content of a JSON file, by its name without .json; None if there is none."""
        file = self.path / f"{name}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` returned at the first start of the run.

        Args:
            name: Name of the file that stores it, without .json.
            make: Returns a value that JSON can hold.
        """
        stored = self.read(name)
        if stored is None:
            stored = make()
            self.write(name, stored)
        return stored

    def write(self, name: str, content: Any) -> None:
        """Writes a JSON file, if this process writes.

        Args:
            name: Name of the file without .json.
            content: A value that JSON can hold.
        """
        if self.writes:
            write_json(self.path / f"{name}.json", content)

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json, which marks the run as finished."""
        write_json(self.path / "result.json", result)

    def save_model(self, model: keras.Model) -> None:
        """Writes model.keras, the compiled model with its optimizer, atomically."""
        variables = [*model.variables, *model.optimizer.variables]
        with atomic.replacing(self.model, 4 * sum(math.prod(v.shape) for v in variables)) as aside:
            model.save(aside)


class MetricsLog(keras.callbacks.Callback):
    """Writes the metrics of each epoch as a line of JSON.

    A line that cannot be written is written with the next epoch. A failure after the last epoch
    raises an error.

    Args:
        path: The file. Its lines of epochs that are trained again are dropped.
        history: Metrics of each epoch, which grows; see `TrainingState`.

    Example:
        >>> import tempfile
        >>> history = [{"epoch": 1}]
        >>> log = MetricsLog(tempfile.mkdtemp() + "/metrics.jsonl", history)
        >>> log.on_train_begin()
        >>> history.append({"epoch": 2})
        >>> log.on_train_end()
        >>> log.path.read_text()
        '{"epoch": 1}\\n{"epoch": 2}\\n'
    """

    def __init__(self, path: str | Path, history: list[dict[str, Any]]) -> None:
        super().__init__()
        self.path = Path(path)
        self.history = history

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        atomic.write_text(self.path, "".join(map(_json_line, self.history)))
        self._written = len(self.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        try:
            self._write()
        except OSError as error:
            logging.getLogger("keras_bt").warning("%s Training continues.", error)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._write()

    def _write(self) -> None:
        lines = "".join(map(_json_line, self.history[self._written :]))
        atomic.append_text(self.path, lines)
        self._written = len(self.history)


def write_json(path: str | Path, content: Any) -> None:
    """Writes a JSON file atomically.

    Args:
        path: The file.
        content: A value that JSON can hold.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.json")
        >>> write_json(file, [1.5])
        >>> json.loads(file.read_text())
        [1.5]
    """
    atomic.write_text(Path(path), json.dumps(content, indent=2, allow_nan=False) + "\n")


def _json_line(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"


def _refuse_foreign_files(folder: Path) -> None:
    """Refuses files that a run would overwrite."""
    names = ["encoder", "checkpoints", "metrics.jsonl", "model.keras"]
    names += [
        "plan.json",
        "baselines.json",
        "monitored.json",
        "start.json",
        "result.json",
        "report.html",
    ]
    names += ["views.npz", "snapshots", "map.npz", "tensorboard"]
    if existing := [name for name in names if (folder / name).exists()]:
        raise ValueError(
            f"{folder} holds {', '.join(existing)} but no run.json, so they belong to no run and "
            "would be overwritten; use another workdir."
        )


def _circumstances(command_line: str | None) -> dict[str, Any]:
    """The command, versions, machine and environment of a run."""
    return {
        "command": command_line or shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "keras_bt": __version__,
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "accelerators": [
                device.name
                for device in tf.config.list_physical_devices()
                if device.device_type != "CPU"
            ],
        },
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }

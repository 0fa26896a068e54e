"""What a run writes into its folder: how it was started, how it went, how it ended."""

import fcntl
import json
import logging
import math
import os
import platform
import shlex
import sys
import time
import weakref
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.settings import differences

ENVIRONMENT = ("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "OMP_NUM_THREADS", "TF_XLA_FLAGS")


class RunFolder:
    """The folder of one run.

        run.json        command, settings, versions and environment; written first
        plan.json       epochs, steps an epoch and images, which hold after a restart too
        baselines.json  the figures of raw pixels and of the untrained encoder
        start.json      the loss of the first step
        metrics.jsonl   one line an epoch
        checkpoints/    to go on from
        encoder/        the SavedModel
        model.keras     the whole model, to go on with in Python
        views.npz, snapshots/, map.npz
                        what report.html draws
        tensorboard/    logs for TensorBoard, where they are wanted
        report.html     the page; written anew while training, and at the end
        result.json     the figures; written when all but the page is, so it tells a finished run

    Args:
        workdir: The folder; made if it is not there.
        settings: Dict that JSON can hold: everything that decides the run.
        writes: Bool. False for all workers but the chief, who only read here: the folder need
            not be there.

    Raises:
        ValueError: If the folder holds a run with other settings, naming those, or files
            of a run's names but no run, or if another process is running in it.

    Example:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp(), {"epochs": 2})
        >>> run.write_result({"loss": 1.5})
        >>> run.result()
        {'loss': 1.5}
    """

    def __init__(self, workdir, settings, writes=True):
        self.path = Path(workdir).expanduser()
        self.encoder = self.path / "encoder"
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model.keras"
        self.checkpoints = self.path / "checkpoints"
        self.writes = writes
        self.settings = json.loads(json.dumps(settings))  # tuples are lists in the file
        self._refuse_others()
        if writes:
            self._unlock = weakref.finalize(self, os.close, _locked(self.path / ".lock"))
            self._refuse_others()  # that came before the lock
            atomic.tidy(self.path)
            circumstances = {**_circumstances(), "settings": self.settings}
            self.once("run", lambda: circumstances)

    def _refuse_others(self):
        start = self.path / "run.json"
        if start.exists():
            _refuse_other_settings(start, _settings_in(start), self.settings)
        else:
            _refuse_foreign_files(self.path)

    def close(self):
        """Lets another run into the folder; the end of the process does the same."""
        self._unlock()

    def result(self):
        """The figures of the finished run, or None."""
        return self.read("result")

    def read(self, name):
        """What a file of the folder holds, by its name without .json; None if it is not there."""
        file = self.path / f"{name}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def once(self, name, make):
        """What is found out once, and holds after a restart too.

        Args:
            name: Of the file that holds it, without .json.
            make: Function without arguments that finds it out; JSON can hold it.

        Returns:
            What `make` returned, at this start or at an earlier one.
        """
        found = self.read(name)
        if found is None:
            found = make()
            if self.writes:
                write_json(self.path / f"{name}.json", found)
        return found

    def write_result(self, figures):
        """Writes result.json, which marks the run as finished."""
        write_json(self.path / "result.json", figures)

    def save_model(self, model):
        """Writes model.keras, the compiled model with its optimizer, whole or not at all."""
        kept = [*model.variables, *model.optimizer.variables]
        with atomic.replacing(self.model, 4 * sum(math.prod(v.shape) for v in kept)) as aside:
            model.save(aside)


class MetricsLog(keras.callbacks.Callback):
    """Keeps a file of a training's history, an epoch a line of JSON.

    What cannot be written is written with the next epoch; at the end of training it raises.

    Args:
        path: The file. What it holds of epochs that are going to be trained again is dropped.
        history: List of dicts, which grows; see `TrainingState`.

    Example:
        >>> import tempfile
        >>> log = MetricsLog(tempfile.mkdtemp() + "/metrics.jsonl", [{"epoch": 1}])
        >>> log.on_train_begin()
        >>> log.path.read_text()
        '{"epoch": 1}\\n'
    """

    def __init__(self, path, history):
        super().__init__()
        self.path = Path(path)
        self.history = history

    def on_train_begin(self, logs=None):
        atomic.write_text(self.path, "".join(map(_json_line, self.history)))
        self._written = len(self.history)

    def on_epoch_begin(self, epoch, logs=None):
        try:
            self._write()
        except OSError as error:
            logging.getLogger("keras_bt").warning("%s Training goes on.", error)

    def on_train_end(self, logs=None):
        self._write()

    def _write(self):
        lines = "".join(map(_json_line, self.history[self._written :]))
        atomic.append_text(self.path, lines)
        self._written = len(self.history)


def images_at_start(workdir):
    """How many images the run of a folder began with; None if it has not begun.

    Args:
        workdir: The folder.

    Example:
        >>> images_at_start("no/such/folder") is None
        True
    """
    plan = Path(workdir).expanduser() / "plan.json"
    return json.loads(plan.read_text("utf-8"))["images"] if plan.exists() else None


def write_json(path, content):
    """Writes a JSON file that appears whole or not at all.

    Args:
        path: The file.
        content: What JSON can hold.

    Example:
        >>> import tempfile
        >>> write_json(tempfile.mkdtemp() + "/a.json", [1])
    """
    atomic.write_text(Path(path), json.dumps(content, indent=2, allow_nan=False) + "\n")


def _json_line(content):
    return json.dumps(content, allow_nan=False) + "\n"


def _settings_in(file):
    try:
        return json.loads(file.read_text("utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not the start of a run of keras_bt.") from error


def _locked(file):
    """An open descriptor of a file, locked until it is closed, at the latest with us."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)  # NFS locks no file that is read only
    except OSError as error:
        raise atomic.WriteError(file.parent, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ValueError(f"Another process is running in {file.parent}.") from error
    except OSError as error:
        reason = "%s cannot be locked (%s); no other process may run in its folder."
        logging.getLogger("keras_bt").warning(reason, file, error)
    return descriptor


def _refuse_foreign_files(folder):
    names = ["encoder", "checkpoints", "metrics.jsonl", "model.keras"]
    names += ["plan.json", "baselines.json", "start.json", "result.json", "report.html"]
    names += ["views.npz", "snapshots", "map.npz", "tensorboard"]
    if there := [name for name in names if (folder / name).exists()]:
        raise ValueError(
            f"{folder} holds {', '.join(there)} but no run.json, so they are not of a run and "
            "would be overwritten; take another workdir."
        )


def _refuse_other_settings(file, before, now):
    differing = differences(before, now)
    if differing:
        raise ValueError(
            f"{file} is of a run with other settings; take another workdir or the same flags.\n  "
            + "\n  ".join(differing)
        )


def _circumstances():
    return {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
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

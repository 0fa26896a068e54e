"""The ledger: rows of results, each with command, commit, date and machine."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.version import __version__

PLACES = ("--data_dir=", "--workdir=", "--ledger=")  # flags that do not change results


def add_row(
    path: str | Path,
    *,
    recipe: str | None,
    seed: int,
    minutes: float,
    protocol: str | dict[str, str],
    figures: dict[str, Any],
    command_line: str | None = None,
) -> None:
    """Appends a row to a ledger, a file of JSON lines.

        {"command", "commit", "date", "machine", "recipe", "seed", "minutes", "protocol", "figures"}

    Args:
        path: The file; made if it does not exist.
        recipe: Name of the recipe, or None.
        seed: Seed of the run.
        minutes: Duration of the training; of the whole command if only classifiers are trained.
        protocol: How the metrics were measured, in words; or a dict with a text for each metric.
        figures: The metrics; JSON can hold them.
        command_line: The command; None for that of this process.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> file = tempfile.mkdtemp() + "/ledger.jsonl"
        >>> figures = {"knn_accuracy": 0.975}
        >>> add_row(file, recipe="digits", seed=0, minutes=1.5, protocol="k-NN", figures=figures)
        >>> json.loads(Path(file).read_text())["figures"]
        {'knn_accuracy': 0.975}
    """
    row = {
        **circumstances(command_line),
        "recipe": recipe,
        "seed": seed,
        "minutes": round(minutes, 2),
        "protocol": protocol,
        "figures": figures,
    }
    atomic.append_text(Path(path), json.dumps(row, allow_nan=False) + "\n")


def circumstances(command_line: str | None = None) -> dict[str, str]:
    """The command, commit, date and machine of a measurement.

    Args:
        command_line: The command; None for that of this process.

    Returns:
        {"command", "commit", "date", "machine"}. The command lacks the flags in `PLACES`. In an
        installed package, which has no commit, "commit" is the version.

    Example:
        >>> sorted(circumstances())
        ['command', 'commit', 'date', 'machine']
    """
    accelerators = [
        tf.config.experimental.get_device_details(device).get("device_name", device.device_type)
        for device in tf.config.list_physical_devices()
        if device.device_type not in ("CPU", "XLA_CPU")
    ]
    return {
        "command": _command(command_line),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, "
        f"{', '.join(accelerators) or 'no accelerator'}",
    }


def _command(command_line: str | None) -> str:
    if command_line is None:
        script, *arguments = sys.argv
        words = ["python", "/".join(Path(script).parts[-2:]), *arguments]
    else:
        words = shlex.split(command_line)
    return shlex.join(word for word in words if not word.startswith(PLACES))


def _commit() -> str:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return f"version {__version__}"
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown processor"

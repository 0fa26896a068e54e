"""Rows of results: what was measured, with what it takes to measure it again."""

import json
import os
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import tensorflow as tf

from keras_bt._support import atomic

PLACES = ("--data_dir=", "--workdir=", "--ledger=")  # flags that say where things are, not what


def add_row(path, *, recipe, seed, minutes, protocol, figures):
    """Appends a row to a ledger, a file of JSON lines.

        {"command", "commit", "date", "machine", "recipe", "seed", "minutes", "protocol", "figures"}

    Args:
        path: The file; made if it is not there.
        recipe: Name of the recipe, or None.
        seed: Int.
        minutes: Float. Of training; where nothing is trained but classifiers, of all.
        protocol: String, on which images, after which step, by which method; or a dict of
            one for each figure.
        figures: Dict that JSON can hold.

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
        **circumstances(),
        "recipe": recipe,
        "seed": seed,
        "minutes": round(minutes, 2),
        "protocol": protocol,
        "figures": figures,
    }
    atomic.append_text(Path(path), json.dumps(row, allow_nan=False) + "\n")


def circumstances():
    """How, from which code, when and on what this process measures.

    Returns:
        {"command", "commit", "date", "machine"}: strings. The command is that of the process
        without the flags that name places; the commit is the version where there is none.

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
        "command": _command(),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, "
        f"{', '.join(accelerators) or 'no accelerator'}",
    }


def _command():
    script, *arguments = sys.argv
    kept = [argument for argument in arguments if not argument.startswith(PLACES)]
    return shlex.join(["python", "/".join(Path(script).parts[-2:]), *kept])


def _commit():
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():
        return f"version {metadata.version('keras_bt')}"
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.strip()


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown processor"

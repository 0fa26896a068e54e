"""Starts several workers of one command on this machine.

    keras-bt launch --workers=2 -- pretrain --recipe=digits
    keras-bt launch --workers=2 -- my_script.py --flag=value

Each worker gets a TF_CONFIG with new ports. The workers share the CPU's cores and the GPUs in
CUDA_VISIBLE_DEVICES equally. The output of the first worker goes to stdout, that of the others to
stderr. When a worker fails, the others are stopped and all are restarted. After exit status 2
(wrong settings) nothing is restarted.
"""

import signal
import sys

from absl.flags import FlagValues

from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.cli.main import COMMANDS
from keras_bt.distribution.launch import launch, worker_command


def _define_flags(values: FlagValues) -> None:
    workers = FlagGroup(values, "Workers")
    workers.integer("workers", None, "Number of workers.", 1)
    workers.integer("restarts", 3, "Largest number of restarts after a worker fails.", 0)
    workers.float("grace_seconds", 10.0, "Seconds between SIGTERM and SIGKILL.", 0.0)


def run(invocation: Invocation) -> int:
    """Launches the workers, and returns the exit status of the first that failed."""
    flags = invocation.flags
    if not invocation.arguments:
        raise ValueError("give a command after --, like `-- pretrain --recipe=digits`.")
    command = worker_command(list(invocation.arguments), COMMANDS)
    # Raises SystemExit, so that a launcher that is stopped stops its workers.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return launch(command, flags.workers, flags.restarts, flags.grace_seconds)
    finally:
        signal.signal(signal.SIGTERM, previous)


COMMAND = Command(
    name="launch",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    required=("workers",),
    arguments="--workers=N -- COMMAND [--flag=value ...]",
)
main = COMMAND.main

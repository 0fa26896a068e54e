"""The flag that appends results to a ledger."""

import logging
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from keras_bt.cli.command import FlagGroup, Invocation
from keras_bt.run import ledger


def define_ledger_flag(values: FlagValues) -> None:
    """Adds `--ledger`."""
    FlagGroup(values, "Output").string(
        "ledger",
        None,
        "File of JSON lines; a row with the metrics, command, commit and machine is appended.",
    )


def check_ledger(flags: FlagValues) -> None:
    """Refuses a ledger that cannot be written, before anything is computed."""
    if flags.ledger:
        with Path(flags.ledger).open("a"):
            pass


def add_to_ledger(invocation: Invocation, **row: Any) -> None:
    """Appends a row, if there is a ledger; see `keras_bt.run.ledger.add_row`."""
    if not invocation.flags.ledger:
        return
    try:
        ledger.add_row(invocation.flags.ledger, command_line=invocation.command_line, **row)
    except OSError as error:  # the metrics are printed anyway
        logging.getLogger("keras_bt").warning("The result was not added to the ledger: %s", error)

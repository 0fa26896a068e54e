"""Writes the HTML report of a run, or compares several runs.

    keras-bt report runs/digits
    keras-bt report runs/a runs/b --out=comparison.html

Also works during training. Prints the path of the report.
"""

from absl.flags import FlagValues

from keras_bt.cli.command import Command, FlagGroup, Invocation
from keras_bt.report import write_report


def _define_flags(values: FlagValues) -> None:
    FlagGroup(values, "Output").string(
        "out",
        None,
        "File to write. By default report.html in the folder of the run, and comparison.html "
        "for several runs.",
    )


def run(invocation: Invocation) -> None:
    """Writes the report of the given folders."""
    if not invocation.arguments:
        raise ValueError("give the folder of a run, like `keras-bt report runs/digits`.")
    print(write_report(invocation.arguments, invocation.flags.out), flush=True)


COMMAND = Command(
    name="report",
    doc=__doc__,
    define_flags=_define_flags,
    run=run,
    arguments="RUN_FOLDER ... [--out=FILE]",
)
main = COMMAND.main

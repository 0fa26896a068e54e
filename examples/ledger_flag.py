"""The flag by which the examples are told to keep their figures in a ledger."""

import sys
from pathlib import Path

from absl import flags

from keras_bt.run import ledger

FLAGS = flags.FLAGS

flags.DEFINE_string("ledger", None, "File of JSON lines to append a row of the figures to.")


def check():
    """Meets a ledger that cannot be written before anything is measured."""
    if FLAGS.ledger:
        with Path(FLAGS.ledger).open("a"):
            pass


def record(**row):
    """Appends a row, if there is a ledger; see `keras_bt.run.ledger.add_row`."""
    try:
        if FLAGS.ledger:
            ledger.add_row(FLAGS.ledger, **row)
    except OSError as error:  # the figures are printed all the same
        print(f"The ledger lacks a row: {error}", file=sys.stderr)

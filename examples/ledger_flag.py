"""The flag by which the examples are told to keep their figures in a ledger."""

from absl import flags

from keras_bt import ledger

FLAGS = flags.FLAGS

flags.DEFINE_string("ledger", None, "File of JSON lines to append a row of the figures to.")


def record(**row):
    """Appends a row, if there is a ledger; see `keras_bt.ledger.add_row`."""
    if FLAGS.ledger:
        ledger.add_row(FLAGS.ledger, **row)

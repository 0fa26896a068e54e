"""The flags by which the examples are told on which devices to train."""

from absl import flags

from keras_bt.distribution import strategies as distribute

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "strategy",
    "auto",
    distribute.STRATEGIES,
    "On what to train: one device, all of this process (mirrored), all of several processes "
    "(multi_worker, named by TF_CONFIG or SLURM), a TPU, or what there is.",
)
flags.DEFINE_string(
    "devices", None, "cpu:4 for the CPU split into four, gpu:2 for the first two GPUs."
)
flags.DEFINE_float(
    "worker_timeout_seconds", 600.0, "How long to wait for all workers to arrive.", lower_bound=0.0
)


def strategy_of_flags():
    """The strategy the flags name."""
    return distribute.strategy(FLAGS.strategy, FLAGS.devices, FLAGS.worker_timeout_seconds)

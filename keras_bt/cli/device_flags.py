"""The flags that say on which devices a run trains."""

import tensorflow as tf
from absl.flags import FlagValues

from keras_bt.cli.command import FlagGroup
from keras_bt.distribution import strategies


def define_device_flags(values: FlagValues) -> None:
    """Adds the flags that name devices."""
    devices = FlagGroup(values, "Devices")
    devices.enum(
        "strategy",
        "auto",
        strategies.STRATEGIES,
        "one: a single device. mirrored: all devices of this process. multi_worker: all devices "
        "of all processes that TF_CONFIG or SLURM name. tpu: a TPU. auto: everything available.",
    )
    devices.string(
        "devices", None, "cpu:4 splits the CPU into four devices, gpu:2 takes the first two GPUs."
    )
    devices.float("worker_timeout_seconds", 600.0, "How long to wait until all workers start.", 0.0)


def strategy_of_flags(flags: FlagValues) -> tf.distribute.Strategy:
    """The strategy that the flags name."""
    return strategies.strategy(flags.strategy, flags.devices, flags.worker_timeout_seconds)

"""The flags that choose the devices of a run."""

import tensorflow as tf
from absl.flags import FlagValues

from keras_bt.cli.command import FlagGroup
from keras_bt.distribution import strategies


def define_device_flags(values: FlagValues) -> None:
    """Adds the flags that choose the devices."""
    devices = FlagGroup(values, "Devices")
    devices.enum(
        "strategy",
        "auto",
        strategies.STRATEGIES,
        "one: a single device. mirrored: all devices of this process. multi_worker: all devices "
        "of all processes in TF_CONFIG or the SLURM step. tpu: a TPU. auto: everything available.",
    )
    devices.string(
        "devices", None, "cpu:4 splits the CPU into four devices, gpu:2 uses the first two GPUs."
    )
    devices.float(
        "worker_timeout_seconds", 600.0, "Seconds to wait for the other workers to start.", 0.0
    )


def strategy_of_flags(flags: FlagValues) -> tf.distribute.Strategy:
    """The strategy that the flags choose."""
    return strategies.strategy(flags.strategy, flags.devices, flags.worker_timeout_seconds)

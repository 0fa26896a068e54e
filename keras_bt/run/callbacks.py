"""The callbacks of a run, in the order in which Keras has to call them."""

from typing import Any

import keras

from keras_bt.report import EpochScalars, ReportWriter, Snapshots, TensorBoardImages
from keras_bt.run.folder import MetricsLog, RunFolder
from keras_bt.run.start import StartLoss
from keras_bt.training.profiling import Stopwatch


def run_callbacks(
    folder: RunFolder,
    monitors: list[keras.callbacks.Callback],
    start: StartLoss,
    history: list[dict[str, Any]],
    watch: Stopwatch,
    *,
    tensorboard: bool,
) -> list[keras.callbacks.Callback]:
    """Returns the monitors, and the callbacks that write the files of a run.

    Args:
        folder: The folder of the run.
        monitors: Monitors of the encoder; `EmbeddingHealth` is the last.
        start: Stores the loss of the first step.
        history: The metrics of each epoch, for metrics.jsonl.
        watch: Measures the time of monitors and report.
        tensorboard: Whether logs for TensorBoard are written.
    """
    snapshots = Snapshots(folder.path / "snapshots", health=monitors[-1])
    report = ReportWriter(folder.path)
    for monitor in monitors:
        watch.measure_method(monitor, "on_epoch_end", "monitors")
    watch.measure_method(snapshots, "on_epoch_end", "report")
    watch.measure_method(report, "write", "report")
    # The report reads metrics.jsonl, and the log holds what monitors add to an epoch's metrics.
    callbacks = [*monitors, snapshots, start, MetricsLog(folder.metrics, history), report]
    if tensorboard:
        pictures = TensorBoardImages(folder.path)
        callbacks += [EpochScalars(pictures.log_dir, write_graph=False), pictures]
    return callbacks

"""Whole runs: folder, progress, time budget, scores, summary and ledger."""

from keras_bt.run.budget import epochs_in, steps_in
from keras_bt.run.folder import MetricsLog, RunFolder, images_at_start
from keras_bt.run.pretraining import Pretraining
from keras_bt.run.progress import EpochLines, ProgressBar
from keras_bt.run.start import StartLoss
from keras_bt.run.summary import summarize

__all__ = [
    "EpochLines",
    "MetricsLog",
    "Pretraining",
    "ProgressBar",
    "RunFolder",
    "StartLoss",
    "epochs_in",
    "images_at_start",
    "steps_in",
    "summarize",
]

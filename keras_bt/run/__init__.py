"""Whole runs: folder, progress, time budget, scores, summary and ledger."""

from keras_bt.run.budget import Budget
from keras_bt.run.folder import MetricsLog, RunFolder
from keras_bt.run.plan import Plan
from keras_bt.run.pretraining import Pretraining
from keras_bt.run.progress import EpochLines, ProgressBar
from keras_bt.run.start import StartLoss
from keras_bt.run.summary import summarize

__all__ = [
    "Budget",
    "EpochLines",
    "MetricsLog",
    "Plan",
    "Pretraining",
    "ProgressBar",
    "RunFolder",
    "StartLoss",
    "summarize",
]

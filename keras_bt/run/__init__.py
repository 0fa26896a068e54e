"""What surrounds the training of a script: its folder, progress, time and end."""

from keras_bt.run.budget import epochs_in, steps_in
from keras_bt.run.folder import MetricsLog, RunFolder, images_at_start
from keras_bt.run.pretraining import Pretraining
from keras_bt.run.progress import ProgressBar

__all__ = [
    "MetricsLog",
    "Pretraining",
    "ProgressBar",
    "RunFolder",
    "epochs_in",
    "images_at_start",
    "steps_in",
]

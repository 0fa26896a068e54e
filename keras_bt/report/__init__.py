"""The HTML report of a run: views, training curves, health of the embedding, maps."""

from keras_bt.report.failures import log_failures
from keras_bt.report.gallery import MAPPED_IMAGES, save_map, save_views
from keras_bt.report.page import write_report
from keras_bt.report.snapshots import Snapshots
from keras_bt.report.tensorboard import EpochScalars, TensorBoardImages, write_projector
from keras_bt.report.writer import ReportWriter

__all__ = [
    "MAPPED_IMAGES",
    "EpochScalars",
    "ReportWriter",
    "Snapshots",
    "TensorBoardImages",
    "log_failures",
    "save_map",
    "save_views",
    "write_projector",
    "write_report",
]

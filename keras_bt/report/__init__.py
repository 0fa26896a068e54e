"""The HTML report of a run: its images, what was learned, and whether to trust it."""

from keras_bt.report.failures import log_failures
from keras_bt.report.gallery import MAPPED_IMAGES, save_map, save_views
from keras_bt.report.page import write_page
from keras_bt.report.snapshots import Snapshots
from keras_bt.report.tensorboard import EpochScalars, TensorBoardPictures, write_projector
from keras_bt.report.writer import ReportWriter

__all__ = [
    "MAPPED_IMAGES",
    "EpochScalars",
    "ReportWriter",
    "Snapshots",
    "TensorBoardPictures",
    "log_failures",
    "save_map",
    "save_views",
    "write_page",
    "write_projector",
]

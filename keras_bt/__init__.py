"""Barlow Twins self-supervised pretraining for Keras and TensorFlow."""

import os

# TensorFlow leaves oneDNN off on processors without AVX-512, where convolutions then run
# at half their speed. Read once, when TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from keras_bt.batch_norm import SyncBatchNormalization, sync_batch_norm
from keras_bt.distribute import strategy
from keras_bt.evaluation import KNNMonitor, embed, few_label_accuracy, knn_accuracy, linear_probe
from keras_bt.export import export_encoder, load_encoder
from keras_bt.functional.correlation import loss_floor
from keras_bt.losses import BarlowTwinsLoss
from keras_bt.model import BarlowTwins
from keras_bt.networks import projector, resnet18, resnet34, resnet50, resnet101
from keras_bt.optimizers import LARS
from keras_bt.recipes import recipes
from keras_bt.resume import ResumableTraining
from keras_bt.views import BarlowTwinsView, paper_views, small_image_views

__all__ = [
    "LARS",
    "BarlowTwins",
    "BarlowTwinsLoss",
    "BarlowTwinsView",
    "KNNMonitor",
    "ResumableTraining",
    "SyncBatchNormalization",
    "embed",
    "export_encoder",
    "few_label_accuracy",
    "knn_accuracy",
    "linear_probe",
    "load_encoder",
    "loss_floor",
    "paper_views",
    "projector",
    "recipes",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "small_image_views",
    "strategy",
    "sync_batch_norm",
]

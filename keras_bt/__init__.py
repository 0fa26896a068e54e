"""Barlow Twins self-supervised pretraining for Keras and TensorFlow."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_bt._support import start_up

start_up.import_tensorflow()
start_up.check_backend()

import keras

from keras_bt._support.version import __version__
from keras_bt.config.named import recipes
from keras_bt.config.recipe import Recipe
from keras_bt.distribution.strategies import distribute_batches, strategy
from keras_bt.encoders.conv4 import conv4
from keras_bt.encoders.projector import projector
from keras_bt.encoders.resnet import resnet18, resnet34, resnet50, resnet101
from keras_bt.encoders.torch_import import import_torch_resnet
from keras_bt.evaluation import (
    EmbeddingHealth,
    KNNMonitor,
    LinearProbeMonitor,
    extract_features,
    few_label_accuracy,
    fine_tune,
    knn_accuracy,
    knn_sweep,
    labelled_subset,
    linear_evaluation,
    linear_probe,
)
from keras_bt.export import export_encoder, export_litert, export_onnx, load_encoder
from keras_bt.functional.loss import loss_floor
from keras_bt.layers.batch_norm import SyncBatchNormalization, sync_batch_norm
from keras_bt.model.adamw import AdamW
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.optimizers import LARS, warmup_cosine
from keras_bt.training.profiling import StepProfile
from keras_bt.training.resumable import ResumableTraining

if TYPE_CHECKING:
    from keras_bt.features import extract_folder_features, nearest_images, read_features
    from keras_bt.layers.view_pairs import paper_views, small_image_views
    from keras_bt.layers.views import BarlowTwinsView

__all__ = [
    "LARS",
    "AdamW",
    "BarlowTwins",
    "BarlowTwinsLoss",
    "BarlowTwinsView",
    "EmbeddingHealth",
    "KNNMonitor",
    "LinearProbeMonitor",
    "Recipe",
    "ResumableTraining",
    "StepProfile",
    "SyncBatchNormalization",
    "__version__",
    "conv4",
    "distribute_batches",
    "export_encoder",
    "export_litert",
    "export_onnx",
    "extract_features",
    "extract_folder_features",
    "few_label_accuracy",
    "fine_tune",
    "import_torch_resnet",
    "knn_accuracy",
    "knn_sweep",
    "labelled_subset",
    "linear_evaluation",
    "linear_probe",
    "load_encoder",
    "loss_floor",
    "nearest_images",
    "paper_views",
    "projector",
    "read_features",
    "recipes",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "small_image_views",
    "strategy",
    "sync_batch_norm",
    "warmup_cosine",
]

# Imported at their first use, because they import packages that take seconds, such as keras_cv.
_LAZY = {
    "BarlowTwinsView": "layers.views",
    "paper_views": "layers.view_pairs",
    "small_image_views": "layers.view_pairs",
    "extract_folder_features": "features",
    "nearest_images": "features",
    "read_features": "features",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(importlib.import_module(f"keras_bt.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _LazyView:
    """Stands for `BarlowTwinsView` in Keras's registry until `layers.views` is imported."""

    @staticmethod
    def from_config(config: dict[str, Any]) -> Any:
        from keras_bt.layers.views import BarlowTwinsView

        return BarlowTwinsView.from_config(config)


# Keras imports no modules for the objects of other packages.
keras.saving.get_custom_objects()["keras_bt>BarlowTwinsView"] = _LazyView

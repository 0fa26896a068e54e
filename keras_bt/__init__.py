"""Barlow Twins self-supervised pretraining for Keras and TensorFlow."""

import importlib
from typing import TYPE_CHECKING

from keras_bt import onednn

onednn.turn_on()

import keras

from keras_bt.batch_norm import SyncBatchNormalization, sync_batch_norm
from keras_bt.distribute import strategy
from keras_bt.evaluation import (
    EmbeddingHealth,
    KNNMonitor,
    LinearProbeMonitor,
    embed,
    few_label_accuracy,
    fine_tune,
    knn_accuracy,
    knn_sweep,
    labelled_subset,
    linear_evaluation,
    linear_probe,
)
from keras_bt.export import (
    export_encoder,
    export_litert,
    export_onnx,
    import_torch_resnet,
    load_encoder,
)
from keras_bt.functional.correlation import loss_floor
from keras_bt.losses import BarlowTwinsLoss
from keras_bt.model import BarlowTwins
from keras_bt.networks import projector, resnet18, resnet34, resnet50, resnet101
from keras_bt.optimizers import LARS
from keras_bt.profile import StepProfile
from keras_bt.recipe import Recipe
from keras_bt.recipes import recipes
from keras_bt.resume import ResumableTraining

if TYPE_CHECKING:
    from keras_bt.representations import embed_folder, nearest_images, read_representations
    from keras_bt.views import BarlowTwinsView, paper_views, small_image_views

__all__ = [
    "LARS",
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
    "embed",
    "embed_folder",
    "export_encoder",
    "export_litert",
    "export_onnx",
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
    "read_representations",
    "recipes",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "small_image_views",
    "strategy",
    "sync_batch_norm",
]

# What imports packages that take long, such as keras_cv, waits until it is asked for.
_LATE = {
    "BarlowTwinsView": "views",
    "paper_views": "views",
    "small_image_views": "views",
    "embed_folder": "representations",
    "nearest_images": "representations",
    "read_representations": "representations",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        if name in _LATE:
            return getattr(importlib.import_module(f"keras_bt.{_LATE[name]}"), name)
        if name in _LATE.values():
            return importlib.import_module(f"keras_bt.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


class _ViewToCome:
    """Stands for `BarlowTwinsView` in Keras's registry until that is imported."""

    @staticmethod
    def from_config(config):
        from keras_bt.views import BarlowTwinsView

        return BarlowTwinsView.from_config(config)


# Keras does not import the modules of objects that are not its own.
keras.saving.get_custom_objects()["keras_bt>BarlowTwinsView"] = _ViewToCome

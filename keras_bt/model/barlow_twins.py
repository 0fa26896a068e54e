"""`BarlowTwins`: the Keras model that pretrains an encoder."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt._support.errors import assertions_in_one_line
from keras_bt.distribution.collectives import current_replicas
from keras_bt.model.checks import (
    check_compile_arguments,
    check_features,
    check_parts,
    same_seed,
)
from keras_bt.model.data_checks import checked_data, checked_images, checked_validation
from keras_bt.model.distributed import DistributedModel
from keras_bt.model.first_step import FirstStep
from keras_bt.model.inputs import as_encoder_input, unpack_images
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.micro_batches import gradients_by_micro_batches, outputs_by_micro_batches
from keras_bt.model.step_guard import StepGuard, undone_if_nonfinite, warning_if_held
from keras_bt.model.view_placement import Views, place_views

H5_REFUSED = "BarlowTwins cannot be saved as HDF5; give the file a name that ends in .keras."


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwins(DistributedModel):
    """Pretrains an encoder on two views of each image.

        images -> view A -> encoder -> projector -> z_a
               -> view B -> encoder -> projector -> z_b        loss(z_a, z_b)

    The networks take one view at a time, so batch normalization sees each view by itself, as in
    the official code. Calling the model returns features.

    Args:
        encoder: From float [batch, height, width, channels] in [0, 1] to [batch, features].
        projector: From [batch, features] to [batch, dim].
        views: (view_a, view_b), two layers from images to images, both float in [0, 1]
            (keras-cv layers take `value_range=(0, 1)`). None: the data are pairs, see below.
        micro_batches: Number of parts in which the networks take the batch of a replica. Each
            part passes forward twice: for the loss, then for its gradient. Memory is that of one
            part, loss and gradient are those of the whole batch. Batch normalization sees one part.
        name: Name of the model.
        **kwargs: As in `keras.Model`.

    `fit` and `evaluate` take batches of images (uint8, or floating point in [0, 1]), tuples
    (images, ...), or dicts with the key "image". They ignore labels. They log `loss`, and
    `invariance` and `redundancy`, both unweighted.

    With `views=None` they take pairs (view_a, view_b). Views of rank 4 are images, as above. Views
    of another rank, [batch, ...], reach the encoder unchanged and may have any finite values:
    signals [batch, time, channels], tables [batch, columns]. `predict` follows the same rule.
    Other data of rank 4, such as spectrograms, must be given as rank 3; the encoder can undo it
    by a `Reshape` layer.

    Made and compiled in the scope of a `tf.distribute` strategy (see `keras_bt.strategy`), the
    model trains on all replicas as on one device: batches, loss and gradient are global, and a
    `BarlowTwinsView` draws by the place of an image in the global batch. Batch normalization
    must be synchronized by `keras_bt.sync_batch_norm`.

    Raises:
        TypeError: If encoder, projector or a view is not a Keras layer.
        ValueError: If encoder and projector do not fit together, `views` is not a pair, or
            `micro_batches` is below 1.

    Example:
        >>> import keras_bt
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=4, stem="small")
        >>> projector = keras_bt.projector(32, dims=(64, 64))
        >>> model = BarlowTwins(encoder, projector, keras_bt.small_image_views(8))
        >>> model.compile("adam")
        >>> history = model.fit(tf.zeros([8, 8, 8, 3], tf.uint8), verbose=0)
        >>> sorted(history.history)
        ['invariance', 'loss', 'redundancy']

    Source: arXiv 2103.03230, algorithm 1; facebookresearch/barlowtwins main.py@8e8d284.
    """

    train_function: Any  # Keras's

    def __init__(
        self,
        encoder: keras.Layer,
        projector: keras.Layer,
        views: Views | None,
        micro_batches: int = 1,
        name: str = "barlow_twins",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_parts(encoder, projector, views, micro_batches)
        self.encoder = encoder
        self.projector = projector
        self.views = None if views is None else tuple(views)
        self.micro_batches = micro_batches
        self.step_guard: StepGuard | None = None
        self.view_placement = "step"
        self._view_source = place_views(self.views, self.view_placement)
        self.invariance_tracker = keras.metrics.Mean(name="invariance")
        self.redundancy_tracker = keras.metrics.Mean(name="redundancy")
        self.built = bool(encoder.built and projector.built)

    def compile(
        self,
        optimizer: keras.Optimizer | str,
        loss: BarlowTwinsLoss | None = None,
        hold_nonfinite: bool = False,
        view_placement: str = "step",
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: Any Keras optimizer.
            loss: None for a `BarlowTwinsLoss` with the published settings.
            hold_nonfinite: Whether a step with NaN or infinity in its loss or gradient, and all
                steps after it, change nothing until `step_guard.reset()`. `ResumableTraining`
                reports the cause and can continue. With loss scaling, the optimizer itself skips
                steps with infinite gradients; a step is held when the scale is below 1.
            view_placement: Where `fit` computes the views. "step": in the step's graph.
                "compiled": in the step, compiled by XLA: seconds once, then views take half the
                time. "data": by `tf.data` on the CPU, compiled, while the previous step runs; needs
                a dataset. "compiled" and "data" need a single device without a strategy, and
                layers that XLA compiles and that keep their state in variables. Views of keras_bt
                draw the same numbers in all three.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution` and `auto_scale_loss`
                of `keras.Model.compile`.

        Raises:
            TypeError: If the loss is not a `BarlowTwinsLoss`.
            ValueError: If an argument is not supported, alone or with the strategy.
        """
        check_compile_arguments(loss, kwargs)
        view_source = place_views(self.views, view_placement)
        super().compile(optimizer=optimizer, loss=loss or BarlowTwinsLoss(), **kwargs)
        self.view_placement, self._view_source = view_placement, view_source
        with self.distribute_strategy.scope():
            self.step_guard = StepGuard() if hold_nonfinite else None
            self.first_step = FirstStep()
        # The step calls the loss itself, on embeddings that Keras does not see.
        self._compile_loss = None

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        x, y = checked_data(self, x, y, batch_size, kwargs)
        kwargs = checked_validation(self, batch_size, kwargs)
        with warning_if_held(self.step_guard), assertions_in_one_line():
            return super().fit(self._view_source.prepare(x), y, batch_size, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        if not kwargs.get("_use_cached_eval_dataset"):  # `fit` has checked it
            x, y = checked_data(self, x, y, batch_size, kwargs, training=False)
        with self._view_source.evaluation(), assertions_in_one_line():
            return super().evaluate(x, y, batch_size, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        x = checked_images(x, any_rank=self.views is None)
        with assertions_in_one_line():
            return super().predict(x, batch_size, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        with undone_if_nonfinite(self, self.step_guard) as apply_step:
            view_a, view_b = self.two_views(data)
            self.first_step.measure(view_a, view_b)
            terms, gradients = self.terms_and_gradients(view_a, view_b)
            apply_step(terms, gradients)
        return self.get_metrics_result()

    def make_train_function(self, force: bool = False) -> Any:
        if force or self.train_function is None:
            super().make_train_function(force)
            self.train_function = self.first_step.reported(self.train_function, self.encoder)
        return self.train_function

    def two_views(self, data: Any) -> Sequence[tf.Tensor]:
        """View A and view B of a batch as `fit` takes it: images float32 in [0, 1]."""
        return self._view_source.two_views(data)

    def terms_and_gradients(
        self, view_a: tf.Tensor, view_b: tf.Tensor
    ) -> tuple[Sequence[tf.Tensor], Sequence[tf.Tensor | None]]:
        """The loss's terms (see `loss_terms`) and the gradients of this replica's images."""
        if self.micro_batches == 1:
            with tf.GradientTape() as tape:
                z_a, z_b, extra = self.embeddings(view_a, view_b, training=True)
                loss, terms = self._scaled_loss_and_terms(z_a, z_b, extra)
            return terms, tape.gradient(loss, self.trainable_variables)
        return gradients_by_micro_batches(
            functools.partial(self.embeddings, training=True),
            self._scaled_loss_and_terms,
            (view_a, view_b),
            self.micro_batches,
            specs=self._embedding_specs(view_a),
            variables=self.trainable_variables,
            state=self.non_trainable_variables,
        )

    def embeddings(
        self, view_a: tf.Tensor, view_b: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """z_a and z_b [batch, dim], and the sum of `extra_loss` and all regularization.

        They are float32, or float64 if the networks compute in float64.
        """
        z_a, z_b = self.embedding(view_a, training), self.embedding(view_b, training)
        self.built = True  # Keras does not see that the networks are called
        dtype = keras.backend.result_type(z_a.dtype, "float32")
        z_a, z_b = tf.cast(z_a, dtype), tf.cast(z_b, dtype)
        extra = [self.extra_loss(view_a, view_b, z_a, z_b, training), *self.losses]
        return z_a, z_b, tf.add_n([tf.cast(term, dtype) for term in extra])

    def embedding(self, view: tf.Tensor, training: bool) -> tf.Tensor:
        """z of a view [batch, dim]: projector(encoder(view))."""
        with tf.name_scope("encoder"):  # all name scopes are read by `keras_bt.training.profiling`
            features = self.encoder(view, training=training)
            check_features(features)
        with tf.name_scope("projector"):
            return self.projector(features, training=training)

    def extra_loss(
        self, view_a: tf.Tensor, view_b: tf.Tensor, z_a: tf.Tensor, z_b: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """A scalar that is added to the loss; 0 unless a subclass overrides it."""
        return tf.zeros([], z_a.dtype)

    def loss_terms(
        self, z_a: tf.Tensor, z_b: tf.Tensor, extra: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logs the loss, and returns its terms: invariance, weighted redundancy and `extra`."""
        invariance, redundancy = self.loss.terms(z_a, z_b)
        weighted = self.loss.redundancy_weight * redundancy
        self._loss_tracker.update_state(invariance + weighted + extra)
        self.invariance_tracker.update_state(invariance)
        self.redundancy_tracker.update_state(redundancy)
        return invariance, weighted, extra

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        view_a, view_b = self.two_views(data)
        embed = functools.partial(self.embeddings, training=False)
        if self.micro_batches == 1:
            outputs: Sequence[tf.Tensor] = embed(view_a, view_b)
        else:
            specs = self._embedding_specs(view_a)
            outputs = outputs_by_micro_batches(embed, (view_a, view_b), self.micro_batches, specs)
        self.loss_terms(*outputs)
        return self.get_metrics_result()

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        features = self.encoder(as_encoder_input(unpack_images(inputs)), training=training)
        if not self.projector.built:
            self.projector(features)  # Keras builds a model by calling it
        return features

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(H5_REFUSED)  # before Keras opens the file
        super().save(filepath, *args, **kwargs)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Writes what calling the model returns: the features of images.

        For a SavedModel that can be fine-tuned, see `keras_bt.export_encoder`.

        Args:
            filepath: Folder or file to write.
            *args: As in `keras.Model.export`.
            **kwargs: As in `keras.Model.export`.

        Raises:
            ValueError: If the model is not built.
        """
        shape = getattr(self.encoder, "input_shape", None) or compat.first_input_shape(self.encoder)
        if shape is None:
            raise ValueError(f"{self.name} is not built; call it on a batch of images first.")
        images = keras.Input(shape[1:], name="images")
        # Keras does not know the input of a model whose step calls its parts.
        model = keras.Model(images, self(images), name=self.name)
        model(images)  # Keras 3.15 exports to ONNX only models that were called
        model.export(filepath, *args, **kwargs)

    def _scaled_loss_and_terms(self, *outputs: tf.Tensor) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """The loss whose gradients the optimizer takes, and its terms, from `embeddings`."""
        terms = self.loss_terms(*outputs)
        # Every replica has the global loss, and the optimizer sums the gradients of all replicas.
        return self.optimizer.scale_loss(sum(terms) / current_replicas().count), terms

    def _embedding_specs(self, view: tf.Tensor) -> Sequence[tf.TensorSpec]:
        """Shapes and dtypes that `embeddings` returns for a micro-batch of any size."""
        inputs = keras.KerasTensor((None, *view.shape[1:]), view.dtype)
        z = self.projector.compute_output_spec(self.encoder.compute_output_spec(inputs))
        spec = tf.TensorSpec(z.shape, keras.backend.result_type(z.dtype, "float32"))
        return spec, spec, tf.TensorSpec([], spec.dtype)

    def get_config(self) -> dict[str, Any]:
        if compat.saves_as_hdf5():
            raise ValueError(H5_REFUSED)
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "projector": serialize(self.projector),
            "views": None if self.views is None else [serialize(view) for view in self.views],
            "micro_batches": self.micro_batches,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "BarlowTwins":
        config = dict(config)
        for name in ("encoder", "projector", "views"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        if config["views"] and same_seed(config["views"]):  # files of older versions
            config["views"][1].seed += 1
        # Files of older versions hold `mixed_sample_weight` for every model.
        if cls is BarlowTwins and "mixed_sample_weight" in config:
            if config["mixed_sample_weight"]:
                cls = keras.saving.get_registered_object("keras_bt>MixedSampleBarlowTwins")
            else:
                del config["mixed_sample_weight"]
        return cls(**config)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if config:  # empty before `compile`
            config["hold_nonfinite"] = self.step_guard is not None
            config["view_placement"] = self.view_placement
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        if self.replicas > 1:  # "step" is the only placement there
            config = {**config, "view_placement": "step"}
        super().compile_from_config(config)

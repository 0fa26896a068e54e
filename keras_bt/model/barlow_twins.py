"""The Keras model that trains an encoder by Barlow Twins."""

import functools
import warnings

import keras
import tensorflow as tf

from keras_bt._support.compat import takes_training
from keras_bt._support.variables import restored
from keras_bt.distribution.collectives import current_replicas
from keras_bt.functional.image import as_unit_range
from keras_bt.functional.mixed_samples import mixed_sample_penalty
from keras_bt.model.distributed import DistributedModel
from keras_bt.model.inputs import (
    assert_images,
    check_data,
    check_networks,
    check_views,
    images_of,
    pair_of,
)
from keras_bt.model.losses import BarlowTwinsLoss
from keras_bt.model.micro_batches import gradients_by_micro_batches, outputs_by_micro_batches
from keras_bt.model.mixed_samples import MixedSamples, check_mixed_samples
from keras_bt.model.nonfinite import StepGuard, apply_if, put_back_unless
from keras_bt.model.optimizers import gradients_to_apply
from keras_bt.model.view_placement import PLACEMENTS, ViewsAhead


@keras.saving.register_keras_serializable(package="keras_bt")
class BarlowTwins(DistributedModel):
    """Trains an encoder on two views of each image.

        images -> view A -> encoder -> projector -> z_a
               -> view B -> encoder -> projector -> z_b        loss(z_a, z_b)

    Each view passes the networks by itself, so batch normalization sees one view at a
    time, as in the official code. Calling the model gives representations.

    Args:
        encoder: `keras.Model`, float [batch, height, width, channels] in [0, 1] to
            [batch, features].
        projector: `keras.Model`, [batch, features] to [batch, dim].
        views: (view_a, view_b), two Keras layers from images to images. They get floats
            in [0, 1] and have to return them (keras-cv layers take `value_range=(0, 1)`).
            None: the dataset yields pairs (view_a, view_b) ready-made.
        micro_batches: Int. In how many parts the networks take the batch of a replica, each
            twice, so that memory is that of a part. Loss and gradient are those of the whole
            batch; batch norm sees a part.
        mixed_sample_weight: Float, at least 0. Above 0 the networks also take mixtures of the
            views, and the loss has this times its `redundancy_weight` times
            `functional.mixed_samples.mixed_sample_penalty` more. The source has 4 for CIFAR.
        name: Name of the model.
        **kwargs: As in `keras.Model`.

    `fit` and `evaluate` take batches of images (uint8, or floating point in [0, 1]),
    tuples (images, ...), or dicts with the key "image"; labels are ignored. They log
    `loss`, `invariance` and `redundancy` (unweighted), and with mixed samples `mixed`.

    Made and compiled in the scope of a `tf.distribute` strategy (see `keras_bt.strategy`) it
    trains on all of its replicas as on one device: batches are global ones, the loss and its
    gradient are those of the global batch, and `BarlowTwinsView` draws by the place in it.
    Batch norms are to be synchronised, by `keras_bt.sync_batch_norm`.

    Raises:
        TypeError: If a part is not a Keras model or layer.
        ValueError: If the encoder does not return [batch, features], the projector does
            not take them, `views` is not a pair, `micro_batches` is below 1, or mixed samples
            meet several replicas or micro-batches.

    Example:
        >>> import keras_bt
        >>> from keras_bt.layers import views
        >>> encoder = keras_bt.resnet18((8, 8, 3), width=4, stem="small")
        >>> projector = keras_bt.projector(32, dims=(64, 64))
        >>> model = BarlowTwins(encoder, projector, views.small_image_views(8))
        >>> model.compile("adam")
        >>> history = model.fit(tf.zeros([8, 8, 8, 3], tf.uint8), verbose=0)
        >>> sorted(history.history)
        ['invariance', 'loss', 'redundancy']

    Source: arXiv 2103.03230, algorithm 1; facebookresearch/barlowtwins main.py@8e8d284.
    """

    def __init__(
        self,
        encoder,
        projector,
        views,
        micro_batches=1,
        mixed_sample_weight=0.0,
        name="barlow_twins",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        check_networks(encoder, projector)
        if micro_batches < 1:
            raise ValueError(f"micro_batches must be at least 1, got {micro_batches}.")
        replicas = self.distribute_strategy.num_replicas_in_sync
        check_mixed_samples(mixed_sample_weight, replicas, micro_batches)
        self.encoder = encoder
        self.projector = projector
        check_views(views)
        self.views = None if views is None else tuple(views)
        self.micro_batches = micro_batches
        self.view_placement = "step"
        self._views_ahead = None
        self._augment_compiled = tf.function(_augment, jit_compile=True)
        self.invariance_tracker = keras.metrics.Mean(name="invariance")
        self.redundancy_tracker = keras.metrics.Mean(name="redundancy")
        self.mixed_sample_weight = mixed_sample_weight
        if mixed_sample_weight:
            self.mixed_samples = MixedSamples()
            self.mixed_tracker = keras.metrics.Mean(name="mixed")
        self.built = bool(encoder.built and projector.built)

    def compile(self, optimizer, loss=None, hold_nonfinite=False, view_placement="step", **kwargs):
        """Configures training.

        Args:
            optimizer: Any Keras optimizer.
            loss: `BarlowTwinsLoss`; None for one with the published settings.
            hold_nonfinite: Bool. Whether a step with NaN or an infinity in its loss or
                gradient, and all after it, change nothing until `step_guard.reset()`;
                `ResumableTraining` says where it came from, and may go on after it. With
                loss scaling, gradients count once the scale has fallen below 1.
            view_placement: Where `fit` has the views computed. "step": as part of the step's
                graph. "compiled": in the step, but compiled by XLA: seconds at the first step,
                and then about half the time. "data": by `tf.data` on the CPU, compiled too,
                while the step before is under way; for datasets. Both without a strategy, and
                for layers that XLA compiles, whose state is in their variables; those of
                keras_bt draw the same everywhere.
            **kwargs: `keras.Model.compile`'s `run_eagerly`, `jit_compile`,
                `steps_per_execution`, `auto_scale_loss`.

        Raises:
            TypeError: If `loss` is another loss.
            ValueError: If there are metrics or loss weights, or the model is under a strategy
                that cannot train it exactly or with this `view_placement`.
        """
        for name in ("metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name):
                raise ValueError(f"BarlowTwins has one loss and no labels, and takes no {name}.")
        loss = BarlowTwinsLoss() if loss is None else loss
        if not isinstance(loss, BarlowTwinsLoss):
            raise TypeError(f"loss must be a keras_bt.BarlowTwinsLoss, got {loss!r}.")
        self._check_placement(view_placement)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        self.check_strategy()
        self.view_placement = view_placement
        ahead = view_placement == "data"
        self._views_ahead = ViewsAhead(self.views, self._views_of) if ahead else None
        # The step calls the loss itself, on embeddings that Keras never sees.
        self._compile_loss = None
        with self.distribute_strategy.scope():
            self.step_guard = StepGuard() if hold_nonfinite else None

    def _check_placement(self, placement):
        if placement not in PLACEMENTS:
            raise ValueError(f"view_placement must be one of {PLACEMENTS}, got {placement!r}.")
        if placement != "step" and self.views is None:
            raise ValueError(f"view_placement={placement!r} needs views, got views=None.")
        if placement != "step" and tf.distribute.has_strategy():
            raise ValueError(f"view_placement={placement!r} does not go with a strategy's scope.")

    def call(self, inputs, training=False):
        representations = self.encoder(as_unit_range(images_of(inputs)), training=training)
        if not self.projector.built:
            self.projector(representations)  # Keras builds a model by calling it
        return representations

    def fit(self, x=None, y=None, batch_size=None, **kwargs):
        self._check_data(x, y, batch_size, self.micro_batches, **kwargs)
        if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
            kwargs.setdefault("shuffle", False)  # Keras would warn of its own default
        if self._views_ahead:
            if not isinstance(x, tf.data.Dataset):
                raise TypeError(
                    f"view_placement='data' takes a tf.data.Dataset, got {type(x).__name__}."
                )
            x = self._views_ahead.dataset(x)
        if self.step_guard:
            self.step_guard.reset()
        history = super().fit(self.shared_out(x), y, batch_size, **kwargs)
        if self.step_guard and self.step_guard.held_by():
            warnings.warn(
                f"From step {self.step_guard.steps() + 1} of this fit on nothing was trained: the "
                f"{self.step_guard.held_by()} was not finite.",
                stacklevel=2,
            )
        return history

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        self._check_data(x, y, batch_size, micro_batches=1, **kwargs)
        # Views that `tf.data` computes ahead know nothing of those of an evaluation.
        with restored(self._views_ahead.state if self._views_ahead else []):
            return super().evaluate(self.shared_out(x), y, batch_size, **kwargs)

    def train_step(self, data):
        if self.step_guard:
            variables = [*self.non_trainable_variables, *self.metrics_variables]
            before = [tf.identity(variable.value) for variable in variables]
        if self._views_ahead and self._views_ahead.made(data):
            view_a, view_b = self._views_ahead.views_of(data)
        else:
            view_a, view_b = self.two_views(data)
        replicas = current_replicas().count
        # Every replica has the global loss, and their gradients are going to be summed.
        terms, gradients = self.terms_and_gradients(
            view_a, view_b, scale_loss=lambda loss: self.optimizer.scale_loss(loss / replicas)
        )
        gradients = gradients_to_apply(gradients, self.optimizer)
        if self.step_guard:
            # Infinities are ordinary while the scale of a loss is looked for; it ends above 1.
            scale = self.optimizer.scale_loss(tf.constant(1.0))
            scaling = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
            matters = scale < 1.0 if scaling else True
            passes = self.step_guard.lets_pass(terms, gradients, matters)
            apply_if(passes, self.optimizer, gradients, self.trainable_variables)
            put_back_unless(passes, variables, before)
        else:
            self.optimizer.apply(gradients, self.trainable_variables)
        return self.get_metrics_result()

    def test_step(self, data):
        views = self.two_views(data)
        embed = functools.partial(self.embeddings, training=False)
        if self.micro_batches == 1:
            self.loss_terms(*embed(*views))
            return self.get_metrics_result()
        images = views[0].shape[0] or tf.shape(views[0])[0]
        # Embeddings do not depend on each other here; what fills the last part up is dropped.
        padding = [[0, -images % self.micro_batches], [0, 0], [0, 0], [0, 0]]
        filled = [tf.pad(view, padding) for view in views]
        specs = self._embedding_specs(views[0])
        outputs = outputs_by_micro_batches(embed, filled, self.micro_batches, specs)
        z_a, z_b, regularization = _of_the_batch(*outputs)
        self.loss_terms(z_a[:images], z_b[:images], regularization)
        return self.get_metrics_result()

    def _check_data(
        self, x, y, batch_size, micro_batches, sample_weight=None, class_weight=None, **_
    ):
        if sample_weight is not None or class_weight is not None:
            raise ValueError("The loss is of a whole batch; its images cannot be weighted.")
        replicas = self.distribute_strategy.num_replicas_in_sync
        check_data(x, y, batch_size, self.views is None, replicas, micro_batches)

    def two_views(self, data):
        """The views of a batch as `fit` takes it: floats in [0, 1], [batch, height, width, 3]."""
        if self.views is None:
            view_a, view_b = pair_of(data)
            assert_images(view_a)
            return as_unit_range(view_a), as_unit_range(view_b)
        return self._views_of(self.views, data)

    def _views_of(self, views, data):
        images = as_unit_range(images_of(data))
        assert_images(images)
        augment = _augment if self.view_placement == "step" else self._augment_compiled
        with tf.name_scope("views"):
            return augment(views, images)

    def terms_and_gradients(self, view_a, view_b, scale_loss=lambda loss: loss):
        """What `loss_terms` returns in training, and the gradients of their scaled sum."""
        embed = functools.partial(self.embeddings, training=True)
        if self.micro_batches == 1:
            with tf.GradientTape() as tape:
                terms = self.loss_terms(*embed(view_a, view_b))
                loss = scale_loss(sum(terms))
            return terms, tape.gradient(loss, self.trainable_variables)

        def loss_of(*outputs):
            terms = self.loss_terms(*_of_the_batch(*outputs))
            return scale_loss(sum(terms)), terms

        return gradients_by_micro_batches(
            embed,
            loss_of,
            (view_a, view_b),
            self.micro_batches,
            specs=self._embedding_specs(view_a),
            variables=self.trainable_variables,
            state=self.non_trainable_variables,
        )

    def embeddings(self, view_a, view_b, training):
        """z_a, z_b, and what else the loss is the sum of, in the loss's precision.

        That is what regularizers and layers add to it, and the penalty of mixed samples.
        """
        z_a, z_b = (self.embedding(view, training) for view in (view_a, view_b))
        self.built = True  # by its parts, for Keras does not see the model itself called
        dtype = _precision(z_a)
        z_a, z_b = tf.cast(z_a, dtype), tf.cast(z_b, dtype)
        regularization = [tf.zeros([], dtype)]
        if self.mixed_sample_weight:
            regularization.append(self._mixed_sample_term(view_a, view_b, z_a, z_b, training))
        regularization += [tf.cast(term, dtype) for term in self.losses]
        return z_a, z_b, tf.add_n(regularization)

    def _mixed_sample_term(self, view_a, view_b, z_a, z_b, training):
        mixed, share, order = self.mixed_samples(view_a, view_b)
        z_mixed = tf.cast(self.embedding(mixed, training), z_a.dtype)
        with tf.name_scope("loss"):
            penalty = mixed_sample_penalty(
                z_a,
                z_b,
                z_mixed,
                share,
                order,
                epsilon=self.loss.epsilon,
                centered=self.loss.centered,
                form=self.loss.form,
            )
        self.mixed_tracker.update_state(penalty)
        return self.mixed_sample_weight * self.loss.redundancy_weight * penalty

    def loss_terms(self, z_a, z_b, regularization):
        """What the loss is the sum of: invariance, weighted redundancy and regularization."""
        invariance, redundancy = self.loss.terms(z_a, z_b)
        weighted = self.loss.redundancy_weight * redundancy
        self._loss_tracker.update_state(invariance + weighted + regularization)
        self.invariance_tracker.update_state(invariance)
        self.redundancy_tracker.update_state(redundancy)
        return invariance, weighted, regularization

    def embedding(self, view, training):
        """z of a view, through encoder and projector."""
        with tf.name_scope("encoder"):  # for `keras_bt.training.profiling`, as the other scopes
            representation = self.encoder(view, training=training)
        with tf.name_scope("projector"):
            return self.projector(representation, training=training)

    def _embedding_specs(self, view):
        """What `embeddings` returns of a micro-batch, without doing it."""
        images = keras.KerasTensor((None, *view.shape[1:]), view.dtype)
        z = self.projector.compute_output_spec(self.encoder.compute_output_spec(images))
        spec = tf.TensorSpec(z.shape, _precision(z))
        return spec, spec, tf.TensorSpec([], spec.dtype)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "projector": serialize(self.projector),
            "views": None if self.views is None else [serialize(view) for view in self.views],
            "micro_batches": self.micro_batches,
            "mixed_sample_weight": self.mixed_sample_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "projector", "views")
        }
        return cls(**{**config, **parts})

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:  # not compiled
            return config
        return {
            **config,
            "hold_nonfinite": self.step_guard is not None,
            "view_placement": self.view_placement,
        }

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        if self.distribute_strategy.num_replicas_in_sync > 1:
            config["view_placement"] = "step"  # the only place there
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)


def _precision(z):
    """float64 for embeddings in float64, else float32."""
    return keras.backend.result_type(z.dtype, "float32")


def _of_the_batch(z_a, z_b, regularization):
    """Embeddings of micro-batches in the order of the batch, and the mean of what they add."""
    z_a, z_b = (tf.reshape(tf.transpose(z, [1, 0, 2]), [-1, z.shape[-1]]) for z in (z_a, z_b))
    return z_a, z_b, tf.reduce_mean(regularization)


def _augment(views, images):
    # keras-cv's layers augment at every call and know no `training`.
    return [view(images, training=True) if takes_training(view) else view(images) for view in views]

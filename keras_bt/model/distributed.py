"""A Keras 3 model that trains exactly under `tf.distribute`, or says why it cannot.

Keras 3.15 reduces logs and builds models in ways that fail with more than one worker
(keras-team/keras issue 20585); earlier versions of Keras 3 are the same. Everything that
works around it is here, in overrides of `_maybe_symbolic_build` and `get_metrics_result` that
rest on Keras's internals: `tests/distributed/` is to be run before another Keras is allowed.
"""

import warnings

import keras
import tensorflow as tf

from keras_bt._support.compat import flatten_layers, has_workers
from keras_bt.layers.batch_norm import is_synchronised

OUT_OF_STEP = (
    tf.distribute.ParameterServerStrategy,
    tf.distribute.experimental.CentralStorageStrategy,
)


class DistributedModel(keras.Model):
    """A Keras model whose `fit`, `evaluate` and `predict` also run on several workers.

    There it has to be built before: `model(images)` inside the strategy's scope.

    Example:
        >>> DistributedModel().across_workers
        False
    """

    @property
    def across_workers(self):
        """Whether the model was made under a strategy of several workers."""
        return has_workers(self.distribute_strategy)

    def shared_out(self, x):
        """A data set as several workers have to read it: each its part of every batch."""
        if not (self.across_workers and isinstance(x, tf.data.Dataset)):
            return x
        options = tf.data.Options()
        # By files, TensorFlow's first choice, workers would form batches of their own.
        by_data = tf.data.experimental.AutoShardPolicy.DATA
        options.experimental_distribute.auto_shard_policy = by_data
        return x.with_options(options)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would reduce a batch that lies on several workers, which raises.
        if not self.across_workers:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        elif not self.built:
            raise ValueError(
                f"{self.name} is not built, and Keras cannot build it from data that lies on "
                "several workers; call it on a batch of images inside the strategy's scope."
            )
        if self.built and self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def get_metrics_result(self):
        results = super().get_metrics_result()
        in_step = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
        if self.across_workers and in_step:
            # Keras averages them over the workers along an axis, which scalars lack.
            return {name: tf.reshape(value, [1]) for name, value in results.items()}
        return results

    def check_strategy(self):
        """Meets what would not train, on several replicas, as on one device.

        Raises:
            ValueError: If the strategy does not keep its replicas in step, or the compiled
                settings or the model's variables do not go with several replicas.
        """
        strategy = self.distribute_strategy
        if isinstance(strategy, OUT_OF_STEP):
            raise ValueError(
                f"{type(strategy).__name__} does not keep its replicas in step, so that there is "
                "no global batch; use MirroredStrategy, MultiWorkerMirroredStrategy or TPUStrategy."
            )
        if strategy.num_replicas_in_sync > 1:
            _check_compiled(self, strategy)
            _check_variables(self)


def _check_compiled(model, strategy):
    if model.jit_compile and not isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError(
            f"jit_compile=True needs a single replica, got {strategy.num_replicas_in_sync}: "
            "TensorFlow does not compile what replicas tell each other."
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer.gradient_accumulation_steps:
        raise ValueError(
            "gradient_accumulation_steps needs a single replica: Keras 3.15 updates inside a "
            "condition, where replicas cannot sum."
        )


def _check_variables(model):
    for weight in model.weights:
        if not isinstance(weight.value, tf.distribute.DistributedValues):
            raise ValueError(
                f"{weight.path} was made outside the strategy's scope; make encoder, projector, "
                "views and model within it."
            )
    by_replica = [
        layer.name
        for layer in flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and not is_synchronised(layer)
    ]
    if by_replica:
        warnings.warn(
            f"{len(by_replica)} batch norms, {by_replica[0]!r} first, take their statistics by "
            "replica, so that the number of replicas changes the training; "
            "keras_bt.sync_batch_norm(model) makes them global.",
            stacklevel=4,
        )

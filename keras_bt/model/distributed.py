"""`DistributedModel`: a Keras model that trains exactly under `tf.distribute`, or raises an error.

Keras 3.15 reduces logs and builds models in ways that fail with several workers (keras-team/keras
issue 20585); earlier versions of Keras 3 do too. The overrides of `_maybe_symbolic_build` and
`get_metrics_result` rest on Keras's internals: run tests/distribution before allowing another
version.
"""

import types
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.distribution.collectives import current_replicas
from keras_bt.layers.batch_norm import is_synchronized

UNSUPPORTED_STRATEGIES = (
    tf.distribute.ParameterServerStrategy,
    tf.distribute.experimental.CentralStorageStrategy,
)


class DistributedModel(keras.Model):
    """A Keras model whose `fit`, `evaluate` and `predict` also run on several workers.

    Several workers need a built model: call it on a batch inside the strategy's scope.

    Raises:
        ValueError: In `compile`, if the strategy does not keep its replicas in step, or if the
            settings or variables do not work on several replicas.

    Example:
        >>> strategy = tf.distribute.experimental.CentralStorageStrategy(["CPU:0"])
        >>> with strategy.scope():
        ...     DistributedModel().compile("sgd", "mse")
        Traceback (most recent call last):
            ...
        ValueError: CentralStorageStrategy does not keep its replicas in step, ...
    """

    @property
    def has_workers(self) -> bool:
        """Whether the model was made in the scope of a strategy with several workers."""
        return compat.has_workers(self.distribute_strategy)

    @property
    def replicas(self) -> int:
        """Number of replicas of the strategy in whose scope the model was made."""
        return self.distribute_strategy.num_replicas_in_sync

    def compile(self, *args: Any, **kwargs: Any) -> None:
        _check_scope(self, "compiled")
        super().compile(*args, **kwargs)
        strategy = self.distribute_strategy
        if isinstance(strategy, UNSUPPORTED_STRATEGIES):
            raise ValueError(
                f"{type(strategy).__name__} does not keep its replicas in step, so there is no "
                "global batch; use MirroredStrategy, MultiWorkerMirroredStrategy or TPUStrategy."
            )
        if self.replicas > 1:
            _check_settings(self)
        _check_variables(self)
        if self.replicas > 1:
            _warn_of_statistics(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras 3.15 does not compile a loaded model whose class overrides `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        if tf.distribute.has_strategy():
            _check_scope(self, "trained")
        unshuffled = (tf.data.Dataset, tf.distribute.DistributedDataset, types.GeneratorType)
        if isinstance(x, unshuffled):
            kwargs.setdefault("shuffle", False)  # Keras 3.15 warns of its own default
        return super().fit(self._sharded(x), y, batch_size, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        return super().evaluate(self._sharded(x), y, batch_size, **kwargs)

    def _sharded(self, x: Any) -> Any:
        """A dataset from which each worker reads its part of every batch."""
        if not (self.has_workers and isinstance(x, tf.data.Dataset)):
            return x
        options = tf.data.Options()
        # TensorFlow shards by files first: each worker would then form batches of its own.
        by_data = tf.data.experimental.AutoShardPolicy.DATA
        options.experimental_distribute.auto_shard_policy = by_data
        return x.with_options(options)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds the optimizer, and the model on a single worker."""
        # Keras would reduce a batch that lies on several workers, which raises an error.
        if not self.has_workers:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        elif not self.built:
            raise ValueError(
                f"{self.name} is not built, and Keras cannot build it from data on several "
                "workers; call it on a batch of images inside the strategy's scope."
            )
        if self.built and self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def get_metrics_result(self) -> dict[str, Any]:
        results = super().get_metrics_result()
        in_step = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
        if self.has_workers and in_step:
            # Keras averages over the workers along an axis, which scalars do not have.
            return {name: tf.reshape(value, [1]) for name, value in results.items()}
        return results


def share_global_gradients(
    gradients: Sequence[tf.Tensor | None], optimizer: keras.Optimizer
) -> Sequence[tf.Tensor | None]:
    """The gradients that a replica must give to a Keras optimizer, so that all take one step.

        global gradient = sum of `gradients` over replicas

    Keras sums the gradients over replicas only after it has clipped them and searched them for
    infinities, on each replica. In these two cases each replica gives an equal share of the
    global gradient, clipped already. Replicas then clip and skip as one device would.

    Args:
        gradients: Those of this replica's images, scaled by `optimizer.scale_loss`; or None.
        optimizer: Built optimizer.

    Example:
        >>> share_global_gradients([1.0, None], keras.optimizers.SGD())
        [1.0, None]

    Source: keras 3.15, optimizers/loss_scale_optimizer.py: its comment assumes gradients
        that are summed already.
    """
    replicas = current_replicas()
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scales else optimizer
    clips = bool(inner.clipnorm or inner.global_clipnorm or inner.clipvalue)
    if replicas.count == 1 or not (scales or clips):
        return gradients
    sums = replicas.sum([gradient for gradient in gradients if gradient is not None])
    if clips:
        scale = tf.convert_to_tensor(optimizer.dynamic_scale) if scales else 1.0
        # Keras clips the shares again, without effect: a share is smaller than the sum.
        clipped = compat.clip_gradients(inner, [gradient / scale for gradient in sums])
        # An infinity clipped by value would look finite, and the step would not be skipped.
        sums = [
            tf.where(tf.math.is_finite(gradient), small * scale, gradient)
            for gradient, small in zip(sums, clipped, strict=True)
        ]
    shares = iter([gradient / replicas.count for gradient in sums])
    return [None if gradient is None else next(shares) for gradient in gradients]


def _check_settings(model: DistributedModel) -> None:
    """Raises an error for compiled settings that need a single replica."""
    if model.jit_compile and not isinstance(model.distribute_strategy, tf.distribute.TPUStrategy):
        raise ValueError(
            f"jit_compile=True needs a single replica, got {model.replicas}: TensorFlow does not "
            "compile sums over replicas."
        )
    optimizer: Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer.gradient_accumulation_steps:
        raise ValueError(
            "gradient_accumulation_steps needs a single replica: Keras 3.15 updates inside a "
            "condition, where replicas cannot sum."
        )


def _check_scope(model: DistributedModel, done: str) -> None:
    """Raises an error unless the current strategy is that of the model."""
    current = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    made = compat.strategy_of_model(model)
    if current is not made:
        names = [type(each).__name__ if each else "no strategy" for each in (made, current)]
        raise ValueError(
            f"{model.name} was made in the scope of {names[0]}, and is {done} in that of "
            f"{names[1]}; make or load it, and compile it, inside `with strategy.scope():`."
        )


def _check_variables(model: DistributedModel) -> None:
    """Raises an error for variables of another strategy than the model's."""
    strategy = compat.strategy_of_model(model)
    parts = (
        ("encoder, projector, views and model", model.weights),
        ("the optimizer", model.optimizer.variables if model.optimizer else ()),
    )
    for part, variables in parts:
        for variable in variables:
            if not compat.is_variable_of(variable, strategy):
                where = "outside the strategy's scope" if strategy else "in a strategy's scope"
                raise ValueError(
                    f"{variable.path} was made {where}; make {part} "
                    + ("inside it." if strategy else "outside it, or all inside it.")
                )


def _warn_of_statistics(model: DistributedModel) -> None:
    """Warns of batch normalization with statistics of each replica."""
    by_replica = [
        layer.name
        for layer in compat.flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and not is_synchronized(layer)
    ]
    if by_replica:
        warnings.warn(
            f"{len(by_replica)} batch normalization layers, first {by_replica[0]!r}, take their "
            "statistics on each replica, so results depend on the number of replicas; "
            "keras_bt.sync_batch_norm(model) makes the statistics global.",
            stacklevel=4,
        )

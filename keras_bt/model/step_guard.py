"""`StepGuard`: undoes and holds training steps whose numbers are NaN or infinite."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.distribution.collectives import COPY_ON_EACH_REPLICA, current_replicas
from keras_bt.model.distributed import share_global_gradients
from keras_bt.model.nonfinite import any_nonfinite

TERMS = ("invariance term", "redundancy term", "regularization", "gradient")
ALL_FINITE = -1

Gradients = Sequence[tf.Tensor | None]


class StepGuard:
    """Counts the steps of a training up to the first with a number that is not finite.

    That step and all after it are held until `reset`. Made in a strategy's scope, the guard has
    a copy on every replica, and all copies agree.

    Example:
        >>> guard = StepGuard()
        >>> bool(guard.check([1.0, 2.0, 0.0], gradients=[tf.constant(0.5)]))
        True
        >>> bool(guard.check([1.0, float("nan"), 0.0], gradients=[tf.constant(0.5)]))
        False
        >>> guard.finite_steps(), guard.nonfinite_term()
        (1, 'redundancy term')
    """

    def __init__(self) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._steps = tf.Variable(0, dtype=tf.int64, **COPY_ON_EACH_REPLICA)
        self._term = tf.Variable(ALL_FINITE, dtype=tf.int64, **COPY_ON_EACH_REPLICA)

    def check(
        self,
        terms: Sequence[tf.Tensor],
        gradients: Gradients,
        check_gradients: bool | tf.Tensor = True,
    ) -> tf.Tensor:
        """Checks and counts a step, on every replica.

        Args:
            terms: Scalars: invariance, redundancy and regularization of the global loss.
            gradients: Those of this replica.
            check_gradients: Scalar. False accepts gradients that are not finite.

        Returns:
            Scalar bool tensor, the same on all replicas: whether this step and all before it are
            finite.
        """
        # Only gradients differ between replicas.
        nonfinite = [any_nonfinite([term]) for term in terms]
        own = tf.logical_and(check_gradients, any_nonfinite(gradients))
        nonfinite.append(current_replicas().sum([tf.cast(own, tf.float32)])[0] > 0)
        first = tf.argmax(tf.stack(nonfinite), output_type=tf.int64)
        found = tf.where(tf.reduce_any(nonfinite), first, tf.constant(ALL_FINITE, tf.int64))
        term = tf.where(tf.equal(self._term, ALL_FINITE), found, self._term)
        finite = tf.equal(term, ALL_FINITE)
        self._term.assign(term)
        self._steps.assign_add(tf.cast(finite, tf.int64))
        return finite

    def finite_steps(self) -> int:
        """Number of steps since `reset` that were not held."""
        return int(self._copies(self._steps)[0])

    def nonfinite_term(self) -> str | None:
        """The one of `TERMS` that was not finite in the held step; None if no step is held."""
        term = int(self._copies(self._term)[0])
        return None if term == ALL_FINITE else TERMS[term]

    def reset(self) -> None:
        """Ends the hold and sets the count of steps to 0."""
        for variable, start in ((self._steps, 0), (self._term, ALL_FINITE)):
            for copy in self._copies(variable):
                copy.assign(start)

    def _copies(self, variable: tf.Variable) -> tuple[tf.Variable, ...]:
        """A variable's copies on this worker's replicas."""
        return self._strategy.experimental_local_results(variable)


@contextlib.contextmanager
def undone_if_nonfinite(
    model: keras.Model, guard: StepGuard | None
) -> Iterator[Callable[[Sequence[tf.Tensor], Gradients], None]]:
    """Context of a training step that changes nothing if its loss or gradient is not finite.

    Args:
        model: Compiled model. Its statistics, seeds and metrics are restored if the step is held.
        guard: Decides whether the step is held. None holds no step.

    Yields:
        Function that applies a step, given the loss's terms and this replica's gradients.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile("sgd")
        >>> before = model.get_weights()
        >>> with undone_if_nonfinite(model, StepGuard()) as apply_step:
        ...     apply_step([float("nan"), 0.0, 0.0], [tf.constant([[1.0]])])
        >>> before == model.get_weights()
        True
    """
    if guard is None:
        yield lambda terms, gradients: model.optimizer.apply(
            share_global_gradients(gradients, model.optimizer), model.trainable_variables
        )
        return
    state = [*model.non_trainable_variables, *model.metrics_variables]
    before = [tf.identity(variable.value) for variable in state]
    finite = []

    def apply_step(terms: Sequence[tf.Tensor], gradients: Gradients) -> None:
        gradients = share_global_gradients(gradients, model.optimizer)
        finite.append(guard.check(terms, gradients, _loss_scale_is_found(model.optimizer)))
        apply_if(finite[0], model.optimizer, gradients, model.trainable_variables)

    yield apply_step
    for variable, value in zip(state, before, strict=True):
        variable.assign(tf.where(finite[0], variable.value, value))


@contextlib.contextmanager
def warning_if_held(guard: StepGuard | None) -> Iterator[None]:
    """Context of a `fit`: resets the guard before it, and warns after it if steps were held."""
    if guard is None:
        yield
        return
    guard.reset()
    yield
    if term := guard.nonfinite_term():
        warnings.warn(
            f"From step {guard.finite_steps() + 1} of this fit on the weights did not change: "
            f"the {term} was not finite.",
            stacklevel=4,
        )


def apply_if(
    condition: tf.Tensor,
    optimizer: keras.Optimizer,
    gradients: Gradients,
    variables: Sequence[keras.Variable],
) -> None:
    """Calls `optimizer.apply` under a condition.

    Args:
        condition: Scalar bool tensor, the same on all replicas.
        optimizer: Built optimizer.
        gradients: See `keras.optimizers.Optimizer.apply`.
        variables: See `keras.optimizers.Optimizer.apply`.

    Example:
        >>> weight, optimizer = keras.Variable(1.0), keras.optimizers.SGD(0.5)
        >>> optimizer.build([weight])
        >>> for condition in (False, True):
        ...     apply_if(tf.constant(condition), optimizer, [tf.constant(1.0)], [weight])
        ...     print(weight.numpy())
        1.0
        0.5

    Source: keras 3.15, optimizers/loss_scale_optimizer.py, for the merge of replicas.
    """

    def apply(gradients: Gradients, variables: Sequence[keras.Variable]) -> None:
        optimizer.apply(gradients, variables)

    def do_nothing() -> None:
        pass

    if not compat.replicas_merge():
        tf.cond(condition, lambda: apply(gradients, variables), do_nothing)
        return

    def apply_on_all(
        strategy: tf.distribute.Strategy, condition: Any, gradients: Any, variables: Any
    ) -> None:
        def apply_on_each() -> None:
            strategy.extended.call_for_each_replica(apply, args=(gradients, variables))

        tf.cond(strategy.experimental_local_results(condition)[0], apply_on_each, do_nothing)

    # Optimizers merge replicas, which is an error inside a condition of each replica's own.
    context = tf.distribute.get_replica_context()
    context.merge_call(apply_on_all, args=(condition, gradients, variables))


def _loss_scale_is_found(optimizer: keras.Optimizer) -> bool | tf.Tensor:
    """False while the optimizer's loss scale still falls, at which infinite gradients are usual."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return True
    return optimizer.scale_loss(tf.constant(1.0)) < 1.0  # no loss needs a scale below 1

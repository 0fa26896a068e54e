"""Training steps whose numbers are NaN or infinite: kept from the weights, and explained."""

import contextlib

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt._support.variables import restored
from keras_bt.distribution.collectives import current_replicas

TERMS = ("invariance term", "redundancy term", "regularization", "gradient")
ALL_FINITE = -1


class StepGuard:
    """Lets the steps of a training pass up to the first with a number that is not finite.

    That step and those after it are held until `reset`. Made in a strategy's scope every
    replica has its own copy, and all copies agree.

    Example:
        >>> guard = StepGuard()
        >>> bool(guard.lets_pass([1.0, 2.0, 0.0], gradients=[tf.constant(0.5)]))
        True
        >>> bool(guard.lets_pass([1.0, float("nan"), 0.0], gradients=[tf.constant(0.5)]))
        False
        >>> guard.steps(), guard.held_by()
        (1, 'redundancy term')
    """

    def __init__(self):
        self._strategy = tf.distribute.get_strategy()
        own = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self._steps = tf.Variable(0, dtype=tf.int64, **own)
        self._term = tf.Variable(ALL_FINITE, dtype=tf.int64, **own)

    def lets_pass(self, terms, gradients, gradients_matter=True):
        """Looks at a step, on every replica.

        Args:
            terms: The global loss's invariance, redundancy and regularization, scalars.
            gradients: List of tensors or None, of this replica.
            gradients_matter: Bool, or scalar bool tensor: false where an optimizer with loss
                scaling expects infinities, and passes over them itself.

        Returns:
            Scalar bool tensor, the same on all replicas.
        """
        # Only gradients differ between replicas.
        broken = [_not_finite([term]) for term in terms]
        broken_gradients = tf.logical_and(gradients_matter, _not_finite(gradients))
        broken.append(current_replicas().sum([tf.cast(broken_gradients, tf.float32)])[0] > 0)
        first = tf.argmax(tf.stack(broken), output_type=tf.int64)
        now = tf.where(tf.reduce_any(broken), first, tf.constant(ALL_FINITE, tf.int64))
        term = tf.where(tf.equal(self._term, ALL_FINITE), now, self._term)
        passes = tf.equal(term, ALL_FINITE)
        self._term.assign(term)
        self._steps.assign_add(tf.cast(passes, tf.int64))
        return passes

    def steps(self):
        """How many steps passed since `reset`, an int."""
        return int(self._copies(self._steps)[0])

    def held_by(self):
        """What was not finite in the step that is held, one of `TERMS`, or None."""
        term = int(self._copies(self._term)[0])
        return None if term == ALL_FINITE else TERMS[term]

    def reset(self):
        """Lets steps pass again, and counts them from 0."""
        for copy in self._copies(self._steps):
            copy.assign(0)
        for copy in self._copies(self._term):
            copy.assign(ALL_FINITE)

    def _copies(self, variable):
        return self._strategy.experimental_local_results(variable)


def apply_if(passes, optimizer, gradients, variables):
    """`optimizer.apply` under a condition, which is the same on all replicas.

    Args:
        passes: Scalar bool tensor.
        optimizer: Built Keras optimizer.
        gradients: See `keras.optimizers.Optimizer.apply`.
        variables: See `keras.optimizers.Optimizer.apply`.

    Source: keras 3.15, optimizers/loss_scale_optimizer.py, for what replicas need.
    """

    def apply(gradients, variables):
        optimizer.apply(gradients, variables)

    def nothing():
        pass

    if not compat.replicas_merge():
        tf.cond(passes, lambda: apply(gradients, variables), nothing)
        return

    def apply_on_all(strategy, passes, gradients, variables):
        def on_each():
            strategy.extended.call_for_each_replica(apply, args=(gradients, variables))

        tf.cond(strategy.experimental_local_results(passes)[0], on_each, nothing)

    # Optimizers merge replicas, which they may not inside a condition of each its own.
    context = tf.distribute.get_replica_context()
    context.merge_call(apply_on_all, args=(passes, gradients, variables))


def put_back_unless(passes, variables, before):
    """Gives variables their former values, unless the step passes."""
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(passes, variable.value, value))


def first_nonfinite(model, batch):
    """Where numbers first are not finite in a step, done again without replicas and undone.

    Args:
        model: Compiled `BarlowTwins`.
        batch: What its `fit` takes from the data, in parts where replicas are several.

    Returns:
        String, or None if all is finite this time.
    """
    local_results = model.distribute_strategy.experimental_local_results
    leaves = [local_results(leaf) for leaf in tf.nest.flatten(batch)]
    parts = [tf.nest.pack_sequence_as(batch, part) for part in zip(*leaves, strict=True)]
    # All of them, for workers sum what they read: each has to do so as often as the others.
    found = [_first_nonfinite(model, part) for part in parts]
    return next(filter(None, found), None)


def _first_nonfinite(model, images):
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    with restored(variables), _watched_layers() as found:
        _, gradients = model.terms_and_gradients(*model.two_views(images))
    if found:
        return f"in the output of layer {found[0].path}"
    for variable, gradient in reversed(
        list(zip(model.trainable_variables, gradients, strict=True))
    ):
        if gradient is not None and _not_finite([gradient]):
            return f"in the gradient of {variable.path}"
    return None


@contextlib.contextmanager
def _watched_layers():
    """The layers whose outputs are not finite, in the order in which they return."""
    found: list[keras.layers.Layer] = []
    call = keras.layers.Layer.__call__

    def watched_call(layer, *args, **kwargs):
        outputs = call(layer, *args, **kwargs)
        tensors = [each for each in tf.nest.flatten(outputs) if tf.is_tensor(each)]
        if not any(map(tf.is_symbolic_tensor, tensors)) and _not_finite(tensors):
            found.append(layer)
        return outputs

    keras.layers.Layer.__call__ = watched_call
    try:
        yield found
    finally:
        keras.layers.Layer.__call__ = call


def _not_finite(tensors):
    """Scalar bool tensor: whether any number of them is NaN or infinite."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors if tensor is not None]
    return tf.reduce_any(
        [
            tf.logical_not(tf.reduce_all(tf.math.is_finite(tensor)))
            for tensor in tensors
            if tensor.dtype.is_floating
        ]
        or [False]
    )

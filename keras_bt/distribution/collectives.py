"""Sums, gathers and loops across the replicas of a strategy."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_bt._support import compat
from keras_bt.functional.replicas import ONE_REPLICA, Replicas

SUM = tf.distribute.ReduceOp.SUM
# Arguments of a variable that each replica writes for itself; a read takes the first one's.
COPY_ON_EACH_REPLICA: dict[str, Any] = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}


def current_replicas() -> Replicas:
    """The replicas that run the calling code.

    Returns:
        Inside `strategy.run`, and so in the train step of a Keras model, the replicas of the
        strategy. Elsewhere one replica, which holds the whole batch.

    Example:
        >>> current_replicas().count
        1
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ONE_REPLICA
    return Replicas(
        count=context.num_replicas_in_sync,
        sum=lambda tensors: _sum(context, tensors),
        gather=lambda tensor: context.all_gather(tensor, axis=0),
        custom_gradient=compat.custom_gradient,
    )


def loop(
    times: int, step: Callable[..., tuple[tf.Tensor, ...]], state: tuple[tf.Tensor, ...]
) -> tuple[tf.Tensor, ...]:
    """Repeats a step in which replicas may sum and gather.

        state = step(0, *state); state = step(1, *state); ...

    A graph contains one loop, not a copy of each step. Iterations run one after the other, so
    the memory of a single one suffices.

    Args:
        times: Number of iterations.
        step: Function of the iteration, a scalar int32 tensor, and the state. Returns the next
            state, of the same shapes.
        state: The initial state.

    Returns:
        The state after the last iteration.

    Example:
        >>> int(loop(4, lambda index, total: (total + index,), (tf.constant(0),))[0])
        6
    """

    def while_loop(step: Callable[..., tuple], state: tuple) -> tuple:
        def body(index: tf.Tensor, *state: Any) -> tuple:
            return (index + 1, *step(index, *state))

        first = (tf.constant(0), *state)
        return tf.while_loop(lambda i, *_: i < times, body, first, parallel_iterations=1)[1:]

    if current_replicas().count == 1 or not compat.replicas_merge():
        return while_loop(step, state)

    # Sums merge the replicas, and tf.distribute forbids that inside a loop of each replica. So
    # the replicas merge first, and one loop runs each step on all of them.
    def loop_over_replicas(
        strategy: tf.distribute.Strategy, step: Callable[..., tuple], state: tuple
    ) -> tuple:
        def step_on_all(index: tf.Tensor, *state: Any) -> tuple:
            def step_on_replica(
                step: Callable[..., tuple], index: tf.Tensor, *state: tf.Tensor
            ) -> tuple[tf.Tensor, ...]:
                return step(index, *state)

            return strategy.extended.call_for_each_replica(
                step_on_replica, args=(step, index, *state)
            )

        return while_loop(step_on_all, state)

    return tf.distribute.get_replica_context().merge_call(loop_over_replicas, args=(step, state))


def first_row(rows: int | tf.Tensor) -> int | tf.Tensor:
    """The row of the global batch at which this replica's rows begin.

    Args:
        rows: Number of rows of this replica, an int or a scalar int tensor. An int must be the
            same on all replicas.

    Returns:
        0 on a single replica, otherwise a scalar int64 tensor.

    Example:
        >>> first_row(128)
        0
    """
    replicas = current_replicas()
    if replicas.count == 1:
        return 0
    position = tf.cast(_position_in_batch(tf.distribute.get_replica_context()), tf.int64)
    if isinstance(rows, int):
        return position * rows
    # float32, because some devices cannot sum integers; exact below 2^24 rows.
    rows_by_position = tf.one_hot(position, replicas.count) * tf.cast(rows, tf.float32)
    earlier = tf.range(replicas.count, dtype=tf.int64) < position
    return tf.cast(tf.reduce_sum(tf.where(earlier, replicas.sum(rows_by_position), 0.0)), tf.int64)


def _sum(context: tf.distribute.ReplicaContext, tensors: Any) -> Any:
    """Sums tensors over replicas; gradients come from `compat.custom_gradient`."""
    if not compat.replicas_merge():
        return context.all_reduce(SUM, tensors)

    # `all_reduce` would also trace a gradient of its own, which is slow.
    def sum_over_replicas(strategy: tf.distribute.Strategy, *per_replica: Any) -> Any:
        destinations = [
            value if isinstance(value, tf.distribute.DistributedValues) else value.device
            for value in per_replica
        ]
        pairs = list(zip(per_replica, destinations, strict=True))
        return strategy.extended.batch_reduce_to(SUM, pairs)

    summed = context.merge_call(sum_over_replicas, args=tf.nest.flatten(tensors))
    return tf.nest.pack_sequence_as(tensors, summed)


def _position_in_batch(context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """The part of the global batch that this replica gets.

    Replicas are numbered worker by worker. `tf.data` distributes the parts to the workers in
    turn (AutoShardPolicy.DATA).
    """
    replica = context.replica_id_in_sync_group
    replicas_per_worker = len(context.strategy.extended.worker_devices)
    workers = max(1, context.num_replicas_in_sync // replicas_per_worker)
    return replica % replicas_per_worker * workers + replica // replicas_per_worker

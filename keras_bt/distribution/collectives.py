"""What replicas of one strategy tell each other, and what it means on a single one."""

import tensorflow as tf

from keras_bt._support import compat
from keras_bt.functional.correlation import ONE_REPLICA, Replicas

SUM = tf.distribute.ReduceOp.SUM


def current_replicas():
    """The replicas among which the code that asks is running.

    Returns:
        `functional.correlation.Replicas`. Inside `strategy.run`, and so in the train step
        of a Keras model, those of the strategy. Elsewhere there is one, which holds the
        whole batch.

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


def _sum(context, tensors):
    if not compat.replicas_merge():
        return context.all_reduce(SUM, tensors)

    # `all_reduce` without its gradient, which is slow as `compat.custom_gradient` explains.
    def sum_of_all(strategy, *of_replicas):
        destinations = [
            value if isinstance(value, tf.distribute.DistributedValues) else value.device
            for value in of_replicas
        ]
        pairs = list(zip(of_replicas, destinations, strict=True))
        return strategy.extended.batch_reduce_to(SUM, pairs)

    summed = context.merge_call(sum_of_all, args=tf.nest.flatten(tensors))
    return tf.nest.pack_sequence_as(tensors, summed)


def loop(times, step, state):
    """Does something again and again, in whose midst replicas may sum and gather.

        state = step(0, *state); state = step(1, *state); ...

    In a graph it is a loop too, whose turns never overlap: memory is that of one turn.

    Args:
        times: Int.
        step: Function from the number of a turn, a scalar int tensor, and the state to the
            next state, of the same shapes.
        state: Tuple of tensors.

    Returns:
        Tuple of tensors: the state after the last turn.

    Example:
        >>> int(loop(4, lambda turn, total: (total + turn,), (tf.constant(0),))[0])
        6
    """

    def turns(step, state):
        def turn(index, *state):
            return (index + 1, *step(index, *state))

        first = (tf.constant(0), *state)
        return tf.while_loop(lambda i, *_: i < times, turn, first, parallel_iterations=1)[1:]

    if current_replicas().count == 1 or not compat.replicas_merge():
        return turns(step, state)

    # Replicas merge to sum, which they may not inside a loop of each its own. So they merge
    # first, and the one loop of all has them take each turn.
    def turns_of_all(strategy, step, state):
        def step_of_all(index, *state):
            def on_each(step, index, *state):
                return step(index, *state)

            return strategy.extended.call_for_each_replica(on_each, args=(step, index, *state))

        return turns(step_of_all, state)

    return tf.distribute.get_replica_context().merge_call(turns_of_all, args=(step, state))


def first_row(rows):
    """Where in the global batch the rows of this replica begin.

    Args:
        rows: Int or scalar int tensor. How many this replica has; an int stands for as many
            on every other.

    Returns:
        0 on a single replica, else a scalar int64 tensor.

    Example:
        >>> first_row(128)
        0
    """
    replicas = current_replicas()
    if replicas.count == 1:
        return 0
    place = tf.cast(_place_in_batch(tf.distribute.get_replica_context()), tf.int64)
    if isinstance(rows, int):
        return place * rows
    # float32, for not every device sums integers; exact below 2^24 rows
    rows_by_place = tf.one_hot(place, replicas.count) * tf.cast(rows, tf.float32)
    earlier = tf.range(replicas.count, dtype=tf.int64) < place
    return tf.cast(tf.reduce_sum(tf.where(earlier, replicas.sum(rows_by_place), 0.0)), tf.int64)


def _place_in_batch(context):
    """Which part of the global batch a replica gets.

    Replicas are numbered worker by worker, while `tf.data` deals the parts out to the
    workers in turn (AutoShardPolicy.DATA).
    """
    replica = context.replica_id_in_sync_group
    replicas_per_worker = len(context.strategy.extended.worker_devices)
    workers = max(1, context.num_replicas_in_sync // replicas_per_worker)
    return replica % replicas_per_worker * workers + replica // replicas_per_worker

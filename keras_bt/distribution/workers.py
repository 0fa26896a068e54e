"""What the workers of a strategy tell each other from Python: to agree, to fail, to leave."""

import functools
import json

import numpy as np
import tensorflow as tf

from keras_bt._support.compat import has_workers, wait_at_barrier
from keras_bt._support.settings import differences

A_WEEK = 7.0 * 24 * 3600


def is_chief(strategy):
    """Whether this process is the one that writes.

    Args:
        strategy: `tf.distribute.Strategy`.

    Returns:
        Bool: true for one process of a strategy, the first worker.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    return _worker_index(strategy) == 0


def gather_from_workers(strategy, value):
    """What each worker has, on all of them; waits for all of them to come here.

    Args:
        strategy: `tf.distribute.Strategy`.
        value: What JSON can hold.

    Returns:
        List of each worker's value, the chief's first.

    Example:
        >>> gather_from_workers(tf.distribute.get_strategy(), {"seed": 3})
        [{'seed': 3}]
    """
    if not has_workers(strategy):
        return [json.loads(json.dumps(value))]
    gather = _gather_rows(strategy)
    written = np.frombuffer(json.dumps(value).encode(), "uint8").astype("int32")
    lengths = gather(tf.constant([[len(written)]])).numpy()[:, 0]
    padded = np.zeros([1, lengths.max()], "int32")
    padded[0, : len(written)] = written
    rows = gather(tf.constant(padded)).numpy().astype("uint8")
    per_worker = len(strategy.extended.worker_devices)
    return [
        json.loads(row[:length].tobytes())
        for row, length in zip(rows[::per_worker], lengths[::per_worker], strict=True)
    ]


def run_on_all_workers(strategy, act):
    """Does something on all workers, or fails on all of them alike.

    Args:
        strategy: `tf.distribute.Strategy`.
        act: Function without arguments, in which no worker waits for another.

    Returns:
        What `act` returns on this worker.

    Raises:
        ValueError: If it raised a ValueError or OSError on any, with the first one's message.

    Example:
        >>> run_on_all_workers(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    done, problem = None, None
    try:
        done = act()
    except (ValueError, OSError) as error:
        problem = str(error)
    for told in gather_from_workers(strategy, problem):
        if told is not None:
            raise ValueError(told)
    return done


def run_on_chief_first(strategy, act):
    """`run_on_all_workers`, the others after the chief: for what they find done then, as downloads.

    Args:
        strategy: `tf.distribute.Strategy`.
        act: See `run_on_all_workers`.

    Returns:
        What `act` returns on this worker.

    Example:
        >>> run_on_chief_first(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    chief = is_chief(strategy)
    done = run_on_all_workers(strategy, act if chief else lambda: None)
    return run_on_all_workers(strategy, lambda: done if chief else act())


def leave_together(strategy, timeout_seconds=A_WEEK):
    """Waits until all workers are done. A script's last act: who leaves early fells the others.

    Args:
        strategy: `tf.distribute.Strategy`.
        timeout_seconds: Float. Long, for the chief may have much to evaluate.

    Raises:
        tf.errors.OpError: If a worker did not come.

    Example:
        >>> leave_together(tf.distribute.get_strategy())
    """
    if has_workers(strategy):
        wait_at_barrier("keras_bt leaves", timeout_seconds)


def check_agreement(strategy, settings):
    """Refuses workers that were started with other settings than the chief.

    Args:
        strategy: `tf.distribute.Strategy`.
        settings: Dict that JSON can hold.

    Raises:
        ValueError: On every worker alike, naming who differs in what.

    Example:
        >>> check_agreement(tf.distribute.get_strategy(), {"seed": 3})
    """
    of_chief, *of_others = gather_from_workers(strategy, settings)
    differing = [
        line
        for index, other in enumerate(of_others, start=1)
        for line in differences(of_chief, other, "on worker 0", f"on worker {index}")
    ]
    if differing:
        raise ValueError("The workers were started differently.\n  " + "\n  ".join(differing))


@functools.lru_cache
def _gather_rows(strategy):
    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def gather(row):
        def gather_in_replica():
            on_device = tf.identity(row)  # where the argument has no device yet
            return tf.distribute.get_replica_context().all_gather(on_device, axis=0)

        gathered = strategy.run(gather_in_replica)
        return strategy.experimental_local_results(gathered)[0]

    return gather


def _worker_index(strategy):
    if not has_workers(strategy):
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)

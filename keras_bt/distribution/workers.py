"""Workers of a strategy: the chief, gathered values, shared errors, common exit."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from keras_bt._support.compat import has_workers, wait_at_barrier
from keras_bt._support.settings import differences

WEEK_SECONDS = 7.0 * 24 * 3600

T = TypeVar("T")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes files: the first worker, or the only process.

    Args:
        strategy: The strategy of the training.

    Returns:
        True on exactly one process of a strategy.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    return worker_index(strategy) == 0


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """The index of this process among the workers; the chief is 0.

    Args:
        strategy: The strategy of the training.

    Returns:
        Always 0 in a strategy of a single process.

    Example:
        >>> worker_index(tf.distribute.get_strategy())
        0
    """
    if not has_workers(strategy):
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)


def gather_from_workers(strategy: tf.distribute.Strategy, value: Any) -> list[Any]:
    """Gathers a value from every worker. Every worker must call it.

    Args:
        strategy: The strategy of the training.
        value: This worker's value, which JSON can hold.

    Returns:
        The values of all workers, the chief's first.

    Example:
        >>> gather_from_workers(tf.distribute.get_strategy(), {"seed": 3})
        [{'seed': 3}]
    """
    if not has_workers(strategy):
        return [json.loads(json.dumps(value))]
    gather = _gather_rows(strategy)
    encoded = np.frombuffer(json.dumps(value).encode(), "uint8").astype("int32")
    lengths = gather(tf.constant([[len(encoded)]])).numpy()[:, 0]
    padded = np.zeros([1, lengths.max()], "int32")
    padded[0, : len(encoded)] = encoded
    rows = gather(tf.constant(padded)).numpy().astype("uint8")
    per_worker = len(strategy.extended.worker_devices)
    return [
        json.loads(row[:length].tobytes())
        for row, length in zip(rows[::per_worker], lengths[::per_worker], strict=True)
    ]


def run_on_all_workers(strategy: tf.distribute.Strategy, function: Callable[[], T]) -> T:
    """Runs a function on every worker. If it fails on one, every worker raises the error.

    Args:
        strategy: The strategy of the training.
        function: Must not wait for other workers.

    Returns:
        The result of `function` on this worker.

    Raises:
        ValueError: If `function` raises a ValueError or OSError on any worker. The message is
            that of the first such worker.

    Example:
        >>> run_on_all_workers(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    error_message = None
    try:
        result = function()
    except (ValueError, OSError) as error:
        error_message = str(error)
    for message in gather_from_workers(strategy, error_message):
        if message is not None:
            raise ValueError(message)
    return result


def run_on_chief_first(strategy: tf.distribute.Strategy, function: Callable[[], T]) -> T:
    """Runs a function on the chief, then on the other workers, so that they reuse its work.

    Args:
        strategy: The strategy of the training.
        function: For example a download. Must not wait for other workers.

    Returns:
        The result of `function` on this worker.

    Raises:
        ValueError: See `run_on_all_workers`.

    Example:
        >>> run_on_chief_first(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    if is_chief(strategy):
        result = run_on_all_workers(strategy, function)
        run_on_all_workers(strategy, lambda: None)  # waits for the others
        return result
    run_on_all_workers(strategy, lambda: None)  # waits for the chief
    return run_on_all_workers(strategy, function)


def leave_together(strategy: tf.distribute.Strategy, timeout_seconds: float = WEEK_SECONDS) -> None:
    """Waits until every worker is done. A worker that exits early crashes the rest.

    Args:
        strategy: The strategy of the training.
        timeout_seconds: How long to wait. The chief's evaluation may take hours.

    Raises:
        tf.errors.OpError: If a worker is not done in time.
    """
    if has_workers(strategy):
        wait_at_barrier("keras_bt leaves", timeout_seconds)


def check_agreement(strategy: tf.distribute.Strategy, settings: Mapping[str, Any]) -> None:
    """Checks that all workers have the settings of the chief.

    Args:
        strategy: The strategy of the training.
        settings: This worker's settings, which JSON can hold.

    Raises:
        ValueError: On every worker, if they differ. Names each worker and setting.
    """
    chief, *others = gather_from_workers(strategy, settings)
    differing = [
        line
        for index, other in enumerate(others, start=1)
        for line in differences(chief, other, "on worker 0", f"on worker {index}")
    ]
    if differing:
        raise ValueError(
            f"The workers have different settings ({'; '.join(differing)}); start all with the "
            "same ones."
        )


@functools.lru_cache
def _gather_rows(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function that gathers an int32 row [1, length] from all replicas."""

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def gather(row: tf.Tensor) -> tf.Tensor:
        def gather_in_replica() -> tf.Tensor:
            on_device = tf.identity(row)  # the argument has no device yet
            return tf.distribute.get_replica_context().all_gather(on_device, axis=0)

        gathered = strategy.run(gather_in_replica)
        return strategy.experimental_local_results(gathered)[0]

    return gather

"""The replicas that hold a batch: their number, and how they sum and gather."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Replicas:
    """The replicas that hold a batch. Each holds its own rows.

    Pure functions take it as an argument, so they know nothing of `tf.distribute`.

    Args:
        count: Number of replicas.
        sum: Returns a tensor, or each tensor of a list, summed over all replicas.
        gather: Returns the rows of a tensor [rows, ...] from all replicas.
        custom_gradient: Replaces `tf.custom_gradient` around calls of `sum` and `gather`.

    Example:
        >>> two = Replicas(count=2, sum=lambda tensor: tensor + 5.0)  # 5 is on the other replica
        >>> two.sum(3.0) / two.count
        4.0
    """

    count: int = 1
    sum: Callable[[Any], Any] = lambda tensors: tensors
    gather: Callable[[tf.Tensor], tf.Tensor] = lambda tensor: tensor
    custom_gradient: Callable[..., Any] = tf.custom_gradient


ONE_REPLICA = Replicas()

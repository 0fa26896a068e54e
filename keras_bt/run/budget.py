"""How many steps fit into a span of time on this machine."""

import statistics
import time

WARM_UP_STEPS = 3  # the first compiles, the next fill caches
MEASURED_SECONDS = 5.0
LEAST_STEPS = 5


def steps_in(minutes, model, batches):
    """Training steps that fit into a budget, by measuring a few of them.

    The model's weights, the states of its views among them, are put back afterwards; its
    optimizer is to be compiled anew, with a schedule of so many steps.

    Args:
        minutes: Float, above 0. Wall-clock budget.
        model: A compiled `BarlowTwins`.
        batches: `tf.data.Dataset` of training batches, endless.

    Returns:
        Int, at least 1.

    Raises:
        ValueError: If the budget is not above 0.

    Example:
        >>> steps_in(0, model=None, batches=None)
        Traceback (most recent call last):
            ...
        ValueError: minutes must be above 0, got 0.
    """
    if minutes <= 0:
        raise ValueError(f"minutes must be above 0, got {minutes}.")
    weights = model.get_weights()
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        model.train_on_batch(batch)
        seconds.append(time.perf_counter() - began)
        measured = seconds[WARM_UP_STEPS:]
        if len(measured) >= LEAST_STEPS and sum(measured) >= MEASURED_SECONDS:
            break
    model.set_weights(weights)
    return max(1, int(minutes * 60 / statistics.median(measured)))

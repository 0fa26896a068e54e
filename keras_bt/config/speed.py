"""`measure_speed`: how many images a second a recipe will train on."""

import functools
import os
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from keras_bt.config.recipe import Recipe
from keras_bt.distribution import workers

MEASURED_SECONDS, STEP_SECONDS = 1.0, 0.1  # of all measured steps; of one, at least
FIRST_VIEWS, MOST_VIEWS = 16, 256  # in a step
TPU_SPEED = 1000.0
# Of a view, per pixel on one core: measured on two kinds of CPUs, compiled by XLA, without blur.
VIEW_SECONDS = 5e-8


def measure_speed(recipe: Recipe, strategy: tf.distribute.Strategy) -> float:
    """Measures how many images a second a recipe will train on, in a few seconds.

    Steps of the networks are measured; the time of the views is estimated. Every worker must call
    it, outside the scope of the strategy.

    Args:
        recipe: Its precision is not "auto".
        strategy: The strategy to train under.

    Returns:
        Images a second, over all devices and workers. TPUs are not measured: 1,000 a core.

    Example:
        >>> from keras_bt.config.named import recipes
        >>> tiny = recipes["digits"].override(width=1, projector_dims=(4,))
        >>> measure_speed(tiny, tf.distribute.get_strategy()) > 10
        True
    """
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return TPU_SPEED * strategy.num_replicas_in_sync
    # Recipes that differ in what a step does not depend on are measured once.
    speed = 1 / _seconds_per_image(recipe.override(epochs=1, warmup_epochs=0.0, dataset=""))
    speeds = workers.gather_from_workers(strategy, speed)
    if tf.config.list_logical_devices("GPU"):
        return statistics.mean(speeds) * strategy.num_replicas_in_sync
    return sum(speeds)  # replicas on one CPU share its cores


def processor_cores() -> int:
    """Number of processor cores that this process may use.

    Example:
        >>> processor_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.lru_cache(maxsize=8)
def _seconds_per_image(recipe: Recipe) -> float:
    """Seconds of a training step on this worker's first device, divided by its images."""
    step = _training_step(recipe)
    views = FIRST_VIEWS
    step(views)  # compiles
    # The first step with a number of views also prepares kernels for it.
    while (step(views), step(views))[1] < STEP_SECONDS and views < MOST_VIEWS:
        views *= 4
    seconds: list[float] = []
    end = time.perf_counter() + MEASURED_SECONDS
    while len(seconds) < 3 or time.perf_counter() < end:
        seconds.append(step(views))
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    view = 0.0 if on_gpu else VIEW_SECONDS * recipe.side_of_views**2 / processor_cores()
    return 2 * (statistics.median(seconds) / views + view)


def _training_step(recipe: Recipe) -> Callable[[int], float]:
    """A function from a number of views to the seconds of a step on them."""
    encoder, projector = recipe.build_networks()
    weights = [*encoder.trainable_variables, *projector.trainable_variables]
    side = recipe.side_of_views
    view = tf.random.stateless_uniform([1, side, side, 3], (0, 0))

    @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3])], autograph=False)
    def gradients(views: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            features = encoder(views, training=True)
            loss = tf.nn.l2_loss(tf.cast(projector(features, training=True), tf.float32))
        return tape.gradient(loss, [weight.value for weight in weights])

    def run(views: int) -> float:
        batch = tf.repeat(view, views, axis=0)
        start = time.perf_counter()
        gradients(batch)[0].numpy()
        return time.perf_counter() - start

    return run

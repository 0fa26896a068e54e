"""The LARS optimizer and the learning rate schedule of the official code."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_bt")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling: steps of weights do not depend on the scale of the loss.

    Update rule of a weight w (two or more axes) with gradient g:

        d = g + weight_decay * w
        d = d * trust_coefficient * |w| / |d|           if neither norm is 0
        m = momentum * m + d
        w = w - learning_rate * m

    and of a bias, gamma or beta b (one axis), without decay and without adaptation:

        m = momentum * m + g
        b = b - bias_learning_rate_ratio * learning_rate * m

    Args:
        learning_rate: Number or schedule. The published run uses 0.2 * global batch / 256.
        momentum: In [0, 1).
        weight_decay: At least 0.
        trust_coefficient: Above 0.
        bias_learning_rate_ratio: Above 0. The default is the published run's 0.0048 / 0.2. Use
            196 / dim for another embedding width: only steps of these variables depend on the
            scale of the loss.
        name: Name of the optimizer.
        **kwargs: Clipping, averaging and accumulation of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> weight = keras.Variable([[3.0, 4.0]])
        >>> LARS(1.0, weight_decay=0.0).apply([tf.constant([[0.0, 2.0]])], [weight])
        >>> weight.numpy()
        array([[3.   , 3.995]], dtype=float32)

    Source: facebookresearch/barlowtwins main.py@8e8d284, class LARS. Its bias rate is for a
        gradient divided by the number of GPUs.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust_coefficient: float = 1e-3,
        bias_learning_rate_ratio: float = 0.024,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum}.")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay}.")
        for field, value in (
            ("trust_coefficient", trust_coefficient),
            ("bias_learning_rate_ratio", bias_learning_rate_ratio),
        ):
            if value <= 0:
                raise ValueError(f"{field} must be above 0, got {value}.")
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient
        self.bias_learning_rate_ratio = bias_learning_rate_ratio

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        dtype = variable.dtype
        direction = tf.cast(gradient, dtype)
        learning_rate = tf.cast(learning_rate, dtype)
        if len(variable.shape) == 1:
            learning_rate *= self.bias_learning_rate_ratio
        else:
            weight = tf.convert_to_tensor(variable)
            if self._use_weight_decay(variable):  # not if excluded from decay
                direction += self.weight_decay * weight
            direction *= trust_ratio(weight, direction, self.trust_coefficient)

        momentum = self.momentums[self._get_variable_index(variable)]
        # One kernel for m = momentum * m + d and w = w - learning_rate * m.
        tf.raw_ops.ResourceApplyMomentum(
            var=handle_of(variable),
            accum=handle_of(momentum),
            lr=learning_rate,
            grad=direction,
            momentum=tf.cast(self.momentum, dtype),
        )

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Does nothing: Keras decays before the step, LARS inside the adapted direction."""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "bias_learning_rate_ratio": self.bias_learning_rate_ratio,
        }


def handle_of(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    """The resource handle of a variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


def trust_ratio(weight: tf.Tensor, direction: tf.Tensor, trust_coefficient: float) -> tf.Tensor:
    """Scales the step of a layer to the size of its weights.

        trust_coefficient * |weight| / |direction|,  1 if either norm is 0

    Args:
        weight: Float tensor.
        direction: Float tensor of the same shape.
        trust_coefficient: Above 0.

    Returns:
        Scalar tensor.

    Example:
        >>> float(trust_ratio(tf.constant([3.0, 4.0]), tf.constant([0.0, 2.0]), 0.5))
        1.25
    """
    # `l2_loss` computes half the sum of squares in one pass, without a tensor of squares.
    weight_norm, direction_norm = (tf.sqrt(2 * tf.nn.l2_loss(x)) for x in (weight, direction))
    ratio = trust_coefficient * tf.math.divide_no_nan(weight_norm, direction_norm)
    return tf.where((weight_norm > 0) & (direction_norm > 0), ratio, tf.ones_like(ratio))


def warmup_cosine(
    peak_rate: float, warmup_steps: int, total_steps: int
) -> keras.optimizers.schedules.CosineDecay:
    """Learning rate with a linear warm-up from 0 and a cosine decay to a thousandth of its peak.

        step < warmup_steps:  peak_rate * step / warmup_steps
        later:                peak_rate * (q + 0.001 (1 - q)),
                              q = (1 + cos(pi (step - warmup) / (total - warmup))) / 2

    Args:
        peak_rate: Learning rate after the warm-up.
        warmup_steps: At least 0.
        total_steps: Above `warmup_steps`, which are included.

    Returns:
        A `WarmupCosine` if there is a warm-up.

    Raises:
        ValueError: If no step remains for the cosine.

    Example:
        >>> schedule = warmup_cosine(0.2, warmup_steps=10, total_steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 100)]
        [0.0, 0.1, 0.2, 0.0002]

    Source: facebookresearch/barlowtwins main.py@8e8d284, adjust_learning_rate.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"warmup_steps must lie in [0, total_steps), got {warmup_steps} of {total_steps}."
        )
    decay_steps = total_steps - warmup_steps
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak_rate, decay_steps, alpha=1e-3)
    return WarmupCosine(
        0.0, decay_steps, alpha=1e-3, warmup_target=peak_rate, warmup_steps=warmup_steps
    )


@keras.saving.register_keras_serializable(package="keras_bt")
class WarmupCosine(keras.optimizers.schedules.CosineDecay):
    """Keras's `CosineDecay` with a warm-up from 0, in few operations and without a branch.

    Keras's optimizers compute the rate once for each weight that they decay. For a ResNet-18, 64
    branches took a fifth of the time until the end of the first step.

    Example:
        >>> float(WarmupCosine(0.0, decay_steps=8, warmup_target=1.0, warmup_steps=2)(1))
        0.5
    """

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rise = self.warmup_target / self.warmup_steps * step
        angle = math.pi / self.decay_steps * tf.minimum(step - self.warmup_steps, self.decay_steps)
        last = self.alpha * self.warmup_target
        fall = last + (self.warmup_target - last) / 2 * (1.0 + tf.cos(angle))
        return tf.where(step < self.warmup_steps, rise, fall)


def warmup_cosine_share(progress: float, warmup_share: float) -> float:
    """The rate of `warmup_cosine` over its peak, by the share of the training that is over.

    Args:
        progress: In [0, 1].
        warmup_share: Share of the training in which the rate rises, in [0, 1).

    Example:
        >>> [round(warmup_cosine_share(progress, 0.1), 4) for progress in (0, 0.05, 0.1, 1)]
        [0.0, 0.5, 1.0, 0.001]
    """
    if progress < warmup_share:
        return progress / warmup_share
    cosine = math.cos(math.pi * (progress - warmup_share) / (1.0 - warmup_share))
    return 1e-3 + (1.0 - 1e-3) * (1.0 + cosine) / 2


def steps_made(optimizer: keras.Optimizer) -> int:
    """Number of steps that an optimizer has made, on any number of replicas.

    Example:
        >>> steps_made(keras.optimizers.SGD())
        0
    """
    # Keras's own `int(optimizer.iterations)` fails if replicas have copies of the variable.
    return int(tf.convert_to_tensor(optimizer.iterations.value))


def current_rate(optimizer: keras.Optimizer) -> float:
    """The learning rate of an optimizer, constant or scheduled, on any number of replicas.

    Example:
        >>> current_rate(keras.optimizers.SGD(0.5))
        0.5
    """
    rate = optimizer.learning_rate
    # As in `steps_made`: `float(rate)` fails if replicas have copies of the variable.
    return float(tf.convert_to_tensor(rate.value if isinstance(rate, keras.Variable) else rate))

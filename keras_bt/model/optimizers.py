"""LARS and its schedule, as the official code has them; gradients of several replicas."""

import math

import keras
import tensorflow as tf

from keras_bt._support import compat
from keras_bt.distribution.collectives import current_replicas


@keras.saving.register_keras_serializable(package="keras_bt")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling, blind to the scale of the loss.

    Update rule of a weight w (two or more axes) with gradient g:

        d = g + weight_decay * w
        d = d * trust_coefficient * |w| / |d|           where neither norm is 0
        m = momentum * m + d
        w = w - learning_rate * m

    and of a bias, gamma or beta b (one axis), neither decayed nor adapted:

        m = momentum * m + g
        b = b - bias_learning_rate_ratio * learning_rate * m

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`.
            The published run uses 0.2 * global batch / 256.
        momentum: Float in [0, 1).
        weight_decay: Float, at least 0.
        trust_coefficient: Float, above 0.
        bias_learning_rate_ratio: Float, above 0. The published run's 0.0048 / 0.2. For
            another embedding width 196 / dim, since only these variables see the
            scale of the loss.
        name: Name of the optimizer.
        **kwargs: `keras.optimizers.Optimizer`'s clipping, averaging and accumulation.

    Example:
        >>> weight = keras.Variable([[3.0, 4.0]])
        >>> LARS(1.0, weight_decay=0.0).apply([tf.constant([[0.0, 2.0]])], [weight])
        >>> weight.numpy()
        array([[3.   , 3.995]], dtype=float32)

    Source: facebookresearch/barlowtwins main.py@8e8d284, class LARS. The published bias
        rate belongs to a gradient divided by the number of GPUs.
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        weight_decay=1e-6,
        trust_coefficient=1e-3,
        bias_learning_rate_ratio=0.024,
        name="lars",
        **kwargs,
    ):
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

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        direction = tf.cast(gradient, dtype)
        learning_rate = tf.cast(learning_rate, dtype)
        if len(variable.shape) == 1:
            learning_rate *= self.bias_learning_rate_ratio
        else:
            weight = tf.convert_to_tensor(variable)
            if self._use_weight_decay(variable):  # unless `exclude_from_weight_decay` names it
                direction += self.weight_decay * weight
            direction *= trust_ratio(weight, direction, self.trust_coefficient)

        momentum = self.momentums[self._get_variable_index(variable)]
        # In one kernel: m = momentum * m + d, then w = w - learning_rate * m.
        tf.raw_ops.ResourceApplyMomentum(
            var=_handle(variable),
            accum=_handle(momentum),
            lr=learning_rate,
            grad=direction,
            momentum=tf.cast(self.momentum, dtype),
        )

    def _apply_weight_decay(self, variables):
        # Keras would decay before the step; here decay is inside the adapted direction.
        pass

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "bias_learning_rate_ratio": self.bias_learning_rate_ratio,
        }


def _handle(variable):
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


def trust_ratio(weight, direction, trust_coefficient):
    """How far a layer may move, in proportion to its own size.

        trust_coefficient * |weight| / |direction|,  1 where either norm is 0

    Args:
        weight: Float tensor.
        direction: Float tensor of the same shape.
        trust_coefficient: Float.

    Returns:
        Scalar tensor.

    Example:
        >>> float(trust_ratio(tf.constant([3.0, 4.0]), tf.constant([0.0, 2.0]), 0.5))
        1.25
    """
    # `l2_loss` is half a sum of squares, in one pass and without the tensor of squares.
    weight_norm, direction_norm = (tf.sqrt(2 * tf.nn.l2_loss(x)) for x in (weight, direction))
    ratio = trust_coefficient * tf.math.divide_no_nan(weight_norm, direction_norm)
    return tf.where((weight_norm > 0) & (direction_norm > 0), ratio, tf.ones_like(ratio))


def warmup_cosine(peak_rate, warmup_steps, total_steps):
    """Learning rate rising in a line from 0, then falling as a cosine to a thousandth.

        step < warmup_steps:  peak_rate * step / warmup_steps
        afterwards:           peak_rate * (q + 0.001 (1 - q)),
                              q = (1 + cos(pi (step - warmup) / (total - warmup))) / 2

    Args:
        peak_rate: Float.
        warmup_steps: Int, at least 0.
        total_steps: Int, above `warmup_steps`.

    Returns:
        `keras.optimizers.schedules.CosineDecay`, or `WarmupCosine`, which is one.

    Raises:
        ValueError: If the warm-up leaves no step for the cosine.

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

    Keras's AdamW computes the rate anew for each weight that it decays: 64 branches for a
    ResNet-18, which took a fifth of the time until the first step was done.

    Example:
        >>> float(WarmupCosine(0.0, decay_steps=8, warmup_target=1.0, warmup_steps=2)(1))
        0.5
    """

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        rise = self.warmup_target / self.warmup_steps * step
        angle = math.pi / self.decay_steps * tf.minimum(step - self.warmup_steps, self.decay_steps)
        last = self.alpha * self.warmup_target
        fall = last + (self.warmup_target - last) / 2 * (1.0 + tf.cos(angle))
        return tf.where(step < self.warmup_steps, rise, fall)


def gradients_to_apply(gradients, optimizer):
    """What a replica hands to a Keras optimizer, so that all step by the global gradient.

        global gradient = sum of `gradients` over replicas

    Keras sums what its optimizers are handed, but only after it has clipped it and looked for
    infinities, by replica. Where either happens it gets an equal share of the global
    gradient instead, clipped: replicas then clip and skip as one device would.

    Args:
        gradients: List of tensors or None, scaled by `optimizer.scale_loss`. On each
            replica those of its own images.
        optimizer: Built `keras.optimizers.Optimizer`.

    Returns:
        List like `gradients`.

    Example:
        >>> gradients_to_apply([1.0, None], LARS(0.1))
        [1.0, None]

    Source: keras 3.15, optimizers/loss_scale_optimizer.py: its comment assumes gradients
        that were summed before.
    """
    replicas = current_replicas()
    scaling = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    clipping = optimizer.inner_optimizer if scaling else optimizer
    clips = bool(clipping.clipnorm or clipping.global_clipnorm or clipping.clipvalue)
    if replicas.count == 1 or not (scaling or clips):
        return gradients
    there = [gradient for gradient in gradients if gradient is not None]
    there = replicas.sum(there)
    if clips:
        scale = tf.convert_to_tensor(optimizer.dynamic_scale) if scaling else 1.0
        # Keras clips the shares once more: smaller than what is clipped here, they pass.
        clipped = compat.clip_gradients(clipping, [gradient / scale for gradient in there])
        # An infinity clipped by value would look finite, and the step would not be skipped.
        there = [
            tf.where(tf.math.is_finite(gradient), small * scale, gradient)
            for gradient, small in zip(there, clipped, strict=True)
        ]
    shares = iter([gradient / replicas.count for gradient in there])
    return [None if gradient is None else next(shares) for gradient in gradients]


def steps_made(optimizer):
    """How many steps an optimizer has made, on one replica or on many.

    Args:
        optimizer: Keras optimizer.

    Returns:
        Int.

    Example:
        >>> steps_made(keras.optimizers.SGD())
        0
    """
    # Keras's own `int(optimizer.iterations)` fails for a variable that replicas have copies of.
    return int(tf.convert_to_tensor(optimizer.iterations.value))

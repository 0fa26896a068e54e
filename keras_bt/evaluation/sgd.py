"""SGD of the official evaluation: its update, its learning rate and its linear classifier."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bt.layers.augment import augment


def linear_head(features: int, classes: int, seed: int) -> keras.layers.Dense:
    """Creates the classifier: weights from N(0, 0.01), biases 0.

    Args:
        features: Width of the input.
        classes: Width of the output.
        seed: Of the weights.

    Returns:
        Built layer, float32 [batch, features] to logits [batch, classes].

    Example:
        >>> linear_head(4, classes=3, seed=0)(tf.zeros([2, 4])).shape
        TensorShape([2, 3])

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `model.fc`.
    """
    weights = keras.initializers.RandomNormal(stddev=0.01, seed=seed)
    head = keras.layers.Dense(classes, kernel_initializer=weights, dtype="float32", name="head")
    head.build((None, features))
    return head


def compile_step(
    compute_logits: Callable[[tf.Tensor], tf.Tensor],
    view: Callable[[tf.Tensor], tf.Tensor],
    learning_rates: list[tuple[keras.Variable, float]],
    momentum: float,
    weight_decay: float,
) -> Callable[..., tf.Tensor]:
    """Compiles one step of SGD on the cross-entropy.

    Args:
        compute_logits: Maps a batch of views to logits [batch, classes].
        view: Maps a batch of images to views of them.
        learning_rates: The variables to train, each with its learning rate.
        momentum: In [0, 1).
        weight_decay: At least 0.

    Returns:
        Function of images, int labels [batch], a factor of all learning rates and the true sizes
        of squashed images, or None. It returns the loss before the step.

    Example:
        >>> bias = keras.Variable([0.0, 0.0])
        >>> step = compile_step(lambda x: x + bias, lambda x: x, [(bias, 1.0)], 0.9, 0.0)
        >>> loss = step(tf.zeros([1, 2]), tf.constant([1]), tf.constant(1.0))
        >>> bias.numpy()
        array([-0.5,  0.5], dtype=float32)
    """
    velocities = [tf.Variable(tf.zeros_like(variable.value)) for variable, _ in learning_rates]

    @tf.function
    def step(
        images: tf.Tensor, labels: tf.Tensor, decay: tf.Tensor, sizes: tf.Tensor | None = None
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = compute_logits(augment(view, images, sizes))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        # The loss does not depend on some variables of a whole model, such as its projector.
        gradients = tape.gradient(
            loss,
            [variable.value for variable, _ in learning_rates],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        for (variable, rate), velocity, gradient in zip(
            learning_rates, velocities, gradients, strict=True
        ):
            sgd_update(variable, velocity, gradient, decay * rate, momentum, weight_decay)
        return loss

    return step


def sgd_update(
    variable: keras.Variable,
    velocity: tf.Variable,
    gradient: tf.Tensor,
    learning_rate: float | tf.Tensor,
    momentum: float,
    weight_decay: float,
) -> None:
    """Applies one update of PyTorch's SGD, which keeps the learning rate outside the momentum.

        m = momentum * m + gradient + weight_decay * w
        w = w - learning_rate * m

    Args:
        variable: w. Biases are decayed too.
        velocity: m, of the same shape; 0 before the first update.
        gradient: Float tensor of the same shape.
        learning_rate: Scalar.
        momentum: In [0, 1).
        weight_decay: At least 0.

    Example:
        >>> weight, velocity = keras.Variable(1.0), tf.Variable(0.0)
        >>> for learning_rate in (0.5, 1.0):
        ...     sgd_update(weight, velocity, tf.constant(1.0), learning_rate, 0.9, 0.0)
        >>> weight.numpy(), velocity.numpy()
        (np.float32(-1.4), np.float32(1.9))

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `optim.SGD`.
    """
    direction = gradient + weight_decay * variable.value
    velocity.assign(momentum * velocity + direction)
    variable.assign_sub(learning_rate * velocity)


def cosine_decay(epoch: int, epochs: int) -> float:
    """Returns the factor of the learning rate in an epoch, from 1 in the first towards 0.

        (1 + cos(pi * epoch / epochs)) / 2

    Args:
        epoch: Counted from 0.
        epochs: Number of epochs.

    Returns:
        Factor in (0, 1].

    Example:
        >>> [round(cosine_decay(epoch, 4), 3) for epoch in range(4)]
        [1.0, 0.854, 0.5, 0.146]

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `CosineAnnealingLR`.
    """
    return (1 + math.cos(math.pi * epoch / epochs)) / 2

"""`AdamW`: Keras's, with one kernel for each weight."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_bt.model.optimizers import handle_of


@keras.saving.register_keras_serializable(package="keras_bt")
class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` in fewer operations, with the same weights.

        m = m + (1 - beta_1) (g - m)
        v = v + (1 - beta_2) (g^2 - v)
        w = (1 - learning_rate weight_decay) w
            - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)

    Keras's own update is a dozen operations for each weight, and a ResNet-18 has 64 weights. On few
    cores, tracing them delays the first step by seconds, and running them slows small networks.

    See `keras.optimizers.AdamW` for the arguments.

    Example:
        >>> weight = keras.Variable([1.0, -2.0])
        >>> AdamW(0.1, weight_decay=0.5).apply([tf.constant([3.0, 0.001])], [weight])
        >>> weight.numpy()
        array([ 0.85..., -1.99...], dtype=float32)

    Source: Keras 3.15, src/optimizers/adamw.py.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        learning_rate = tf.cast(learning_rate, variable.dtype)
        if self._use_weight_decay(variable):  # not if excluded from decay
            decay = tf.cast(self.weight_decay, variable.dtype) * learning_rate
            variable.assign_sub(decay * tf.convert_to_tensor(variable))
        if self.amsgrad:  # has no kernel
            super().update_step(gradient, variable, learning_rate)
            return
        index, step = (
            self._get_variable_index(variable),
            tf.cast(self.iterations + 1, variable.dtype),
        )
        tf.raw_ops.ResourceApplyAdam(
            var=handle_of(variable),
            m=handle_of(self._momentums[index]),
            v=handle_of(self._velocities[index]),
            beta1_power=tf.constant(self.beta_1, variable.dtype) ** step,
            beta2_power=tf.constant(self.beta_2, variable.dtype) ** step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Does nothing: `update_step` decays, with the learning rate that it has anyway."""

"""Batch normalization over all replicas, for any Keras model."""

import keras
import tensorflow as tf

from keras_bt._support.compat import compiled_by_xla, flatten_layers
from keras_bt.distribution.collectives import current_replicas

FUSED_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable(package="keras_bt")
class SyncBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` in fused kernels, over the global batch.

        mean = sum(x) / count        variance = sum((x - mean)^2) / count

    over batch and space, on all replicas. Arguments, weights and results are those of
    `keras.layers.BatchNormalization`, which goes over its input several times as often.

    Example:
        >>> layer = SyncBatchNormalization(momentum=0.9)
        >>> layer(tf.constant([[1.0], [3.0]]), training=True).numpy().round(2)
        array([[-1.],
               [ 1.]], dtype=float32)

    Differs from Keras's `synchronized=True`: the variance is taken in a second pass, for the
        mean of squares less the square of the mean loses its digits; three sums across
        replicas in place of six; and a step is traced in a fraction of the time, since each
        of TensorFlow's own differentiable sums walks through the graphs of all replicas.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._fuses(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        x = tf.convert_to_tensor(inputs)
        images = x if x.shape.rank == 4 else tf.reshape(x, [-1, 1, 1, *self.moving_mean.shape])
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(self.moving_mean)
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(self.moving_mean)
        if training and self.trainable:
            y, mean, variance = batch_normalize(
                images, gamma, beta, epsilon=self.epsilon, replicas=current_replicas()
            )
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self.momentum * moving + (1.0 - self.momentum) * batch)
        else:
            mean, variance = map(tf.convert_to_tensor, (self.moving_mean, self.moving_variance))
            y, *_ = _fused(images, gamma, beta, mean, variance, self.epsilon, training=False)
        return y if images is x else tf.ensure_shape(tf.reshape(y, tf.shape(x)), x.shape)

    def _fuses(self, inputs, mask):
        # XLA fuses by itself, and would take the mean of squares less the square of the mean.
        return (
            mask is None
            and not self.renorm
            and self.axis in (-1, len(inputs.shape) - 1)
            and keras.backend.standardize_dtype(inputs.dtype) in FUSED_DTYPES
            and inputs.dtype == self.compute_dtype
            and self.variable_dtype == "float32"
            and not compiled_by_xla()
        )

    def _moments(self, inputs, mask):
        replicas = current_replicas()
        if replicas.count == 1:
            return super()._moments(inputs, mask)
        if mask is not None:
            raise ValueError(f"{self.name} takes no mask on several replicas.")
        return global_moments(inputs, self._reduction_axes, replicas)


def batch_normalize(x, gamma, beta, *, epsilon, replicas):
    """Batch normalization of images by the moments of all replicas, in fused kernels.

        y = gamma x_hat + beta        x_hat = (x - mean) / sqrt(variance + epsilon)

    with moments over batch, height and width. Its gradient is

        d gamma = sum(dy x_hat)        d beta = sum(dy)
        d x = gamma / sqrt(variance + epsilon) (dy - (d beta + x_hat d gamma) / count)

    where d x takes both sums over all replicas.

    Args:
        x: Tensor [batch, height, width, channels], of 16 or 32 bit floats. On each replica
            its own images.
        gamma: Float32 tensor [channels].
        beta: Float32 tensor [channels].
        epsilon: Float.
        replicas: `Replicas` that hold the images.

    Returns:
        y, like `x`; mean and (biased) variance, float32 [channels], without gradient.

    Example:
        >>> from keras_bt.functional.correlation import ONE_REPLICA
        >>> x, gamma, beta = tf.constant([[[[1.0]]], [[[3.0]]]]), tf.ones([1]), tf.zeros([1])
        >>> y, mean, variance = batch_normalize(x, gamma, beta, epsilon=0, replicas=ONE_REPLICA)
        >>> y.numpy().ravel(), mean.numpy(), variance.numpy()
        (array([-1.,  1.], dtype=float32), array([2.], dtype=float32), array([1.], dtype=float32))

    Source: arXiv 1502.03167, algorithm 1.
    """
    count = tf.cast(tf.size(x, tf.int64) // gamma.shape[0], tf.float32)
    if replicas.count == 1:
        y, mean, variance = _fused(x, gamma, beta, None, None, epsilon, training=True)
        return y, mean, variance * (1.0 - 1.0 / count)  # the kernel divides by count - 1

    @replicas.custom_gradient
    def normalized(x, gamma, beta):
        mean, variance = global_moments(tf.cast(x, tf.float32), [0, 1, 2], replicas)
        y, *_ = _fused(x, gamma, beta, mean, variance, epsilon, training=False)

        def gradient(of_y, _of_mean, _of_variance):
            own = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=of_y,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
                is_training=False,
            )
            images, of_gamma, of_beta = replicas.sum(
                [count, own.scale_backprop, own.offset_backprop]
            )
            inverse_deviation = tf.math.rsqrt(variance + epsilon)
            x_hat = (tf.cast(x, tf.float32) - mean) * inverse_deviation
            through_moments = gamma * inverse_deviation / images * (of_beta + x_hat * of_gamma)
            of_x = tf.cast(own.x_backprop, tf.float32) - through_moments
            return tf.cast(of_x, x.dtype), own.scale_backprop, own.offset_backprop

        return (y, mean, variance), gradient

    return normalized(x, gamma, beta)


def _fused(x, gamma, beta, mean, variance, epsilon, training):
    return tf.compat.v1.nn.fused_batch_norm(
        x, gamma, beta, mean, variance, epsilon, is_training=training
    )


def global_moments(x, axes, replicas):
    """Mean and variance of what several replicas hold, and their gradient.

        d / dx = (sum of d / dmean + 2 (x - mean) sum of d / dvariance) / count

    with sums over replicas.

    Args:
        x: Float tensor. On each replica its own part.
        axes: Ints. The axes to reduce.
        replicas: `Replicas` that hold the parts.

    Returns:
        Two tensors: mean and (biased) variance, the same on every replica.

    Example:
        >>> from keras_bt.functional.correlation import ONE_REPLICA
        >>> mean, variance = global_moments(tf.constant([[1.0], [3.0]]), [0], ONE_REPLICA)
        >>> mean.numpy(), variance.numpy()
        (array([2.], dtype=float32), array([1.], dtype=float32))
    """
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]

    @replicas.custom_gradient
    def moments(x):
        values = tf.reduce_prod(tf.gather(tf.shape(x), axes))
        total = tf.reduce_sum(x, axes)
        count, total = replicas.sum([tf.cast(values, x.dtype), total])
        mean = total / count
        centered = x - tf.reshape(mean, kept)
        variance = replicas.sum(tf.reduce_sum(tf.square(centered), axes)) / count

        def gradient(of_mean, of_variance):
            of_mean, of_variance = replicas.sum([of_mean / count, 2.0 * of_variance / count])
            return tf.reshape(of_mean, kept) + centered * tf.reshape(of_variance, kept)

        return (mean, variance), gradient

    return moments(x)


@keras.saving.register_keras_serializable(package="keras_bt")
class BatchNormalization(SyncBatchNormalization):
    """A layer that `sync_batch_norm` has converted.

    Of Keras's name: in .keras files weights are under the names of their layers' classes, and a
    backbone of keras-hub, which builds itself anew from its own config, looks for Keras's.
    """


def sync_batch_norm(model):
    """Makes every `BatchNormalization` of a model take its statistics over all replicas.

    In place: weights, names and settings stay. To be called before the model is trained. On
    a single replica nothing changes. Backbones of keras-hub and keras-cv, which build themselves
    anew when they are loaded, then come back with Keras's own: call it again.

    Args:
        model: Any Keras model or layer, nested ones and `BarlowTwins` included.

    Returns:
        The same model.

    Example:
        >>> layer = keras.layers.BatchNormalization()
        >>> isinstance(sync_batch_norm(keras.Sequential([layer])).layers[0], SyncBatchNormalization)
        True
    """
    for layer in flatten_layers(model):
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = BatchNormalization
            layer.synchronized = False
        elif isinstance(layer, keras.layers.BatchNormalization) and not is_synchronised(layer):
            layer.synchronized = True  # somebody's own kind of it
    return model


def is_synchronised(layer):
    """Whether a batch norm takes its statistics over all replicas.

    Args:
        layer: `keras.layers.BatchNormalization`.

    Returns:
        Bool.

    Example:
        >>> is_synchronised(keras.layers.BatchNormalization())
        False
    """
    return layer.synchronized or isinstance(layer, SyncBatchNormalization)

"""A training step of keras_bt on a fixed pair of views."""

import keras
import tensorflow as tf
from images import smooth_images

import keras_bt

SIZE = 32


def prepare(width, batch, dims, jit_compile=False, whole=True, precision="float32", **options):
    """Returns a function that runs training steps.

    With `whole` it runs the step of `fit`, otherwise forward and backward of encoder and projector
    alone. `options` are arguments of `BarlowTwins`.
    """
    keras.config.set_dtype_policy(precision)
    encoder = keras_bt.resnet18((SIZE, SIZE, 3), width=width, stem="small")
    projector = keras_bt.projector(encoder.output_shape[-1], dims)
    model = keras_bt.BarlowTwins(encoder, projector, views=None, **options)
    images = tf.constant(smooth_images(2 * batch, SIZE) / 255.0, tf.float32)
    pair = tf.data.Dataset.from_tensors(tuple(tf.split(images, 2))).repeat()
    if not whole:
        return networks_alone(model, next(iter(pair)), jit_compile)
    model.compile(keras_bt.LARS(0.2), hold_nonfinite=True, jit_compile=jit_compile)
    batches = iter(pair)

    def run(steps):
        if model.train_function is None:
            model.fit(pair, steps_per_epoch=1, verbose=0)  # creates it
        for _ in range(steps):
            float(model.train_function(batches)["loss"])

    return run


def networks_alone(model, pair, jit_compile):
    """Returns a function that runs forward and backward without loss and optimizer."""

    @tf.function(jit_compile=jit_compile)
    def step(view_a, view_b):
        with tf.GradientTape() as tape:
            embeddings = [
                model.projector(model.encoder(view, training=True), training=True)
                for view in (view_a, view_b)
            ]
            # The gradient of a plain sum is constant, which TensorFlow could simplify.
            value = tf.add_n([tf.reduce_sum(z * weights) for z in embeddings])
        return value, tape.gradient(value, model.trainable_variables)

    weights = tf.random.stateless_normal(model.projector.output_shape[1:], [0, 0])

    def run(steps):
        for _ in range(steps):
            float(step(*pair)[0])

    return run

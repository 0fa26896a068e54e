"""The loss of keras_bt and its gradient."""

import tensorflow as tf

import keras_bt


def prepare(batch, dim, form="auto", jit_compile=False):
    """Returns a function that runs forward and backward for fixed embeddings."""
    loss = keras_bt.BarlowTwinsLoss(form=form)
    z_a, z_b = (tf.random.stateless_normal([batch, dim], [0, view]) for view in (0, 1))

    @tf.function(jit_compile=jit_compile)
    def step(z_a, z_b):
        with tf.GradientTape() as tape:
            tape.watch([z_a, z_b])
            value = loss(z_a, z_b)
        return value, tape.gradient(value, [z_a, z_b])

    def run(steps):
        for _ in range(steps):
            float(step(z_a, z_b)[0])

    return run

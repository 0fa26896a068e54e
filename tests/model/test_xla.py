"""XLA, and so a TPU, can compile the whole train step with its views: kernels and static shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import keras_bt

NOT_COMPILED = {"NoOp", "Placeholder"}


def model_for(optimizer, jit_compile=True):
    encoder = keras_bt.resnet18((16, 16, 3), width=2, stem="small")
    projector, views = keras_bt.projector(16, (12, 8)), keras_bt.paper_views(16, seed=0)
    model = keras_bt.BarlowTwins(encoder, projector, views)
    loss = keras_bt.BarlowTwinsLoss()
    model.compile(optimizer, loss, hold_nonfinite=True, jit_compile=jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def operations(function):
    """All operations of a traced function and of the functions that it calls."""
    graph = function.graph.as_graph_def()
    yield from graph.node
    for called in graph.library.function:
        yield from called.node_def


@pytest.fixture(params=["lars", "adamw"])
def optimizer(request):
    if request.param == "lars":
        schedule = keras_bt.model.optimizers.warmup_cosine(0.2, 2, 10)
        return keras_bt.LARS(schedule, global_clipnorm=1.0)
    return keras.optimizers.AdamW(1e-3)


@pytest.mark.slow
def test_xla_has_a_kernel_for_every_operation_of_the_step(optimizer):
    model = model_for(optimizer)
    step = tf.function(model.train_step, jit_compile=True)
    traced = step.get_concrete_function(tf.TensorSpec([8, 24, 24, 3], tf.uint8))
    names = {node.op for node in operations(traced)} - NOT_COMPILED
    assert {"Conv2D", "StatelessRandomUniformFullIntV2"} <= names, (
        "operations of called functions are missing"
    )
    without = {
        name
        for name in names
        if "XLA_CPU_JIT"
        not in {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(name).kernel}
    }
    assert not without


@pytest.mark.slow
def test_all_shapes_in_the_step_are_static(optimizer):
    model = model_for(optimizer)
    step = tf.function(model.train_step, jit_compile=True)
    traced = step.get_concrete_function(tf.TensorSpec([8, 24, 24, 3], tf.uint8))
    unknown = {
        operation.type: operation.name
        for operation in traced.graph.get_operations()
        for output in operation.outputs
        if not output.shape.is_fully_defined()
    }
    assert not unknown


@pytest.mark.slow
def test_compiled_step_trains_like_the_graph(rng):
    images = rng.integers(0, 255, (16, 24, 24, 3), "uint8")
    histories = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = model_for(keras.optimizers.SGD(1e-3), jit_compile)
        assert model.jit_compile is jit_compile
        histories.append(model.fit(images, batch_size=8, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-3)

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.evaluation import sgd


def cross_entropy_gradients(x, labels, encoder, head, bias):
    """Gradients for the logits (x @ encoder) @ head + bias, by the chain rule in float64."""
    features = x @ encoder
    logits = features @ head + bias
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    error = (probabilities - np.eye(head.shape[1])[labels]) / len(x)
    return x.T @ error @ head.T, features.T @ error, error.sum(axis=0)


@pytest.mark.slow
def test_step_matches_pytorch_sgd_with_two_learning_rates(rng):
    """Three steps with a changing factor, momentum and weight decay, for weights and bias."""
    x, labels = rng.normal(size=(6, 5)), np.arange(6) % 3
    weights = [rng.normal(size=shape) for shape in ((5, 4), (4, 3), (3,))]
    rates, momentum, weight_decay = (0.02, 0.5, 0.5), 0.7, 0.1
    variables = [keras.Variable(weight, dtype="float32") for weight in weights]
    encoder, head, bias = variables
    step = sgd.compile_step(
        lambda images: images @ encoder.value @ head.value + bias.value,
        lambda images: images,
        list(zip(variables, rates, strict=True)),
        momentum,
        weight_decay,
    )
    buffers = [np.zeros_like(weight) for weight in weights]
    for decay in (1.0, 0.5, 0.1):
        step(tf.constant(x, tf.float32), tf.constant(labels), tf.constant(decay))
        gradients = cross_entropy_gradients(x, labels, *weights)
        for weight, buffer, gradient, rate in zip(weights, buffers, gradients, rates, strict=True):
            buffer[:] = momentum * buffer + gradient + weight_decay * weight
            weight -= decay * rate * buffer
        for variable, weight in zip(variables, weights, strict=True):
            np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)


def test_cosine_decay_matches_pytorch():
    """torch.optim.lr_scheduler.CosineAnnealingLR computes a rate from the rate before."""
    epochs, rate = 20, 1.0
    for epoch in range(epochs):
        assert sgd.cosine_decay(epoch, epochs) == pytest.approx(rate)
        rate *= (1 + np.cos(np.pi * (epoch + 1) / epochs)) / (1 + np.cos(np.pi * epoch / epochs))
    assert rate == pytest.approx(0.0)


def test_head_has_published_initial_weights():
    weights, bias = sgd.linear_head(100, classes=90, seed=0).get_weights()
    assert weights.mean() == pytest.approx(0, abs=5e-4)
    assert weights.std() == pytest.approx(0.01, rel=0.03)
    assert not bias.any()
    other = sgd.linear_head(100, classes=90, seed=1).get_weights()[0]
    assert not np.allclose(weights, other)

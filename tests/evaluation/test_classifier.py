import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.evaluation import classifier


def cross_entropy_gradients(x, labels, encoder, head, bias):
    """Of logits (x @ encoder) @ head + bias, by the chain rule in float64."""
    features = x @ encoder
    logits = features @ head + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    error = (shares - np.eye(head.shape[1])[labels]) / len(x)
    return x.T @ error @ head.T, features.T @ error, error.sum(axis=0)


def test_steps_are_torchs_sgd_with_a_learning_rate_for_each_part(rng):
    """Three steps at changing rates, with momentum and decay, weights and bias alike."""
    x, labels = rng.normal(size=(6, 5)), np.arange(6) % 3
    weights = [rng.normal(size=shape) for shape in ((5, 4), (4, 3), (3,))]
    rates, weight_decay = (0.02, 0.5, 0.5), 0.1
    variables = [keras.Variable(weight, dtype="float32") for weight in weights]
    encoder, head, bias = variables
    step = classifier.compile_step(
        lambda images: images @ encoder.value @ head.value + bias.value,
        lambda images: images,
        list(zip(variables, rates, strict=True)),
        weight_decay,
    )
    buffers = [np.zeros_like(weight) for weight in weights]
    for decay in (1.0, 0.5, 0.1):
        step(tf.constant(x, tf.float32), tf.constant(labels), tf.constant(decay))
        gradients = cross_entropy_gradients(x, labels, *weights)
        for weight, buffer, gradient, rate in zip(weights, buffers, gradients, rates, strict=True):
            buffer[:] = 0.9 * buffer + gradient + weight_decay * weight
            weight -= decay * rate * buffer
        for variable, weight in zip(variables, weights, strict=True):
            np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)


def test_the_cosine_is_that_of_the_epoch():
    """torch.optim.lr_scheduler.CosineAnnealingLR's recursion, from the rate before."""
    epochs, rate = 20, 1.0
    for epoch in range(epochs):
        assert classifier.cosine_decay(epoch, epochs) == pytest.approx(rate)
        rate *= (1 + np.cos(np.pi * (epoch + 1) / epochs)) / (1 + np.cos(np.pi * epoch / epochs))
    assert rate == pytest.approx(0.0)


def test_the_head_starts_as_published():
    weights, bias = classifier.linear_head(100, classes=90, seed=0).get_weights()
    assert weights.mean() == pytest.approx(0, abs=5e-4)
    assert weights.std() == pytest.approx(0.01, rel=0.03)
    assert not bias.any()
    other = classifier.linear_head(100, classes=90, seed=1).get_weights()[0]
    assert not np.allclose(weights, other)


def test_top_accuracies_against_sorting(rng):
    logits, labels = rng.normal(size=(50, 8)), rng.integers(0, 8, 50)
    best = np.argsort(-logits, axis=1)
    found = classifier.top_accuracies(tf.constant(logits), labels)
    assert found["top1"] == np.mean(best[:, 0] == labels)
    assert found["top5"] == np.mean([labels[i] in best[i, :5] for i in range(50)])
    assert classifier.top_accuracies(tf.constant(logits[:, :3]), labels % 3)["top5"] == 1.0

"""A linear classifier on an encoder, trained by SGD as the official evaluation trains it."""

import math

import keras
import tensorflow as tf

from keras_bt._support.progress_bar import progress_bar
from keras_bt.evaluation.features import compile_encoder, extract_compiled

MOMENTUM = 0.9
TOP = 5


def train_classifier(
    encoder,
    train,
    test,
    *,
    view,
    classes,
    image_size,
    load_size,
    epochs,
    batch_size,
    encoder_learning_rate,
    head_learning_rate,
    weight_decay,
    seed,
):
    """Trains a linear head, and the encoder with it or not; accuracies after the last epoch.

    Training images are augmented by `view`, test images left as they are. Learning rates fall
    by `cosine_decay` of the epoch; the rule is `sgd`.

    Args:
        encoder: See `extract_features`; a `keras.Model` or layer if it is to be trained.
        train: Labelled `data.Images`, labels in 0...classes-1.
        test: Labelled `data.Images`.
        view: From a batch of training images to float ones [batch, image_size, image_size, 3].
        classes: Int.
        image_size: Int. Side of the images the encoder gets, in pixels.
        load_size: Int. Side of the training images that `view` gets, in pixels.
        epochs: Int. Each leaves out its last images that fill no batch.
        batch_size: Int, cut to the number of training images.
        encoder_learning_rate: Float; None leaves the encoder in inference mode as it is.
        head_learning_rate: Float.
        weight_decay: Float.
        seed: Int. Of the head and the order of the images.

    Returns:
        {"epochs": int, "steps": int, "top1": float in [0, 1], "top5": float in [0, 1]}.

    Raises:
        ValueError: If images lack labels, a label is out of range, or the encoder does not
            return [batch, features].
        FloatingPointError: If the loss is NaN or infinite at the end of an epoch.
    """
    for images in (train, test):
        if not images.labelled:
            raise ValueError(f"{images.name} has no labels.")
    encode = compile_encoder(encoder)
    features = extract_compiled(encode, train.batches(1, image_size).take(1))[0].shape[1]
    head = linear_head(features, classes, seed)
    rates = [(variable, head_learning_rate) for variable in head.trainable_variables]
    trains_encoder = encoder_learning_rate is not None
    if trains_encoder:
        rates += [(variable, encoder_learning_rate) for variable in encoder.trainable_variables]

    def logits_of(images):
        return head(tf.cast(encoder(images, training=trains_encoder), tf.float32))

    step = compile_step(logits_of, view, rates, weight_decay)
    train_batch_size = min(batch_size, train.count)
    steps_per_epoch = train.count // train_batch_size
    batches = iter(train.shuffled_batches(train_batch_size, load_size, seed))
    with progress_bar(total=epochs * steps_per_epoch, unit="step") as bar:
        for epoch in range(epochs):
            decay = tf.constant(cosine_decay(epoch, epochs), tf.float32)
            for _ in range(steps_per_epoch):
                batch = next(batches)
                _check_range(batch["label"].numpy(), classes, train)
                loss = step(batch["image"], batch["label"], decay)
                bar.update()
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"The loss is {float(loss)} after epoch {epoch + 1} of the classifier; a lower "
                    "learning rate may help."
                )
            bar.set_postfix(loss=f"{float(loss):.4g}", refresh=False)

    representations, labels = extract_compiled(encode, test.batches(batch_size, image_size))
    _check_range(labels, classes, test)
    accuracies = top_accuracies(head(representations), labels)
    return {"epochs": epochs, "steps": epochs * steps_per_epoch, **accuracies}


def linear_head(features, classes, seed):
    """The classifier: weights from N(0, 0.01), biases 0.

    Args:
        features: Int.
        classes: Int.
        seed: Int.

    Returns:
        Built `keras.layers.Dense`, float32 [batch, features] to logits [batch, classes].

    Example:
        >>> linear_head(4, classes=3, seed=0)(tf.zeros([2, 4])).shape
        TensorShape([2, 3])

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `model.fc`.
    """
    weights = keras.initializers.RandomNormal(stddev=0.01, seed=seed)
    head = keras.layers.Dense(classes, kernel_initializer=weights, dtype="float32", name="head")
    head.build((None, features))
    return head


def compile_step(logits_of, view, rates, weight_decay):
    """One step of SGD on the cross-entropy, as a compiled function.

    Args:
        logits_of: From a batch of views to logits [batch, classes].
        view: From a batch of images to views of them.
        rates: List of pairs (Keras variable, its learning rate): what is trained.
        weight_decay: Float.

    Returns:
        Function from images, int labels [batch] and a factor of all learning rates to the
        loss before the step.

    Example:
        >>> bias = keras.Variable([0.0, 0.0])
        >>> step = compile_step(lambda x: x + bias, lambda x: x, [(bias, 1.0)], weight_decay=0.0)
        >>> loss = step(tf.zeros([1, 2]), tf.constant([1]), tf.constant(1.0))
        >>> bias.numpy()
        array([-0.5,  0.5], dtype=float32)
    """
    velocities = [tf.Variable(tf.zeros_like(variable.value)) for variable, _ in rates]

    @tf.function
    def step(images, labels, decay):
        with tf.GradientTape() as tape:
            logits = logits_of(view(images))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        # What the features do not depend on, as a projector, has a gradient of zero.
        gradients = tape.gradient(
            loss,
            [variable.value for variable, _ in rates],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        for (variable, rate), velocity, gradient in zip(rates, velocities, gradients, strict=True):
            sgd(variable, velocity, gradient, decay * rate, weight_decay)
        return loss

    return step


def sgd(variable, velocity, gradient, learning_rate, weight_decay):
    """One update of PyTorch's SGD, whose learning rate is outside the momentum.

        m = 0.9 * m + gradient + weight_decay * w
        w = w - learning_rate * m

    Args:
        variable: Keras variable w; biases are decayed too.
        velocity: `tf.Variable` m of the same shape, at first 0.
        gradient: Float tensor of the same shape.
        learning_rate: Float or float tensor.
        weight_decay: Float.

    Example:
        >>> weight, velocity = keras.Variable(1.0), tf.Variable(0.0)
        >>> for learning_rate in (0.5, 1.0):
        ...     sgd(weight, velocity, tf.constant(1.0), learning_rate, weight_decay=0.0)
        >>> weight.numpy(), velocity.numpy()
        (np.float32(-1.4), np.float32(1.9))

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `optim.SGD`.
    """
    direction = gradient + weight_decay * variable.value
    velocity.assign(MOMENTUM * velocity + direction)
    variable.assign_sub(learning_rate * velocity)


def cosine_decay(epoch, epochs):
    """Factor of the learning rate in an epoch: from 1 towards 0, which comes after the last.

        (1 + cos(pi * epoch / epochs)) / 2

    Example:
        >>> [round(cosine_decay(epoch, 4), 3) for epoch in range(4)]
        [1.0, 0.854, 0.5, 0.146]

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `CosineAnnealingLR`.
    """
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


def top_accuracies(logits, labels):
    """Shares of images whose label has the highest logit, and one of the five highest.

    Args:
        logits: Float tensor [count, classes].
        labels: Int array [count].

    Returns:
        {"top1": float in [0, 1], "top5": float in [0, 1]}.

    Example:
        >>> logits = tf.constant([[0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]])
        >>> import numpy as np
        >>> top_accuracies(logits, np.array([5, 3]))
        {'top1': 0.5, 'top5': 1.0}
    """
    best = tf.math.top_k(logits, min(TOP, logits.shape[1])).indices.numpy()
    hits = best == labels[:, None]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}


def _check_range(labels, classes, images):
    """Refuses labels that are no class: on a GPU they would make the loss NaN."""
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{images.name}: labels must lie in 0...{classes - 1}, got {labels.min()} to "
            f"{labels.max()}."
        )

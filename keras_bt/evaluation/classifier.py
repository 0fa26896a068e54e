"""Linear evaluation and fine-tuning: accuracy of a classifier that SGD trains on an encoder."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_bt._support.progress_bar import progress_bar
from keras_bt.evaluation.features import Encoder, compile_encoder, extract_compiled
from keras_bt.evaluation.protocols import (
    LINEAR_PROTOCOL,
    SEMI_SUPERVISED_PROTOCOL,
    Protocol,
    View,
)
from keras_bt.evaluation.sgd import compile_step, cosine_decay, linear_head
from keras_bt.layers.augment import takes_sizes

if TYPE_CHECKING:
    from keras_bt.data import Images


def linear_evaluation(
    encoder: Encoder,
    train: Images,
    test: Images,
    *,
    classes: int,
    image_size: int,
    view: View | None = None,
    load_size: int | None = None,
    epochs: int = LINEAR_PROTOCOL.epochs,
    batch_size: int = LINEAR_PROTOCOL.batch_size,
    learning_rate: float = LINEAR_PROTOCOL.head_learning_rate,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the accuracy of a linear classifier that SGD trains on the frozen encoder.

    The encoder runs in inference mode and does not change, batch-norm statistics included.
    Momentum is 0.9 and weight decay 1e-6. The learning rate falls towards 0 by a cosine of
    the epoch. Training images are cropped and flipped at random.

    Args:
        encoder: See `extract_features`.
        train: Labelled images, labels in 0...classes-1.
        test: Labelled held-out images.
        classes: Number of classes.
        image_size: Side of the images that the encoder takes, in pixels.
        view: Augments batches of training images. None uses
            `crop_and_flip(image_size, seed=seed)`.
        load_size: Side of the training images before `view`, in pixels. None uses
            `config.rules.load_size`.
        epochs: At least 1.
        batch_size: At least 1. Reduced to the number of training images.
        learning_rate: Of the first epoch, for any batch size.
        seed: Of the classifier, the order of the images and the augmentation.

    Returns:
        {"epochs": int, "steps": int, "top1": float in [0, 1], "top5": float in [0, 1]}, with
        the accuracies after the last epoch.

    Raises:
        ValueError: If labels are missing, a label or an argument is out of range, or the
            encoder does not return [batch, features].
        FloatingPointError: If the loss is NaN or infinite at the end of an epoch.

    Example:
        >>> import numpy as np
        >>> from keras_bt.data import from_arrays
        >>> red_and_blue = np.uint8([[[[255, 0, 0]]], [[[0, 0, 255]]]])
        >>> images = from_arrays(np.repeat(red_and_blue, 8, 0), np.repeat([0, 1], 8))
        >>> encoder = keras.layers.Flatten()
        >>> linear_evaluation(encoder, images, images, classes=2, image_size=1, epochs=9)["top1"]
        1.0

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, --weights freeze.
    Differs from source: returns the accuracies of the last epoch, not the best. An epoch drops
        its last incomplete batch. Training images are resized to `load_size` before they are
        cropped: their central square, or with another framing (see `data.Images.framed`) all of
        them. Test images are the central square, not 224 of its 256 pixels.
    """
    protocol = dataclasses.replace(
        LINEAR_PROTOCOL,
        epochs=epochs,
        batch_size=batch_size,
        head_learning_rate=learning_rate,
        view=view,
        load_size=load_size,
        seed=seed,
    )
    return _train_classifier(encoder, train, test, classes, image_size, protocol)


def fine_tune(
    encoder: keras.Layer,
    train: Images,
    test: Images,
    *,
    classes: int,
    image_size: int,
    view: View | None = None,
    load_size: int | None = None,
    epochs: int | None = None,
    batch_size: int = SEMI_SUPERVISED_PROTOCOL.batch_size,
    encoder_learning_rate: float | None = SEMI_SUPERVISED_PROTOCOL.encoder_learning_rate,
    head_learning_rate: float = SEMI_SUPERVISED_PROTOCOL.head_learning_rate,
    seed: int = 0,
) -> dict[str, float]:
    """Trains the encoder, in place, and a linear classifier; returns the accuracy.

    The whole network is in training mode: weights and batch-norm statistics of the given
    encoder change. Momentum is 0.9, without weight decay. The learning rates fall towards 0
    by a cosine of the epoch. Training images are cropped and flipped at random.

    Args:
        encoder: `keras.Model`, or `keras_bt.load_encoder(path, trainable=True)`.
        train: Labelled images, labels in 0...classes-1. For a fraction of a dataset use
            `train.chosen(labelled_subset(labels, fraction, seed))`.
        test: See `linear_evaluation`.
        classes: See `linear_evaluation`.
        image_size: See `linear_evaluation`.
        view: See `linear_evaluation`.
        load_size: See `linear_evaluation`.
        epochs: At least 1. None uses 20, or more if those make fewer than 1,000 steps.
        batch_size: See `linear_evaluation`.
        encoder_learning_rate: Of the first epoch.
        head_learning_rate: Of the first epoch, for the classifier.
        seed: See `linear_evaluation`.

    Returns:
        As `linear_evaluation`.

    Raises:
        TypeError: If the encoder is not a Keras model or layer.
        ValueError: As `linear_evaluation`, or if the encoder has no trainable weights.
        FloatingPointError: As `linear_evaluation`.

    Example:
        >>> import numpy as np
        >>> from keras_bt.data import from_arrays
        >>> red_and_blue = np.uint8([[[[255, 0, 0]]], [[[0, 0, 255]]]])
        >>> images = from_arrays(np.repeat(red_and_blue, 8, 0), np.repeat([0, 1], 8))
        >>> encoder = keras.Sequential(
        ...     [keras.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> fine_tune(encoder, images, images, classes=2, image_size=1, epochs=9)["top1"]
        1.0

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, --weights finetune, with the
        learning rates of its README.
    Differs from source: as `linear_evaluation`. With few images there are more than 20 epochs,
        because 20 would be only a few steps.
    """
    if not isinstance(encoder, keras.Layer):
        raise TypeError(
            f"encoder must be a Keras model or layer to be fine-tuned, got {encoder!r}."
        )
    if not encoder.trainable_variables:
        raise ValueError(
            f"The encoder {encoder.name!r} has no trainable weights: it is frozen, not built, or "
            "was loaded by load_encoder() without trainable=True."
        )
    protocol = SEMI_SUPERVISED_PROTOCOL
    if epochs is not None:
        protocol = dataclasses.replace(protocol, epochs=epochs, least_steps=0)
    protocol = dataclasses.replace(
        protocol,
        batch_size=batch_size,
        encoder_learning_rate=encoder_learning_rate,
        head_learning_rate=head_learning_rate,
        view=view,
        load_size=load_size,
        seed=seed,
    )
    return _train_classifier(encoder, train, test, classes, image_size, protocol)


def _train_classifier(
    encoder: Any,
    train: Images,
    test: Images,
    classes: int,
    image_size: int,
    protocol: Protocol,
) -> dict[str, float]:
    """Trains a linear head, and the encoder unless it is frozen; returns the accuracies."""
    for images in (train, test):
        if not images.labelled:
            raise ValueError(f"{images.name} has no labels.")
    encode = compile_encoder(encoder)
    features = extract_compiled(encode, train.batches(1, image_size).take(1))[0].shape[1]
    head = linear_head(features, classes, protocol.seed)
    encoder_rate = protocol.encoder_learning_rate
    rates = [(variable, protocol.head_learning_rate) for variable in head.trainable_variables]
    if encoder_rate is not None:
        rates += [(variable, encoder_rate) for variable in encoder.trainable_variables]

    def compute_logits(views: tf.Tensor) -> tf.Tensor:
        return head(tf.cast(encoder(views, training=encoder_rate is not None), tf.float32))

    view = protocol.view_for(image_size)
    step = compile_step(compute_logits, view, rates, protocol.momentum, protocol.weight_decay)
    if train.framing == "whole" and not takes_sizes(view):
        train = train.framed("square")
    batch_size, epochs = protocol.batch_size_for(train.count), protocol.epochs_for(train.count)
    steps_per_epoch = train.count // batch_size
    load_size = protocol.load_size_for(image_size)
    batches = iter(train.shuffled_batches(batch_size, load_size, protocol.seed))
    with progress_bar(total=epochs * steps_per_epoch, unit="step") as bar:
        for epoch in range(epochs):
            decay = tf.constant(cosine_decay(epoch, epochs), tf.float32)
            for _ in range(steps_per_epoch):
                batch = next(batches)
                _check_labels(batch["label"].numpy(), classes, train.name)
                loss = step(batch["image"], batch["label"], decay, batch.get("size"))
                bar.update()
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"The loss is {float(loss)} after epoch {epoch + 1} of the classifier. Try a "
                    "lower learning rate."
                )
            bar.set_postfix(loss=f"{float(loss):.4g}", refresh=False)

    test_features, labels = extract_compiled(encode, test.batches(protocol.batch_size, image_size))
    assert labels is not None  # the images are labelled
    _check_labels(labels, classes, test.name)
    accuracies = _top_accuracies(head(test_features), labels)
    return {"epochs": epochs, "steps": epochs * steps_per_epoch, **accuracies}


def _check_labels(labels: np.ndarray, classes: int, name: str) -> None:
    """Rejects labels out of range, which make the loss NaN on a GPU."""
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{name}: labels must lie in 0...{classes - 1}, got {labels.min()} to {labels.max()}."
        )


def _top_accuracies(logits: tf.Tensor, labels: np.ndarray) -> dict[str, float]:
    """How often the label has the highest logit ("top1"), and one of the five highest ("top5")."""
    best = tf.math.top_k(logits, min(5, logits.shape[1])).indices.numpy()
    hits = best == labels[:, None]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}

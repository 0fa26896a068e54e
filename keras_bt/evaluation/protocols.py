"""The published protocols of evaluation: linear, and semi-supervised fine-tuning."""

import keras

from keras_bt.config import rules
from keras_bt.evaluation.classifier import train_classifier

FINE_TUNE_EPOCHS = 20
FINE_TUNE_STEPS = 1000  # of the published 1 %: 12,811 images, 20 epochs of 50


def linear_evaluation(
    encoder,
    train,
    test,
    *,
    classes,
    image_size,
    view=None,
    load_size=None,
    epochs=100,
    batch_size=256,
    learning_rate=0.3,
    seed=0,
):
    """Accuracy of a linear classifier that SGD trains on the frozen encoder.

    The encoder is in inference mode; nothing in it changes, batch-norm statistics included.
    Momentum 0.9, weight decay 1e-6, the learning rate falls to 0 by a cosine of the epoch.
    Training images are cropped and mirrored at random.

    Args:
        encoder: See `extract_features`.
        train: Labelled `data.Images`, labels in 0...classes-1.
        test: Labelled `data.Images`, held out.
        classes: Int.
        image_size: Int. Side of the images the encoder gets, in pixels.
        view: Layer that augments batches of training images; None means
            `crop_and_flip(image_size, seed=seed)`.
        load_size: Int. Side of the training images before that, in pixels; None means that
            of `rules.load_size`.
        epochs: Int.
        batch_size: Int, cut to the number of training images.
        learning_rate: Float. Of the first epoch, for any batch size.
        seed: Int. Of the classifier, the order of the images and their views.

    Returns:
        {"epochs": int, "steps": int, "top1": float in [0, 1], "top5": float in [0, 1]},
        accuracies of the last epoch.

    Raises:
        ValueError: If images lack labels, a label is out of range, or the encoder does not
            return [batch, features].
        FloatingPointError: If the loss is NaN or infinite at the end of an epoch.

    Example:
        >>> import numpy as np
        >>> from keras_bt.data import from_arrays
        >>> gray = from_arrays(np.repeat(np.uint8([[[40]], [[200]]]), 8, 0), np.repeat([0, 1], 8))
        >>> encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.UnitNormalization()])
        >>> linear_evaluation(encoder, gray, gray, classes=2, image_size=1, epochs=2)["steps"]
        2

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, --weights freeze.
    Differs from source: the accuracies are those of the last epoch, not the best; an epoch
        leaves out its last images that fill no batch; training images are cropped from their
        central square, brought to `load_size`, and test images are that square, not
        224 of its 256 pixels.
    """
    return train_classifier(
        encoder,
        train,
        test,
        view=view or crop_and_flip(image_size, seed=seed),
        classes=classes,
        image_size=image_size,
        load_size=load_size or rules.load_size(image_size),
        epochs=epochs,
        batch_size=batch_size,
        encoder_learning_rate=None,
        head_learning_rate=learning_rate,
        weight_decay=1e-6,
        seed=seed,
    )


def fine_tune(
    encoder,
    train,
    test,
    *,
    classes,
    image_size,
    view=None,
    load_size=None,
    epochs=None,
    batch_size=256,
    encoder_learning_rate=0.005,
    head_learning_rate=0.5,
    seed=0,
):
    """Accuracy after training the encoder, in place, and a linear classifier on few labels.

    The whole network is in training mode: weights and batch-norm statistics of the encoder
    given move. Momentum 0.9, no weight decay, learning rates fall to 0 by a cosine of the
    epoch. Training images are cropped and mirrored at random.

    Args:
        encoder: `keras.Model`, or `keras_bt.load_encoder(path, trainable=True)`.
        train: Labelled `data.Images`, labels in 0...classes-1; a part of a data set by
            `train.chosen(labelled_subset(labels, fraction, seed))`.
        test: See `linear_evaluation`.
        classes: Int.
        image_size: See `linear_evaluation`.
        view: See `linear_evaluation`.
        load_size: See `linear_evaluation`.
        epochs: Int; None means 20, or as many as make 1,000 steps.
        batch_size: Int, cut to the number of training images.
        encoder_learning_rate: Float. Of the first epoch.
        head_learning_rate: Float. Of the first epoch, for the classifier.
        seed: See `linear_evaluation`.

    Returns:
        As `linear_evaluation`.

    Raises:
        TypeError: If the encoder is no Keras model or layer.
        ValueError: As `linear_evaluation`, or if the encoder has nothing to train.
        FloatingPointError: As `linear_evaluation`.

    Example:
        >>> import numpy as np
        >>> from keras_bt.data import from_arrays
        >>> gray = from_arrays(np.repeat(np.uint8([[[40]], [[200]]]), 8, 0), np.repeat([0, 1], 8))
        >>> encoder = keras.Sequential(
        ...     [keras.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> fine_tune(encoder, gray, gray, classes=2, image_size=1, epochs=2)["steps"]
        2

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, --weights finetune, with the
        learning rates of its README.
    Differs from source: as `linear_evaluation`; and few images make more epochs than 20,
        which would be a handful of steps.
    """
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            f"encoder must be a Keras model or layer to be fine-tuned, got {encoder!r}."
        )
    if not encoder.trainable_variables:
        raise ValueError(
            f"The encoder {encoder.name!r} has nothing to train: it is frozen, not built, or was "
            "loaded by load_encoder() without trainable=True."
        )
    steps_per_epoch = train.count // min(batch_size, train.count)
    return train_classifier(
        encoder,
        train,
        test,
        view=view or crop_and_flip(image_size, seed=seed),
        classes=classes,
        image_size=image_size,
        load_size=load_size or rules.load_size(image_size),
        epochs=epochs or max(FINE_TUNE_EPOCHS, -(-FINE_TUNE_STEPS // steps_per_epoch)),
        batch_size=batch_size,
        encoder_learning_rate=encoder_learning_rate,
        head_learning_rate=head_learning_rate,
        weight_decay=0.0,
        seed=seed,
    )


def crop_and_flip(image_size, crop_area=(0.08, 1.0), flip_rate=0.5, seed=0):
    """The augmentation of the protocols: a random crop, resized, and a random mirror image.

    Args:
        image_size: Int. Side of the result, in pixels.
        crop_area: (low, high). Fraction of the image's area that is kept.
        flip_rate: Probability of the mirror image; 0 where it would be of another class.
        seed: Int.

    Returns:
        `BarlowTwinsView`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> crop_and_flip(8)(np.zeros([2, 16, 16, 3], "uint8")).shape
        TensorShape([2, 8, 8, 3])

    Source: facebookresearch/barlowtwins evaluate.py@8e8d284, `train_dataset`.
    """
    from keras_bt.layers.views import BarlowTwinsView

    return BarlowTwinsView(
        image_size,
        crop_area=crop_area,
        interpolation="bilinear",
        flip_rate=flip_rate,
        jitter_rate=0.0,
        grayscale_rate=0.0,
        blur_rate=0.0,
        seed=seed,
    )

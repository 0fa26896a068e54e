"""What a run sees of wide images, by its framing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.config.recipe import Recipe
from keras_bt.data import Source, from_arrays
from keras_bt.run import Pretraining

SIDE, CLASSES, CROPS = 24, 4, 8


def wide_images(rng, count):
    """Images of 24x72 pixels with a pattern for the class on both sides of their central square."""
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.arange(count) % CLASSES
    images = rng.uniform(0.3, 0.7, (count, SIDE, 3 * SIDE, 3))
    for image, label in zip(images, labels, strict=True):
        phase_y, phase_x = rng.integers(0, 12, 2)
        rows, columns = ((y + phase_y) // 6) % 2, ((x + phase_x) // 6) % 2
        pattern = [rows, columns, rows ^ columns, rows & columns][label][..., None]
        for left in (0, 2 * SIDE):
            image[:, left : left + SIDE] += 0.5 * (pattern - 0.5)
    return np.uint8(255 * np.clip(images, 0, 1)), labels


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    train, test = (from_arrays(*wide_images(rng, count)) for count in (800, 200))
    return Source("wide", train, test, classes=CLASSES)


def trained(source, framing):
    """A model, and its images in the framing."""
    recipe = Recipe.for_images(source.train.count, SIDE, batch_size=80, dim=128, epochs=12)
    recipe = recipe.override(
        framing=framing, load_size=2 * SIDE, encoder="conv4", width=16, learning_rate=0.006
    )
    source, steps = source.framed(framing), source.train.count // recipe.batch_size
    keras.utils.set_random_seed(0)
    model = recipe.build_model(seed=0)
    model.compile(
        recipe.build_optimizer(steps, recipe.epochs * steps),
        recipe.build_loss(),
        view_placement="compiled",
    )
    batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, seed=0)
    model.fit(batches, epochs=recipe.epochs, steps_per_epoch=steps, verbose=0)
    return model, source


def view_features(model, images):
    """The mean features of several views of each image, and the labels."""
    features, labels = [], []
    for batch in images.batches(100, 2 * SIDE, to_crop=True):
        views = [view for _ in range(CROPS) for view in model.two_views(batch)]
        features.append(np.mean([model.encoder(view, training=False) for view in views], axis=0))
        labels.append(batch["label"])
    return np.concatenate(features), np.concatenate(labels)


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["square", "whole", "stretch"])
def test_views_show_what_lies_outside_the_central_square(source, framing):
    model, framed = trained(source, framing)
    train, test = (view_features(model, images) for images in (framed.train, framed.test))
    accuracy = keras_bt.knn_accuracy(*train, *test)
    assert accuracy < 0.4 if framing == "square" else accuracy > 0.9


@pytest.mark.slow
def test_evaluations_of_whole_images_take_the_central_square(source):
    encoder = keras.layers.Flatten()
    for framing, sees in (("square", False), ("whole", False), ("stretch", True), ("pad", True)):
        framed = source.framed(framing)
        train, test = (
            keras_bt.extract_features(encoder, images.batches(100, SIDE))
            for images in (framed.train, framed.test)
        )
        accuracy = keras_bt.linear_probe(*train, *test)
        assert accuracy > 0.5 if sees else accuracy < 0.4, framing


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["whole", "pad"])
def test_images_in_memory_are_scored_only_if_they_are_the_same(framing, rng):
    """Squashed images are for views; scores read the images again."""
    pixels = rng.integers(0, 256, (12, 8, 16, 3)).astype("uint8")
    recipe = keras_bt.recipes["cifar10"].override(
        image_size=8, load_size=8, width=1, projector_dims=(4,), batch_size=4, epochs=2
    )
    source = Source("mine", from_arrays(pixels))
    run = Pretraining(recipe.override(framing=framing), source, tf.distribute.get_strategy())
    before = run.source.train
    run._keep_in_memory()
    assert (run.source.train is before) == (framing == "whole")
    (expected,), (scored,) = before.batches(12, 8), run.scored.train.batches(12, 8)
    np.testing.assert_array_equal(scored["image"], expected["image"])
    assert ("size" in next(iter(run.batches()))) == (framing == "whole")

import pytest

import keras_bt
from keras_bt.config import short_runs
from keras_bt.config.recipe import Recipe


def fitted(count=3000, image_size=64, passes=3e5, **given):
    recipe = Recipe.for_images(count, image_size)
    return recipe.fitted(count, images_per_second=passes / 60, minutes=1.0, **given)


def test_a_long_run_keeps_the_published_settings():
    recipe = Recipe.for_images(3000, 64)
    assert recipe.fitted(3000, images_per_second=1e6, minutes=60.0) is not None
    assert recipe.fitted(3000, images_per_second=1e6, minutes=60.0) == recipe
    named = keras_bt.recipes["cifar10"]
    assert named.fitted(50_000, images_per_second=1e6, minutes=60.0) == named


def test_more_passes_never_give_a_smaller_network():
    widths = [fitted(passes=10.0**power).width for power in range(3, 9)]
    assert widths == sorted(widths) and len(set(widths)) > 1
    assert fitted(passes=0.0).encoder == "conv4"


def test_a_named_recipe_keeps_its_views_and_sizes():
    named = keras_bt.recipes["fashion_mnist"]
    short = named.fitted(60_000, images_per_second=500.0, minutes=8.0)
    for field in ("dataset", "image_size", "crop_area", "flip_rate", "hue", "solarize_rates"):
        assert getattr(short, field) == getattr(named, field), field
    assert (short.redundancy, short.redundancy_weight) == ("log_determinant", 1.0)
    assert short.sources["redundancy"] != named.sources["redundancy"]


@pytest.mark.parametrize("count", [2, 3, 50, 100, 413, 3000])
def test_small_sets_fill_batches_and_embeddings(count):
    recipe = fitted(count)
    assert 2 <= recipe.batch_size <= max(2, count // 2)
    assert recipe.projector_dims[-1] <= 2 * recipe.batch_size


def test_what_is_given_stays_and_the_rest_fits_around_it():
    recipe = fitted(encoder="resnet18", batch_size=32, view_size=40)
    assert (recipe.encoder, recipe.batch_size, recipe.view_size) == ("resnet18", 32, 40)
    assert recipe.width == short_runs.RESNET_WIDTH
    assert recipe.projector_dims == (128, 64)
    squares = fitted(redundancy="squares", redundancy_weight=0.01)
    assert (squares.redundancy, squares.redundancy_weight) == ("squares", 0.01)
    assert squares.projector_dims == Recipe.for_images(3000, 64).projector_dims
    assert fitted(optimizer="lars", learning_rate=0.3).learning_rate == 0.3


@pytest.mark.parametrize(
    ("image_size", "view_size", "stem"),
    [(8, None, "small"), (28, 21, "small"), (32, 24, "small"), (64, None, "imagenet")]
    + [(96, 64, "imagenet"), (224, 64, "imagenet")],
)
def test_views_and_stem_follow_the_size(image_size, view_size, stem):
    recipe = fitted(image_size=image_size)
    assert (recipe.view_size, recipe.stem) == (view_size, stem)


def test_views_suit_their_side_unless_they_are_given():
    recipe = fitted(image_size=96)
    assert (recipe.blur_rates, recipe.crop_area) == ((0.0, 0.0), (0.2, 1.0))
    assert fitted(image_size=96, blur_rates=(0.5, 0.5)).blur_rates == (0.5, 0.5)
    named = keras_bt.recipes["imagenette"].fitted(9469, images_per_second=500.0, minutes=8.0)
    assert named.blur_rates == keras_bt.recipes["imagenette"].blur_rates


def test_costs_are_those_of_the_arithmetic():
    """Each pixel of the first stage takes 54 width^2 multiply-adds: twice the width, four times.

    Wider layers use the processor better, so that a step takes less than that.
    """
    smallest, *wider = short_runs.NETWORKS
    for network in wider:
        arithmetic = (network.width / smallest.width) ** 2
        assert 0.5 * arithmetic < network.cost <= arithmetic


def test_without_minutes_nothing_is_measured():
    """A run for so many epochs is a function of its flags and its seed."""
    photos = Recipe.for_images(3000, 64, epochs=20)
    assert photos.fitted(3000).precision == "float32"
    assert photos.fitted(3000).encoder == "conv4"
    assert fitted().precision == "auto"
    with pytest.raises(ValueError, match="minutes=8 need images_per_second"):
        photos.fitted(3000, minutes=8)

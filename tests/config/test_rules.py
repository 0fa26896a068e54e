import math

import pytest

from keras_bt.config import rules
from keras_bt.config.recipe import Recipe


def test_learning_rates_are_published_or_interpolated():
    published = {128: 0.7, 256: 0.4, 512: 0.3, 1024: 0.25, 2048: 0.2, 4096: 0.2}
    for batch_size, rate in published.items():
        assert rules.base_learning_rate(batch_size) == pytest.approx(rate)
    middle = rules.base_learning_rate(round(256 * math.sqrt(2)))
    assert middle == pytest.approx(0.35, abs=1e-3)
    assert [rules.base_learning_rate(size) for size in (2, 2**20)] == [1.0, 0.2]


def test_bias_ratio_is_as_published_and_at_most_one():
    assert rules.bias_ratio(8192) == pytest.approx(0.0048 / 0.2, rel=0.01)
    assert (rules.bias_ratio(2048), rules.bias_ratio(64)) == (196 / 2048, 1.0)


def test_redundancy_weights_are_as_published():
    assert rules.redundancy_weight(8192) == rules.redundancy_weight(2048) == 0.0051
    assert rules.redundancy_weight(128) == 1 / 128


@pytest.mark.parametrize("count", [2, 9, 1000, 10**7])
def test_batch_size_is_at_most_the_number_of_images(count):
    recipe = Recipe.for_images(count, image_size=32)
    assert 2 <= recipe.batch_size <= min(count, 256)


@pytest.mark.slow
def test_settings_depend_on_the_size_and_number_of_images():
    small, large = (Recipe.for_images(10_000, size) for size in (32, 96))
    assert (small.stem, large.stem) == ("small", "imagenet")
    assert (small.blur_rates, large.blur_rates) == ((0.0, 0.0), (1.0, 0.1))
    assert (small.load_size, large.load_size) == (32, 137)
    assert Recipe.for_images(1_281_167, 224).encoder == "resnet50"
    assert small.build_encoder().input_shape == (None, 32, 32, 3)


def test_given_values_determine_other_settings():
    recipe = Recipe.for_images(10_000, 224, batch_size=1024, dim=4096, epochs=7)
    assert (recipe.batch_size, recipe.learning_rate, recipe.epochs) == (1024, 0.25, 7)
    assert recipe.projector_dims == (4096, 4096, 4096)
    assert recipe.bias_learning_rate_ratio == 196 / 4096
    assert recipe.sources["batch_size"] == recipe.sources["epochs"] == "as given"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 1}, "count must be at least 2, got 1"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Recipe.for_images(**{"count": 10, "image_size": 8, **arguments})


def test_images_are_no_larger_than_the_machine_affords():
    for short_side in (8, 64, 100, 3000):
        assert rules.image_size_for(short_side, accelerated=False) == min(short_side, 64)
        assert rules.image_size_for(short_side, accelerated=True) == min(short_side, 224)

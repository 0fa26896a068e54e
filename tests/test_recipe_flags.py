"""The flags of examples/recipe_flags.py, without a process for each."""

import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from keras_bt.config.named import recipes

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import recipe_flags


@pytest.fixture
def recipe_of():
    """The recipe that some flags give, with 5,000 images where none is named."""
    with flagsaver.flagsaver():

        def parse(*arguments, other_images=False):
            flags.FLAGS(["pretrain", *arguments])
            named = recipe_flags.named_recipe(other_images)
            return recipe_flags.recipe_of_flags(named, images=5000)

        yield parse


def test_without_flags_it_is_digits(recipe_of):
    assert recipe_of() == recipes["digits"]


def test_a_data_set_has_the_recipe_of_its_name(recipe_of):
    assert recipe_of("--dataset=cifar100") == recipes["cifar100"]
    assert recipe_of("--dataset=imagenette/160px-v2") == recipes["imagenette"]
    assert recipe_of("--recipe=cifar10", "--dataset=cifar100").name == "cifar10"


def test_other_images_get_settings_by_rules(recipe_of):
    by_default = recipe_of(other_images=True)
    assert (by_default.image_size, by_default.load_size, by_default.epochs) == (32, 32, 1000)
    flowers = recipe_of("--dataset=tf_flowers", "--image_size=96", "--batch_size=128")
    assert (flowers.dataset, flowers.load_size, flowers.learning_rate) == ("tf_flowers", 137, 0.7)
    assert recipe_of("--projector_dims=64,128", other_images=True).redundancy_weight == 1 / 128


def test_fields_take_the_place_of_the_recipes_own(recipe_of):
    recipe = recipe_of("--recipe=cifar10", "--image_size=24", "--crop_area=0.3,1")
    assert (recipe.image_size, recipe.load_size, recipe.crop_area) == (24, 24, (0.3, 1.0))
    assert recipe_of("--recipe=cifar10", "--view_size=24").view_size == 24
    assert recipe.sources["image_size"] == "as given"
    assert recipe.sources["crop_area"] == "as given"
    assert recipe.sources["width"] == recipes["cifar10"].sources["width"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe=digit"], "no recipe 'digit'; did you mean 'digits'?"),
        (["--projector_dims=16,w"], "--projector_dims takes ints with commas between, got 16,w"),
        (
            ["--trust_coefficient=0.1"],
            "--trust_coefficient has no effect: optimizer is adamw, which has none.",
        ),
        (
            ["--recipe=imagenet", "--optimizer=adamw", "--bias_learning_rate_ratio=1"],
            "--bias_learning_rate_ratio has no effect: optimizer is adamw",
        ),
        (["--hue=0.2", "--jitter_rate=0"], "--hue has no effect: jitter_rate is 0."),
        (["--recipe=cifar10", "--blur_sigma=1,2"], "--blur_sigma has no effect: blur_rates are 0."),
        (
            ["--warmup_epochs=5", "--epochs=5"],
            "--warmup_epochs=5 leaves nothing of --epochs=5.",
        ),
    ],
)
def test_wrong_and_contradictory_flags_are_named(recipe_of, arguments, message):
    with pytest.raises(ValueError) as raised:
        recipe_of(*arguments)
    assert message in str(raised.value)

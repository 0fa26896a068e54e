"""Recipes from flags."""

import dataclasses

import pytest
from absl.flags import FlagValues

from keras_bt.cli.recipe_flags import define_recipe_flags, named_recipe, recipe_of_flags
from keras_bt.config.named import recipes
from keras_bt.config.recipe import Recipe

PHOTOS = "--image_dir=photos"


def recipe_of(*arguments):
    """The recipe that flags give, for 5,000 images where none is named."""
    values = FlagValues()
    define_recipe_flags(values)
    values(["pretrain", *arguments])
    return recipe_of_flags(values, named_recipe(values), images=5000)


def test_default_recipe_is_digits():
    assert recipe_of() == recipes["digits"]


def test_a_data_set_has_the_recipe_of_its_name():
    assert recipe_of("--dataset=cifar100") == recipes["cifar100"]
    assert recipe_of("--dataset=imagenette/160px-v2") == recipes["imagenette"]
    other = recipe_of("--recipe=cifar10", "--dataset=cifar100")
    assert (other.name, other.dataset) == ("cifar10", "cifar100")


def test_other_images_get_settings_by_rules():
    by_default = recipe_of(PHOTOS)
    assert (by_default.image_size, by_default.load_size, by_default.epochs) == (64, 64, 1000)
    flowers = recipe_of("--dataset=tf_flowers", "--image_size=96", "--batch_size=128")
    assert (flowers.dataset, flowers.load_size, flowers.learning_rate) == ("tf_flowers", 137, 0.7)
    assert recipe_of(PHOTOS, "--projector_dims=64,128").redundancy_weight == 1 / 128


def test_photographs_are_used_whole_and_squares_as_squares():
    assert recipe_of(PHOTOS).framing == "whole" == recipe_of("--recipe=imagenet").framing
    assert recipe_of(PHOTOS, "--framing=pad").framing == "pad"
    for name in ("digits", "cifar10", "stl10"):
        assert recipe_of(f"--recipe={name}").framing == "square"


def test_flags_replace_fields_of_the_recipe():
    recipe = recipe_of("--recipe=cifar10", "--image_size=24", "--crop_area=0.3,1")
    assert (recipe.image_size, recipe.load_size, recipe.crop_area) == (24, 24, (0.3, 1.0))
    assert recipe_of("--recipe=cifar10", "--view_size=24").view_size == 24
    assert recipe.sources["image_size"] == "as given"
    assert recipe.sources["crop_area"] == "as given"
    assert recipe.sources["width"] == recipes["cifar10"].sources["width"]


def test_another_redundancy_has_its_own_weight():
    log_determinant = "--redundancy=log_determinant"
    assert recipe_of("--recipe=cifar10", log_determinant).redundancy_weight == 1.0
    assert recipe_of(PHOTOS, log_determinant).redundancy_weight == 1.0
    assert recipe_of(log_determinant, "--redundancy_weight=0.3").redundancy_weight == 0.3
    in_python = recipes["cifar10"].override(redundancy="log_determinant")
    assert (in_python.redundancy_weight, in_python.sources["redundancy_weight"]) == (
        1.0,
        "as given",
    )
    unchanged = recipe_of("--recipe=cifar10", "--redundancy=squares")
    assert unchanged.redundancy_weight == recipes["cifar10"].redundancy_weight


def test_every_field_has_a_flag_with_its_description():
    values = FlagValues()
    define_recipe_flags(values)
    for field in dataclasses.fields(Recipe):
        if field.name not in ("name", "dataset", "sources"):
            assert values[field.name].help == field.metadata["description"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe=digit"], "no recipe 'digit'; did you mean 'digits'?"),
        (["--projector_dims=16,w"], "--projector_dims takes ints separated by commas, got 16,w"),
        (
            ["--trust_coefficient=0.1"],
            "--trust_coefficient has no effect: optimizer adamw does not use it.",
        ),
        (
            ["--recipe=imagenet", "--optimizer=adamw", "--bias_learning_rate_ratio=1"],
            "--bias_learning_rate_ratio has no effect: optimizer adamw does not use it",
        ),
        (["--hue=0.2", "--jitter_rate=0"], "--hue has no effect: jitter_rate is 0."),
        (["--framing=middle"], "framing must be one of ['pad', 'square', 'stretch', 'whole'], got"),
        (["--recipe=cifar10", "--blur_sigma=1,2"], "--blur_sigma has no effect: blur_rates are 0."),
        (
            ["--warmup_epochs=5", "--epochs=5"],
            "--warmup_epochs=5 must be below --epochs=5.",
        ),
    ],
)
def test_wrong_and_contradictory_flags_are_refused(arguments, message):
    with pytest.raises(ValueError) as raised:
        recipe_of(*arguments)
    assert message in str(raised.value)

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_bt
from keras_bt.config.named import find_recipe, recipes
from keras_bt.config.recipe import Recipe

FIELDS = {field.name for field in dataclasses.fields(Recipe)} - {"name", "sources"}


@pytest.mark.parametrize("name", sorted(recipes))
def test_every_value_has_its_source(name):
    assert recipes[name].name == name
    assert set(recipes[name].sources) == FIELDS


@pytest.mark.slow
def test_imagenet_recipe_has_the_published_settings():
    recipe = recipes["imagenet"]
    assert (recipe.epochs, recipe.batch_size, recipe.projector_dims) == (1000, 2048, (8192,) * 3)
    assert (recipe.redundancy_weight, recipe.weight_decay) == (0.0051, 1e-6)
    optimizer = recipe.build_optimizer(steps_per_epoch=625, total_steps=625_000)
    schedule = optimizer._learning_rate
    assert float(schedule(6250)) == pytest.approx(1.6)
    assert float(schedule(6250)) * recipe.bias_learning_rate_ratio == pytest.approx(0.0384)
    assert recipe.build_encoder().output_shape == (None, 2048)
    published = [view.get_config() for view in keras_bt.paper_views(224, seed=3)]
    assert [view.get_config() for view in recipe.build_views(3)] == published


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "fashion_mnist", "cifar10"])
def test_recipes_build_and_train(name, rng):
    recipe = recipes[name].override(width=4, projector_dims=(16, 8), batch_size=8)
    model = recipe.build_model(seed=0)
    assert [view.blur_rate for view in model.views] == list(recipe.blur_rates)
    assert [view.solarize_rate for view in model.views] == list(recipe.solarize_rates)
    assert [view.seed for view in model.views] == [0, 1]
    model.compile(recipe.build_optimizer(1, 4), recipe.build_loss(), run_eagerly=True)
    shape = (8, recipe.image_size, recipe.image_size, 3)
    images = rng.integers(0, 256, shape).astype("uint8")
    assert np.isfinite(model.fit(images, batch_size=8, verbose=0).history["loss"]).all()


def test_learning_rate_peaks_in_proportion_to_the_batch_and_falls_in_short_runs():
    recipe = recipes["cifar10"]
    for batch_size in (256, 64):
        schedule = recipe.override(batch_size=batch_size).build_optimizer(100, 400)._learning_rate
        peak = recipe.learning_rate * batch_size / 256
        assert float(schedule(100)) == pytest.approx(peak)
        assert float(schedule(400)) == pytest.approx(peak / 1000)


def test_builds_lars_and_adamw():
    lars = recipes["imagenet"].build_optimizer(10, 100)
    assert isinstance(lars, keras_bt.LARS)
    assert lars.get_config()["bias_learning_rate_ratio"] == 0.024
    assert isinstance(recipes["digits"].build_optimizer(10, 100), keras.optimizers.AdamW)


def test_settings_are_all_fields_except_the_sources():
    settings = recipes["digits"].settings()
    assert set(settings) == FIELDS | {"name"}
    assert json.loads(json.dumps(settings))["projector_dims"] == [256, 256]


def test_every_field_is_described():
    for field in dataclasses.fields(Recipe):
        if field.name != "sources":
            assert field.metadata["description"].endswith("."), field.name


@pytest.mark.slow
def test_precision_applies_to_the_networks_only():
    recipe = recipes["digits"].override(width=1, projector_dims=(4,), precision="mixed_bfloat16")
    model = recipe.build_model(seed=0)
    assert model.encoder.compute_dtype == model.projector.compute_dtype == "bfloat16"
    assert [view.compute_dtype for view in model.views] == ["float32", "float32"]
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_model_gets_the_micro_batches():
    recipe = recipes["digits"].override(width=1, projector_dims=(4,), micro_batches=4)
    assert recipe.build_model(seed=0).micro_batches == 4
    with pytest.raises(ValueError, match="multiple of micro_batches=4, got 66 images"):
        recipe.override(batch_size=66).build_model(seed=0)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match=r"no recipe 'fashion'; did you mean 'fashion_mnist'\?"):
        find_recipe("fashion")
    with pytest.raises(ValueError, match=r"no recipe 'xyz'. Available: cifar10, cifar100, digits"):
        find_recipe("xyz")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": "resnet19"}, r"encoder must be one of .*'resnet18'.*got 'resnet19'"),
        ({"optimizer": "sgd"}, r"optimizer must be one of \['adamw', 'lars'\], got 'sgd'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"projector_dims": ()}, "projector_dims must hold one width per layer, got none"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"precision": "bf16"}, r"precision must be one of \['auto', 'float32', .*, got 'bf16'"),
        ({"micro_batches": 0}, "micro_batches must be at least 1, got 0"),
        ({"crop_area": (0.5,)}, r"crop_area must be two numbers, got \(0.5,\)"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        recipes["digits"].override(**fields)


@pytest.mark.slow
def test_views_can_be_smaller_than_the_images(rng):
    recipe = recipes["digits"].override(width=1, projector_dims=(4,), batch_size=8, view_size=6)
    model = recipe.build_model(seed=0)
    images = rng.integers(0, 256, (8, 8, 8, 3)).astype("uint8")
    assert [tuple(view.shape) for view in model.two_views(images)] == [(8, 6, 6, 3)] * 2
    model.compile(recipe.build_optimizer(1, 4), recipe.build_loss(), run_eagerly=True)
    assert np.isfinite(model.fit(images, batch_size=8, verbose=0).history["loss"]).all()
    assert model.encoder(images / np.float32(255)).shape == (8, 8)
    with pytest.raises(ValueError, match="view_size must be at least 1, got 0"):
        recipe.override(view_size=0)

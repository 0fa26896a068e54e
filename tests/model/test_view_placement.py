"""Views in the step, compiled or computed ahead by `tf.data`: the same training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt._support.compat import compiled_by_xla
from keras_bt.model.view_placement import PLACEMENTS


def blurred_views():
    return keras_bt.small_image_views(8, blur_rate=0.3, seed=0)


def keras_views():
    return keras.layers.RandomFlip(seed=1), keras.layers.RandomBrightness(0.3, (0, 1), seed=2)


@pytest.fixture
def trained(tiny_model, images):
    """Trains a tiny model by two calls of `fit` on consecutive batches."""

    def train(placement, steps=(3, 2), views=blurred_views, sizes=None):
        keras.utils.set_random_seed(0)
        model = tiny_model(views())
        model.compile(keras.optimizers.SGD(0.01), hold_nonfinite=True, view_placement=placement)
        batch = {"image": images} if sizes is None else {"image": images, "size": sizes}
        batches = tf.data.Dataset.from_tensor_slices(batch).batch(4).repeat()
        done = 0
        for count in steps:
            model.fit(batches.skip(done), steps_per_epoch=count, verbose=0)
            done += count
        return model

    return train


@pytest.mark.slow
@pytest.mark.parametrize("placement", PLACEMENTS[1:])
def test_training_is_that_of_views_in_the_step(trained, placement):
    expected, got = trained("step"), trained(placement)
    for weight, value in zip(expected.weights, got.weights, strict=True):
        np.testing.assert_allclose(value, weight, rtol=1e-3, atol=1e-4, err_msg=weight.path)
    assert [int(view.seed_and_calls[1]) for view in got.views] == [5, 5]


@pytest.mark.slow
def test_squashed_images_are_cropped_alike_in_every_placement(trained, rng):
    sizes = rng.integers(8, 99, (16, 2)).astype("int32")
    expected, squares = trained("step", sizes=sizes), trained("step")
    assert not np.allclose(squares.weights[0], expected.weights[0], rtol=1e-3, atol=1e-4)
    for placement in PLACEMENTS[1:]:
        got = trained(placement, sizes=sizes)
        for weight, value in zip(expected.weights, got.weights, strict=True):
            np.testing.assert_allclose(value, weight, rtol=1e-3, atol=1e-4, err_msg=weight.path)
    same = trained("step", sizes=np.full((16, 2), 8, "int32"))
    for weight, value in zip(squares.weights, same.weights, strict=True):
        np.testing.assert_array_equal(value, weight)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_squashed_images_and_views_without_sizes_are_refused(tiny_model, images, placement):
    model = tiny_model(keras_views())
    model.compile("sgd", view_placement=placement)
    batch = {"image": images, "size": np.full((16, 2), 8)}
    batches = tf.data.Dataset.from_tensor_slices(batch).batch(8)
    with pytest.raises(ValueError, match=r"random_flip\w* takes no sizes, so it would see"):
        model.fit(batches, verbose=0)
    with pytest.raises(ValueError, match=r"random_flip\w* takes no sizes"):
        model.two_views(next(iter(batches)))


@pytest.mark.slow
def test_other_views_change_the_training(trained):
    expected = trained("step")
    got = trained("step", views=lambda: keras_bt.small_image_views(8, blur_rate=0.3, seed=1))
    assert not np.allclose(got.weights[0], expected.weights[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("views", [blurred_views, keras_views])
def test_state_of_views_counts_trained_batches_only(trained, views):
    """Keras's layers keep their state in a seed generator, which is not a weight."""
    in_one, in_parts = (trained("data", steps, views) for steps in ((5,), (1, 1, 3)))
    for variable, value in zip(in_one.variables, in_parts.variables, strict=True):
        if "iteration" not in variable.path:
            np.testing.assert_allclose(value, variable, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_evaluation_does_not_change_the_state_of_views(trained, images):
    model = trained("data")
    before = [np.copy(view.seed_and_calls) for view in model.views]
    model.evaluate(images, batch_size=8, verbose=0)
    np.testing.assert_array_equal([view.seed_and_calls for view in model.views], before)
    model.train_on_batch(images[:8])  # images without views
    assert int(model.views[0].seed_and_calls[1]) == before[0][1] + 1


@pytest.mark.slow
@pytest.mark.parametrize(("placement", "expected"), [("step", False), ("compiled", True)])
def test_only_placement_compiled_uses_xla(tiny_model, images, placement, expected):
    compiled = []

    class Probe(keras.layers.Layer):
        def call(self, images):
            compiled.append(compiled_by_xla())
            return images + tf.random.stateless_normal(tf.shape(images), [0, 0], stddev=1e-3)

    model = tiny_model([Probe(), Probe()])
    model.compile("sgd", view_placement=placement)
    model.fit(images, batch_size=8, verbose=0)
    assert set(compiled) == {expected}


@pytest.mark.slow
def test_reloaded_model_keeps_the_placement(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd", view_placement="compiled")
    model.fit(images, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").view_placement == "compiled"


def test_unsupported_placements_raise(tiny_model, images):
    with pytest.raises(ValueError, match="view_placement must be one of .*, got 'gpu'"):
        tiny_model().compile("sgd", view_placement="gpu")
    with pytest.raises(ValueError, match="'data' needs views, got views=None"):
        tiny_model(views=None).compile("sgd", view_placement="data")
    model = tiny_model()
    model.compile("sgd", view_placement="data")
    with pytest.raises(TypeError, match=r"needs a tf.data.Dataset, got ndarray"):
        model.fit(images, batch_size=8)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = tiny_model()
        with pytest.raises(ValueError, match="'compiled' does not work inside a strategy's scope"):
            model.compile("sgd", view_placement="compiled")

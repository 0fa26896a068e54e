"""The variants of loss and model against formulas in NumPy; training steps of every row."""

import doctest

import ablations
import keras
import numpy as np
import pytest
import tensorflow as tf
from ablations import results, rows, variants

from keras_bt import data
from keras_bt.config.named import recipes
from keras_bt.config.recipe import Recipe

TINY = recipes["digits"].override(width=1, projector_dims=(8, 4), batch_size=8, epochs=1)


def embeddings(rng, batch=12, dim=5):
    means, scales = rng.normal(size=(2, 1, dim)), rng.uniform(0.5, 3, (2, 1, dim))
    return (means + scales * rng.normal(size=(2, batch, dim))).astype("float32")


def standardized(z):
    z = z.astype("float64") - z.mean(0)
    return z / np.sqrt((z**2).mean(0) + 1e-5)


def terms(c, target=0.0):
    off_diagonal = (c - target)[~np.eye(len(c), dtype=bool)]
    return ((1 - np.diag(c)) ** 2).sum(), (off_diagonal**2).sum()


def correlation(a, b):
    return a.T @ b / len(a)


def test_redundancy_only_has_no_invariance_term(rng):
    z_a, z_b = embeddings(rng)
    c = correlation(standardized(z_a), standardized(z_b))
    loss = variants.RedundancyOnly(0.5)
    np.testing.assert_allclose(loss.terms(z_a, z_b), (0, terms(c)[1]), rtol=1e-4)
    z_a = tf.constant(z_a)
    with tf.GradientTape() as tape:
        tape.watch(z_a)
        invariance, redundancy = loss.terms(z_a, z_b)
        both = invariance + redundancy
    assert np.abs(tape.gradient(both, z_a)).max() > 0


def test_feature_normalized_scales_each_image(rng):
    z_a, z_b = embeddings(rng)
    u_a, u_b = (z / np.sqrt((z**2).mean(1, keepdims=True)) for z in map(standardized, (z_a, z_b)))
    expected = terms(correlation(u_a, u_b), target=-1.0)
    loss = variants.FeatureNormalized(redundancy_target=-1.0)
    np.testing.assert_allclose(loss.terms(z_a, z_b), expected, rtol=1e-4)


def test_cross_covariance_matches_numpy(rng):
    z_a, z_b = embeddings(rng)
    expected = terms(np.cov(z_a.T, z_b.T, bias=True)[:5, 5:])
    np.testing.assert_allclose(variants.CrossCovariance().terms(z_a, z_b), expected, rtol=1e-4)


def test_without_batch_norm_removes_it_from_the_projector(tiny_model, rng):
    tiny = tiny_model()
    model = variants.WithoutBatchNorm(tiny.encoder, tiny.projector, tiny.views)
    features = rng.normal(size=(3, 4)).astype("float32")
    first, second = (weights.numpy() for weights in model.projector.weights)
    expected = np.maximum(features @ first, 0) @ second
    np.testing.assert_allclose(model.projector(features, training=True), expected, rtol=1e-4)


def gradients(model, view_a, view_b):
    model.compile("sgd")
    _, computed = model.terms_and_gradients(view_a, view_b)
    paths = [variable.path for variable in model.trainable_variables]
    return dict(zip(paths, computed, strict=True))


@pytest.mark.slow
def test_stop_gradient_blocks_view_b(tiny_model, rng):
    """The gradients through view A, and with views swapped through view B, sum to the whole."""
    view_a, view_b = rng.uniform(size=(2, 16, 8, 8, 3)).astype("float32")
    tiny = tiny_model(None)
    both = gradients(tiny, view_a, view_b)
    stopped = variants.StopGradient(tiny.encoder, tiny.projector, None)
    from_a, from_b = gradients(stopped, view_a, view_b), gradients(stopped, view_b, view_a)
    for path, gradient in both.items():
        np.testing.assert_allclose(from_a[path] + from_b[path], gradient, rtol=1e-3, atol=1e-4)
    largest = max(both, key=lambda path: np.abs(both[path]).max())
    assert not np.allclose(from_a[largest], both[largest], rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["WithPredictor", "WithPredictorAndStopGradient"])
def test_predictor_applies_to_view_a_only(tiny_model, rng, name):
    view_a, view_b = rng.uniform(size=(2, 16, 8, 8, 3)).astype("float32")
    tiny = tiny_model(None)
    model = getattr(variants, name)(tiny.encoder, tiny.projector, None)
    z_a, z_b, _ = tiny.embeddings(view_a, view_b, training=True)
    predicted_a, same_b, _ = model.embeddings(view_a, view_b, training=True)
    np.testing.assert_allclose(same_b, z_b, rtol=1e-5)
    first, gamma, beta, second = (w.numpy() for w in model.predictor.trainable_weights)
    hidden = standardized(z_a.numpy() @ first) * gamma + beta
    np.testing.assert_allclose(predicted_a, np.maximum(hidden, 0) @ second, rtol=1e-3, atol=1e-4)
    assert all(gradient is not None for gradient in gradients(model, view_a, view_b).values())


@pytest.fixture
def linear_encoder(monkeypatch):
    """Recipes build a linear encoder, because a ResNet takes seconds to trace."""

    def build(recipe):
        images = keras.Input((recipe.image_size, recipe.image_size, 3))
        return keras.Model(images, keras.layers.Dense(6)(keras.layers.Flatten()(images)))

    monkeypatch.setattr(Recipe, "build_encoder", build)


@pytest.mark.slow
@pytest.mark.parametrize("name", ablations.ABLATIONS)
def test_every_row_trains(name, linear_encoder):
    row = ablations.ABLATIONS[name]
    recipe = row.apply(TINY)
    model = row.build_model(recipe, seed=0)
    model.compile(recipe.build_optimizer(2, 8), row.build_loss(recipe), run_eagerly=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    images = data.digits().train.shuffled_batches(recipe.batch_size, recipe.load_size, seed=0)
    logs = model.fit(images, steps_per_epoch=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new), new.path


def test_rows_change_their_fields():
    fields = {
        "invariance_only": ("redundancy_weight", 0.0),
        "batch_size_x0.25": ("batch_size", 2),
        "projector_width_x2": ("projector_dims", (16, 8)),
        "projector_layers_3": ("projector_dims", (4, 4, 4)),
        "redundancy_weight_x4": ("redundancy_weight", 4 * TINY.redundancy_weight),
        "crop": ("blur_rates", (0.0, 0.0)),
        "redundancy_target_-1": ("redundancy_target", -1.0),
        "log_determinant": ("redundancy", "log_determinant"),
    }
    for name, (field, value) in fields.items():
        assert getattr(ablations.ABLATIONS[name].apply(TINY), field) == value
        assert ablations.ABLATIONS[name].changes_run(TINY)
    for name in ("baseline", "no_grayscale"):  # digits are gray
        assert not ablations.ABLATIONS[name].changes_run(TINY)
    assert not ablations.ABLATIONS["uncentered"].build_loss(TINY).centered
    assert set(ablations.MAIN) <= set(ablations.ABLATIONS)


@pytest.mark.slow
def test_table_marks_training_that_was_not_finite(linear_encoder):
    recipe = TINY.override(learning_rate=1e30, warmup_epochs=0.0, batch_size=512)
    source = data.digits()
    result = ablations.train_and_score(ablations.ABLATIONS["baseline"], recipe, source, seed=0)
    assert [result[name] for name in ("knn_accuracy", "linear_accuracy", "loss")] == [None] * 3
    table = ablations.table([{"row": "baseline", "seed": 0, **result}])
    assert table.splitlines()[-1] == "| baseline | not finite | | not finite | | 71.4 | |"


def test_table_has_means_deviations_and_differences():
    def result(row, seed, knn, linear):
        return {"row": row, "seed": seed, "knn_accuracy": knn, "linear_accuracy": linear}

    results = [
        result("baseline", 0, 0.8, 0.9),
        result("baseline", 1, 0.82, 0.9),
        result("uncentered", 0, 0.7, None),
        result("uncentered", 1, 0.7, 0.5),
        result("stop_gradient", 0, 0.815, 0.91),
    ]
    assert ablations.table(results).splitlines()[2:] == [
        "| baseline | 81.0 ± 1.4 | | 90.0 ± 0.0 | | 71.4 | |",
        "| uncentered | 70.0 ± 0.0 | -11.0 | not finite | | | |",
        "| stop_gradient | 81.5 | +0.5 | 91.0 | +1.0 | 70.5 | -0.9 |",
    ]


@pytest.mark.parametrize("module", [results, rows])
def test_docstring_examples(module):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, attempted = doctest.testmod(module, optionflags=options)
    assert failed == 0 < attempted

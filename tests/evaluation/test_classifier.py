import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.data import from_arrays
from keras_bt.evaluation import classifier, fine_tune, linear_evaluation


@pytest.fixture
def shades(rng):
    """Forty images of 8x8 pixels in two classes that differ in brightness."""
    labels = np.arange(40) % 2
    pixels = 60 + 130 * labels[:, None, None, None] + rng.integers(0, 30, (40, 8, 8, 3))
    return from_arrays(pixels.astype("uint8"), labels)


@pytest.fixture
def encoder():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dropout(0.1, seed=0),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="tiny",
    )


SETTINGS = {"classes": 2, "image_size": 8, "batch_size": 16}


def snapshot(encoder):
    return [variable.numpy() for variable in encoder.variables]


def changed_variables(encoder, before):
    """Names of the variables that differ from a snapshot."""
    pairs = zip(encoder.variables, before, strict=True)
    return {now.name for now, then in pairs if not np.array_equal(now.numpy(), then)}


@pytest.mark.slow
def test_linear_evaluation_learns_and_does_not_change_the_encoder(encoder, shades):
    before = snapshot(encoder)
    result = linear_evaluation(encoder, shades, shades, **SETTINGS, epochs=20)
    assert (result["epochs"], result["steps"]) == (20, 40)
    assert result["top1"] > 0.9 and result["top5"] == 1.0
    assert not changed_variables(encoder, before)


@pytest.mark.slow
def test_fine_tune_changes_weights_and_batch_norm_statistics(encoder, shades):
    before = snapshot(encoder)
    result = fine_tune(encoder, shades, shades, **SETTINGS, epochs=20)
    assert result["steps"] == 40 and result["top1"] > 0.9
    weights = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}
    assert weights <= changed_variables(encoder, before)


@pytest.mark.slow
def test_exported_encoder_trains_only_if_loaded_as_trainable(encoder, shades, tmp_path):
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    frozen, trainable = (keras_bt.load_encoder(path, trainable=flag) for flag in (False, True))
    before = snapshot(frozen)
    linear_evaluation(frozen, shades, shades, **SETTINGS, epochs=2)
    assert not changed_variables(frozen, before)
    assert fine_tune(trainable, shades, shades, **SETTINGS, epochs=20)["top1"] > 0.9
    assert len(changed_variables(trainable, before)) >= 6
    with pytest.raises(ValueError, match=r"has no trainable weights: .* trainable=True"):
        fine_tune(frozen, shades, shades, **SETTINGS)


@pytest.mark.slow
def test_same_seed_gives_same_weights(shades):
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    encoder.add(keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=0)))
    before = encoder.get_weights()

    def tuned(seed):
        encoder.set_weights(before)
        fine_tune(encoder, shades, shades, **SETTINGS, epochs=1, seed=seed)
        return encoder.get_weights()[0]

    first = tuned(seed=0)
    np.testing.assert_allclose(tuned(seed=0), first, atol=1e-7)
    assert not np.allclose(tuned(seed=1), first, atol=1e-5)


@pytest.mark.slow
def test_few_images_are_trained_on_for_more_epochs(encoder, shades, monkeypatch):
    protocol = dataclasses.replace(classifier.SEMI_SUPERVISED_PROTOCOL, least_steps=50)
    monkeypatch.setattr(classifier, "SEMI_SUPERVISED_PROTOCOL", protocol)
    few = shades.chosen(range(6))
    result = fine_tune(encoder, few, shades, classes=2, image_size=8)
    assert (result["epochs"], result["steps"]) == (50, 50)  # one batch of all six images
    result = fine_tune(encoder, shades, shades, classes=2, image_size=8, batch_size=4)
    assert (result["epochs"], result["steps"]) == (20, 200)


@pytest.mark.slow
def test_projector_does_not_change(tiny_model, shades):
    model = tiny_model()
    model(np.zeros((2, 8, 8, 3), "float32"))
    before = snapshot(model.projector)
    fine_tune(model, shades, shades, **SETTINGS, epochs=1)
    assert not changed_variables(model.projector, before)


def test_errors_name_the_wrong_input(encoder, shades):
    unlabelled = from_arrays(np.zeros((4, 8, 8), "uint8"), name="mine")
    with pytest.raises(ValueError, match="mine has no labels"):
        linear_evaluation(encoder, shades, unlabelled, **SETTINGS)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.\.1, got 0 to 2"):
        three = from_arrays(np.zeros((3, 8, 8), "uint8"), labels=range(3))
        linear_evaluation(encoder, three, shades, **SETTINGS)
    with pytest.raises(TypeError, match="must be a Keras model or layer to be fine-tuned"):
        fine_tune(lambda images, training: images, shades, shades, **SETTINGS)
    encoder.trainable = False
    with pytest.raises(ValueError, match="The encoder 'tiny' has no trainable weights"):
        fine_tune(encoder, shades, shades, **SETTINGS)


@pytest.mark.slow
def test_diverged_training_raises(encoder, shades):
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) after epoch \d"):
        fine_tune(encoder, shades, shades, **SETTINGS, epochs=5, encoder_learning_rate=1e30)


def test_top_accuracies_match_sorting(rng):
    logits, labels = rng.normal(size=(50, 8)), rng.integers(0, 8, 50)
    best = np.argsort(-logits, axis=1)
    accuracies = classifier._top_accuracies(tf.constant(logits), labels)
    assert accuracies["top1"] == np.mean(best[:, 0] == labels)
    assert accuracies["top5"] == np.mean([labels[i] in best[i, :5] for i in range(50)])
    assert classifier._top_accuracies(tf.constant(logits[:, :3]), labels % 3)["top5"] == 1.0


@pytest.fixture
def edges(rng):
    """Images of 8x24 pixels whose class is the brightness outside their central square."""
    labels = np.arange(40) % 2
    pixels = rng.integers(60, 190, (40, 8, 24, 3))
    pixels[:, :, :8] = pixels[:, :, 16:] = 30 + 180 * labels[:, None, None, None]
    return from_arrays(pixels.astype("uint8"), labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framing", "sees_edges"), [("square", False), ("stretch", True), ("pad", True)]
)
def test_linear_evaluation_follows_the_framing(encoder, edges, framing, sees_edges):
    images = edges.framed(framing)
    result = linear_evaluation(encoder, images, images, **SETTINGS, epochs=20)
    assert (result["top1"] > 0.9) == sees_edges


@pytest.mark.slow
def test_training_images_are_cropped_from_all_of_whole_images(encoder, edges):
    """Views of one's own, which take no sizes, get central squares."""
    seen = {}

    def record(name, view):
        def call(inputs):
            seen[name] = inputs
            return view(inputs)

        call.takes_sizes = name == "sizes"
        return call

    view = keras_bt.BarlowTwinsView(8, seed=0)
    for name, own in (("sizes", view), ("squares", lambda images: tf.cast(images, tf.float32))):
        whole = edges.framed("whole")
        linear_evaluation(encoder, whole, whole, **SETTINGS, epochs=1, view=record(name, own))
    assert sorted(seen["sizes"]) == ["images", "sizes"]
    assert seen["squares"].shape == (16, 8, 8, 3)

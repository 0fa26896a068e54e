import keras
import numpy as np
import pytest

import keras_bt
from keras_bt.data import from_arrays
from keras_bt.evaluation import crop_and_flip, fine_tune, linear_evaluation


@pytest.fixture
def shades(rng):
    """Forty images of 8x8 pixels, each of one of two shades, that are told apart at once."""
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


def moved(encoder, before):
    pairs = zip(encoder.variables, before, strict=True)
    return {now.name for now, then in pairs if not np.array_equal(now.numpy(), then)}


def test_linear_evaluation_learns_and_leaves_the_encoder_to_the_bit(encoder, shades):
    before = snapshot(encoder)
    found = linear_evaluation(encoder, shades, shades, **SETTINGS, epochs=20)
    assert (found["epochs"], found["steps"]) == (20, 40)
    assert found["top1"] > 0.9 and found["top5"] == 1.0
    assert not moved(encoder, before)


def test_fine_tuning_moves_weights_and_statistics_of_the_encoder(encoder, shades):
    before = snapshot(encoder)
    found = fine_tune(encoder, shades, shades, **SETTINGS, epochs=20)
    assert found["steps"] == 40 and found["top1"] > 0.9
    weights = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}
    assert weights <= moved(encoder, before)


def test_an_exported_encoder_is_frozen_or_fine_tuned_as_it_was_loaded(encoder, shades, tmp_path):
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    frozen, trainable = (keras_bt.load_encoder(path, trainable=flag) for flag in (False, True))
    before = snapshot(frozen)
    linear_evaluation(frozen, shades, shades, **SETTINGS, epochs=2)
    assert not moved(frozen, before)
    assert fine_tune(trainable, shades, shades, **SETTINGS, epochs=20)["top1"] > 0.9
    assert len(moved(trainable, before)) >= 6
    with pytest.raises(ValueError, match=r"has nothing to train: it is frozen, .* trainable=True"):
        fine_tune(frozen, shades, shades, **SETTINGS)


def test_the_same_seed_trains_the_same(shades):
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


def test_few_images_are_seen_in_more_epochs(encoder, shades, monkeypatch):
    monkeypatch.setattr("keras_bt.evaluation.protocols.FINE_TUNE_STEPS", 50)
    few = shades.chosen(range(6))
    found = fine_tune(encoder, few, shades, classes=2, image_size=8)
    assert (found["epochs"], found["steps"]) == (50, 50)  # one batch of all six
    found = fine_tune(encoder, shades, shades, classes=2, image_size=8, batch_size=4)
    assert (found["epochs"], found["steps"]) == (20, 200)


def test_a_projector_is_not_touched(tiny_model, shades):
    model = tiny_model()
    model(np.zeros((2, 8, 8, 3), "float32"))
    before = snapshot(model.projector)
    fine_tune(model, shades, shades, **SETTINGS, epochs=1)
    assert not moved(model.projector, before)


def test_wrong_input_is_named(encoder, shades):
    unlabelled = from_arrays(np.zeros((4, 8, 8), "uint8"), name="mine")
    with pytest.raises(ValueError, match="mine has no labels"):
        linear_evaluation(encoder, shades, unlabelled, **SETTINGS)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.\.1, got 0 to 2"):
        three = from_arrays(np.zeros((3, 8, 8), "uint8"), labels=range(3))
        linear_evaluation(encoder, three, shades, **SETTINGS)
    with pytest.raises(TypeError, match="must be a Keras model or layer to be fine-tuned"):
        fine_tune(lambda images, training: images, shades, shades, **SETTINGS)
    encoder.trainable = False
    with pytest.raises(ValueError, match="The encoder 'tiny' has nothing to train: it is frozen"):
        fine_tune(encoder, shades, shades, **SETTINGS)


def test_only_place_and_mirror_of_an_image_change():
    half = np.zeros((64, 8, 8, 3), "float32")
    half[:, :, :4] = [0.2, 0.5, 0.9]
    views = crop_and_flip(8, crop_area=(0.99, 1.0))(half).numpy()
    left = views[:, :, :4].mean(axis=(1, 2, 3)) > views[:, :, 4:].mean(axis=(1, 2, 3))
    assert 16 < left.sum() < 48
    brightest = views.max(axis=(1, 2))
    np.testing.assert_allclose(brightest, np.broadcast_to([0.2, 0.5, 0.9], (64, 3)), atol=1e-6)
    unmirrored = crop_and_flip(8, crop_area=(0.99, 1.0), flip_rate=0.0)(half).numpy()
    assert (unmirrored[:, :, :3].mean(axis=(1, 2, 3)) > 0.4).all()


def test_a_training_that_diverges_ends(encoder, shades):
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) after epoch \d"):
        fine_tune(encoder, shades, shades, **SETTINGS, epochs=5, encoder_learning_rate=1e30)

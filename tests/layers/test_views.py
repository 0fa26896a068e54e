"""The views: same draws everywhere, draws per image, published rates."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import keras_bt


@pytest.fixture
def photos(rng):
    """Eight smooth uint8 images of 40x48 pixels."""
    coarse = tf.constant(rng.integers(0, 256, (8, 6, 6, 3)), tf.float32)
    smooth = tf.image.resize(coarse, (40, 48), "bicubic")
    return tf.cast(tf.clip_by_value(smooth, 0, 255), tf.uint8).numpy()


def view(**arguments):
    return keras_bt.BarlowTwinsView(32, **{"solarize_rate": 0.2, "seed": 0, **arguments})


def only(**arguments):
    """A view with all augmentations off, except for the given arguments."""
    off = dict.fromkeys(
        ("flip_rate", "jitter_rate", "grayscale_rate", "blur_rate", "solarize_rate"), 0.0
    )
    whole = {"crop_area": (1.0, 1.0), "aspect_ratio": (1.0, 1.0)}
    return keras_bt.BarlowTwinsView(8, **{**off, **whole, "seed": 0, **arguments})


@pytest.mark.slow
def test_same_draws_eagerly_in_functions_in_tf_data_and_under_xla(photos):
    expected = [(eager := view())(photos).numpy(), eager(photos).numpy()]
    assert np.abs(expected[0] - expected[1]).mean() > 0.05  # the second call has other draws

    function, compiled, in_data = view(), view(), view()
    function = tf.function(function, autograph=False)
    compiled = tf.function(compiled, autograph=False, jit_compile=True)
    dataset = iter(tf.data.Dataset.from_tensors(photos).repeat(2).map(in_data))
    for number, reference in enumerate(expected):
        for name, got in (
            ("function", function(photos)),
            ("XLA", compiled(photos)),
            ("tf.data", next(dataset)),
        ):
            difference = np.abs(got.numpy() - reference)
            # A rounding at an edge (a hue's sextant, solarize's threshold) may flip a pixel.
            assert (difference > 1e-4).mean() < 2e-4, (name, number)


@pytest.mark.slow
def test_xla_gives_the_same_views_over_many_calls(rng):
    """Enough images for rare cases: noise has every order of the three channels."""
    noise = rng.integers(0, 256, (64, 8, 8, 3)).astype("uint8")
    eager = keras_bt.BarlowTwinsView(8, seed=0)
    compiled = tf.function(keras_bt.BarlowTwinsView(8, seed=0), autograph=False, jit_compile=True)
    worst = []
    for _ in range(25):
        worst.extend(np.abs(eager(noise) - compiled(noise)).max((1, 2, 3)))
    assert np.mean(np.array(worst) > 1e-3) < 0.005


def test_uint8_and_float_images_give_the_same_view(photos):
    np.testing.assert_allclose(view()(photos), view()(photos / np.float32(255)), atol=1e-5)


@pytest.mark.slow
def test_takes_one_image_without_a_batch(photos):
    alone = view()(photos[0])
    assert alone.shape == (32, 32, 3)
    np.testing.assert_allclose(alone, view()(photos[:1])[0], atol=1e-6)
    in_data = next(iter(tf.data.Dataset.from_tensor_slices(photos).map(view())))
    np.testing.assert_allclose(in_data, alone, atol=1e-4)


SIDES = st.integers(1, 9)


@pytest.mark.slow
@given(data=st.data())
def test_pixels_of_any_view_are_in_range(data):
    shape = (data.draw(st.integers(1, 2)), data.draw(SIDES), data.draw(SIDES), 3)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    contents = {
        "black": np.zeros(shape),
        "white": np.ones(shape),
        "one color": np.broadcast_to(rng.uniform(size=3), shape),
        "extremes": rng.integers(0, 2, shape),
        "noise": rng.uniform(size=shape),
    }
    image = contents[data.draw(st.sampled_from(list(contents)))]
    dtype = data.draw(st.sampled_from(["uint8", "float16", "float32"]))
    image = (image * (255 if dtype == "uint8" else 1)).astype(dtype)
    options = {
        "interpolation": data.draw(st.sampled_from(["bicubic", "bilinear"])),
        "dtype": data.draw(st.sampled_from(["float16", "float32"])),
        "hue": data.draw(st.sampled_from([0.0, 0.1, 0.5])),
        "jitter_rate": data.draw(st.sampled_from([0.0, 1.0])),
        "blur_rate": 0.8,
        "solarize_rate": 0.5,
        "seed": data.draw(st.integers(0, 99)),
    }
    size = data.draw(st.tuples(SIDES, SIDES))
    for pair in (keras_bt.paper_views, keras_bt.small_image_views):
        for view in pair(size, **options):
            pixels = view(image)
            assert pixels.shape == (shape[0], *size, 3) and pixels.dtype == options["dtype"]
            assert 0 <= pixels.numpy().min() and pixels.numpy().max() <= 1


def test_blurred_white_is_not_above_white():
    white = np.ones((64, 16, 16, 3), "float32")
    assert keras_bt.BarlowTwinsView(16, jitter_rate=0.0, seed=0)(white).numpy().max() <= 1


def test_dict_of_images_keeps_its_labels(photos):
    out = view()({"images": tf.constant(photos), "labels": tf.range(8)})
    assert out["images"].shape == (8, 32, 32, 3)
    np.testing.assert_array_equal(out["labels"], np.arange(8))


def test_each_image_has_its_own_draws(photos):
    same = np.repeat(photos[:1], 64, axis=0)
    views = view()(same).numpy().reshape(64, -1)
    distances = np.abs(views[:, None] - views[None]).mean(-1)
    assert (distances[~np.eye(64, dtype=bool)] > 1e-3).all()


@pytest.mark.slow
def test_seeds_determine_the_draws(photos):
    np.testing.assert_array_equal(view(seed=0)(photos), view(seed=0)(photos))
    assert not np.allclose(view(seed=0)(photos), view(seed=1)(photos), atol=0.01)
    assert not np.allclose(view(seed=None)(photos), view(seed=None)(photos), atol=0.01)
    keras.utils.set_random_seed(5)
    first = view(seed=None)(photos)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(view(seed=None)(photos), first)


def test_output_has_the_given_size_and_is_in_range(photos):
    out = keras_bt.BarlowTwinsView((24, 20), seed=0)(photos)
    assert out.shape == (8, 24, 20, 3) and out.dtype == tf.float32
    assert out.numpy().min() >= 0 and out.numpy().max() <= 1


def test_all_augmentations_off_keep_the_image(photos):
    small = tf.image.resize(photos, (8, 8)) / 255.0
    np.testing.assert_allclose(only()(small), small, atol=1e-6)


def rate(changed):
    return np.asarray(changed).mean()


COUNT, TOLERANCE = 4000, 0.03


@pytest.mark.slow
@pytest.mark.parametrize("expected", [0.2, 0.5, 0.8])
def test_augmentations_apply_at_the_given_rates(rng, expected):
    images = np.broadcast_to(rng.uniform(0.55, 0.9, (1, 8, 8, 3)), (COUNT, 8, 8, 3))
    images = images.astype("float32")

    def changed(**arguments):
        out = only(**arguments)(images).numpy()
        return np.abs(out - images).reshape(COUNT, -1).max(1) > 1e-4

    for name in ("flip_rate", "grayscale_rate", "solarize_rate", "blur_rate"):
        extra = {"blur_sigma": (1.0, 1.0)} if name == "blur_rate" else {}
        assert rate(changed(**{name: expected}, **extra)) == pytest.approx(
            expected, abs=TOLERANCE
        ), name
    strong = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.3}
    assert rate(changed(jitter_rate=expected, **strong)) == pytest.approx(expected, abs=TOLERANCE)


def test_draws_of_augmentations_are_independent(rng):
    images = np.broadcast_to(rng.uniform(0.55, 0.9, (1, 8, 8, 3)), (COUNT, 8, 8, 3))
    images = images.astype("float32")
    out = only(flip_rate=0.5, solarize_rate=0.5)(images).numpy()
    solarized = out.mean((1, 2, 3)) < 0.5
    brightened = np.where(solarized[:, None, None, None], 1 - out, out)
    flipped = np.abs(brightened - images).max((1, 2, 3)) > 1e-4
    assert np.corrcoef(solarized, flipped)[0, 1] == pytest.approx(0, abs=0.06)


def test_brightness_factors_fill_their_range():
    images = tf.fill([COUNT, 8, 8, 3], 0.5)
    jitter = {"jitter_rate": 1.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    factors = 2 * only(brightness=0.4, **jitter)(images).numpy()[:, 0, 0, 0]
    assert factors.min() == pytest.approx(0.6, abs=0.01)
    assert factors.max() == pytest.approx(1.4, abs=0.01)
    assert factors.mean() == pytest.approx(1.0, abs=0.02)


def test_solarize_inverts_the_upper_half():
    levels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, -1)
    solarizing = keras_bt.BarlowTwinsView(
        16,
        crop_area=(1.0, 1.0),
        aspect_ratio=(1.0, 1.0),
        flip_rate=0.0,
        jitter_rate=0.0,
        grayscale_rate=0.0,
        blur_rate=0.0,
        solarize_rate=1.0,
        seed=0,
    )
    out = solarizing(levels).numpy() * 255
    expected = np.where(levels < 128, levels, 255 - levels)
    np.testing.assert_allclose(out, expected, atol=1e-3)


def test_saved_view_continues_its_draws(photos, tmp_path):
    original = keras.Sequential([keras.Input((40, 48, 3), dtype="uint8"), view()])
    original(photos)
    original.save(tmp_path / "view.keras")
    reloaded = keras.saving.load_model(tmp_path / "view.keras")
    np.testing.assert_allclose(reloaded(photos), original(photos), atol=1e-6)


def test_mixed_precision_policy_keeps_pixels_in_float32(photos):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        out = view()(photos)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(out, view()(photos))
    assert view(dtype="bfloat16")(photos).dtype == tf.bfloat16


def test_is_a_keras_cv_layer():
    assert isinstance(view(), keras_cv.layers.VectorizedBaseImageAugmentationLayer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_area": (0.5, 1.5)}, r"crop_area must be.*got \(0.5, 1.5\)"),
        ({"crop_area": (0.9, 0.1)}, r"crop_area must be"),
        ({"aspect_ratio": (0.0, 1.0)}, "aspect_ratio must be"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma must be"),
        ({"flip_rate": 1.1}, r"flip_rate must lie in \[0, 1\], got 1.1"),
        ({"solarize_threshold": 128}, r"solarize_threshold must lie in \[0, 1\], got 128"),
        ({"hue": 0.6}, r"hue must lie in \[0, 0.5\] turns, got 0.6"),
        ({"interpolation": "nearest"}, "interpolation must be .*'nearest'"),
    ],
)
def test_rejects_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        view(**arguments)


@pytest.mark.parametrize("image_size", [4.0, None, (4,), (4, 4, 4), (4.5, 4), "4"])
def test_rejects_image_sizes_other_than_one_or_two_ints(image_size):
    with pytest.raises(ValueError, match="image_size must be an int or two"):
        keras_bt.BarlowTwinsView(image_size)
    assert keras_bt.BarlowTwinsView(np.int64(4)).image_size == (4, 4)


@pytest.mark.parametrize("area", [0.5, (0.5,), (0.1, 0.5, 1.0)])
def test_rejects_ranges_that_are_not_pairs(area):
    with pytest.raises(ValueError, match=r"crop_area must be \(low, high\)"):
        view(crop_area=area)


def test_rejects_images_of_unknown_size():
    spec = tf.TensorSpec((None, None, 3))
    unknown = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=spec)
    with pytest.raises(ValueError, match=r"fixed height and width, got \(None, None, 3\)"):
        unknown.map(view())


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (8, 1), (1, 9)])
def test_tiny_images_give_finite_pixels(shape):
    out = view(aspect_ratio=(3.0, 4.0))(tf.zeros([4, *shape, 3], tf.uint8))
    assert np.isfinite(out).all()


def test_rejects_an_image_size_of_zero():
    with pytest.raises(ValueError, match="image_size must be at least 1 pixel"):
        keras_bt.BarlowTwinsView(0)


def test_rejects_wrong_images():
    with pytest.raises(ValueError, match=r"must be RGB.*\(2, 8, 8, 1\)"):
        view()(tf.zeros([2, 8, 8, 1]))
    with pytest.raises(ValueError, match=r"in \[0, 1\].*\[0, 200\]"):
        view()(np.float32([0.0, 200.0]).repeat(96).reshape(1, 8, 8, 3))

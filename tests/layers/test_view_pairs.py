"""Pairs of views: independent draws, published settings."""

import numpy as np

import keras_bt


def test_the_two_views_of_a_pair_draw_independently(rng):
    photos = rng.integers(0, 256, (8, 40, 48, 3)).astype("uint8")
    view_a, view_b = keras_bt.small_image_views(32, seed=0, solarize_rate=0.0)
    assert np.abs(view_a(photos) - view_b(photos)).mean() > 0.02
    assert view_a.seed != view_b.seed


def test_paper_views_have_the_published_settings():
    view_a, view_b = keras_bt.paper_views(224, seed=0)
    for one in (view_a, view_b):
        assert one.image_size == (224, 224) and one.interpolation == "bicubic"
        assert one.crop_area == (0.08, 1.0) and one.aspect_ratio == (3 / 4, 4 / 3)
        assert (one.brightness, one.contrast, one.saturation, one.hue) == (0.4, 0.4, 0.2, 0.1)
        assert (one.flip_rate, one.jitter_rate, one.grayscale_rate) == (0.5, 0.8, 0.2)
        assert one.blur_sigma == (0.1, 2.0)
    assert (view_a.blur_rate, view_b.blur_rate) == (1.0, 0.1)
    assert (view_a.solarize_rate, view_b.solarize_rate) == (0.0, 0.2)


def test_overrides_apply_to_both_views():
    for pair in (keras_bt.paper_views, keras_bt.small_image_views):
        assert [one.blur_rate for one in pair(32, blur_rate=0.7)] == [0.7, 0.7]

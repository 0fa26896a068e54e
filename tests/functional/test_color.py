"""Color jitter, grayscale and solarize against golden numbers of torchvision and Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_bt.functional.color import color_jitter, grayscale, solarize


def jittered(images, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, order=(0, 1, 2, 3)):
    factors = (tf.constant([value], tf.float32) for value in (brightness, contrast, saturation))
    return color_jitter(images, *factors, tf.constant([hue], tf.float32), tf.constant([order]))


def test_factors_of_one_and_a_hue_of_zero_change_nothing(augment, planar):
    small = planar(augment["cifar0/small"])
    np.testing.assert_allclose(jittered(small), small, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["cifar0", "china"])
def test_color_operations_match_torchvision(augment, planar, assert_close, source):
    small = planar(augment[f"{source}/small"])
    checked = 0
    for key in augment.files:
        name, operation, amount = (key + "//").split("/")[:3]
        if name == source and operation in ("brightness", "contrast", "saturation", "hue"):
            assert_close(jittered(small, **{operation: float(amount)}), augment[key])
            checked += 1
    assert checked >= 8
    gray = grayscale(small)
    assert_close(tf.repeat(gray, 3, axis=1), augment[f"{source}/grayscale"])
    assert_close(solarize(small), augment[f"{source}/solarize128"], mean=2.55e-4)


@pytest.mark.slow
def test_jitter_follows_the_order_of_each_image(augment, planar):
    small = planar(augment["cifar0/small"])
    factors = {"brightness": 1.4, "contrast": 0.6, "saturation": 1.2, "hue": 0.1}
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)):
        one_by_one = small
        for name in sorted(factors, key=lambda name: order[list(factors).index(name)]):
            one_by_one = jittered(one_by_one, **{name: factors[name]})
        at_once = jittered(small, **factors, order=order)
        np.testing.assert_allclose(at_once, one_by_one, atol=2e-5)
    first, last = (jittered(small, **factors, order=o) for o in ((0, 1, 2, 3), (3, 2, 1, 0)))
    assert np.abs(first - last).mean() > 1 / 255


@pytest.mark.slow
@given(data=st.data())
def test_jitter_of_few_colors_stays_in_range(data):
    """Gray, black and white, where hue and saturation would divide by 0."""
    levels = st.sampled_from([0.0, 1e-30, 0.5, 1.0])
    pixels = data.draw(st.lists(st.tuples(levels, levels, levels), min_size=1, max_size=4))
    factors = {
        name: data.draw(st.floats(0, 3, width=32))
        for name in ("brightness", "contrast", "saturation")
    }
    hue = data.draw(st.floats(-0.5, 0.5, width=32))
    order = data.draw(st.permutations(range(4)))
    images = tf.transpose(tf.constant([[pixels]], tf.float32), [0, 3, 1, 2])
    out = jittered(images, **factors, hue=hue, order=order).numpy()
    assert 0 <= out.min() and out.max() <= 1


def test_jitter_without_hue_equals_a_hue_of_zero(augment, planar):
    small = planar(augment["cifar0/small"])
    factors = [tf.constant([factor]) for factor in (1.3, 0.7, 1.2)]
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        with_zero = color_jitter(small, *factors, tf.zeros([1]), tf.constant([order]))
        without = color_jitter(small, *factors, None, tf.constant([order]))
        np.testing.assert_allclose(with_zero, without, atol=1e-5)

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bt.layers.random import uniform_draws


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_parts_of_a_batch_draw_the_rows_of_the_whole_batch(jit_compile):
    def draws(rows, first_row):
        state = keras.Variable([7, 3], dtype="int64")
        table = tf.function(
            lambda first: uniform_draws(state, rows, 36, first), jit_compile=jit_compile
        )
        return table(tf.constant(first_row, tf.int64)).numpy()

    whole = draws(12, 0)
    for rows, first in ((6, 0), (6, 6), (4, 8), (1, 11)):
        np.testing.assert_array_equal(draws(rows, first), whole[first : first + rows])
    assert len(np.unique(whole)) == whole.size


def test_draws_are_uniform():
    state = keras.Variable([0, 0], dtype="int64")
    draws = uniform_draws(state, 100, 1000).numpy()
    assert draws.min() >= 0 and draws.max() < 1
    np.testing.assert_allclose(np.histogram(draws, 10, (0, 1))[0], 10000, rtol=0.05)

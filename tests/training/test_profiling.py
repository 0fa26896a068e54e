import json
import time

import keras
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.training import profiling
from keras_bt.training.profiling import STAGES, StepProfile, Stopwatch, format_profile


def profile_of(model, dataset, steps=4, **compile_arguments):
    model.compile("sgd", **compile_arguments)
    profile = StepProfile(warm_up_steps=2, steps=steps)
    model.fit(dataset, steps_per_epoch=4, epochs=4, verbose=0, callbacks=[profile])
    json.dumps(profile.result)
    assert sum(profile.result["shares"].values()) == pytest.approx(1.0)
    assert profile.result["seconds"] > 0
    return profile.result


@pytest.fixture
def dataset(images):
    return tf.data.Dataset.from_tensors(images).repeat().prefetch(2)


@pytest.mark.slow
@pytest.mark.parametrize("hold_nonfinite", [False, True])
def test_every_stage_has_a_share(tiny_model, dataset, hold_nonfinite):
    result = profile_of(tiny_model(), dataset, hold_nonfinite=hold_nonfinite)
    assert result["steps"] == 4
    assert all(result["shares"][stage] > 0 for stage in STAGES)
    assert result["shares"]["waiting for input"] < 0.5


@pytest.mark.slow
def test_slow_input_makes_steps_wait(tiny_model, dataset):
    def slow(images):
        time.sleep(0.1)
        return images

    def read(images):
        return tf.ensure_shape(tf.numpy_function(slow, [images], tf.uint8), (16, 8, 8, 3))

    result = profile_of(tiny_model(), dataset.map(read))
    assert result["shares"]["waiting for input"] > 0.7
    assert result["input_threads"] > 0.5


@pytest.mark.slow
def test_views_in_tf_data_count_as_input(tiny_model, images):
    view_a, view_b = keras_bt.small_image_views(8, seed=0)
    dataset = tf.data.Dataset.from_tensors(images).repeat()
    result = profile_of(
        tiny_model(views=None), dataset.map(lambda batch: (view_a(batch), view_b(batch)))
    )
    assert result["shares"]["views"] == 0
    assert result["input_views"] > 0.5


@pytest.mark.slow
def test_compiled_step_has_no_stages(tiny_model, dataset):
    shares = profile_of(tiny_model(), dataset, jit_compile=True)["shares"]
    assert set(shares) == {"waiting for input", "compiled step"}


@pytest.mark.slow
def test_short_training_has_a_shorter_profile(tiny_model, dataset):
    model, profile = tiny_model(), StepProfile(warm_up_steps=2, steps=4)
    model.compile("sgd")
    model.fit(dataset, steps_per_epoch=4, verbose=0, callbacks=[profile])
    assert profile.result is None
    model.fit(dataset, steps_per_epoch=7, verbose=0, callbacks=[profile])
    assert profile.result["steps"] == 2


def test_outermost_scope_is_the_stage(tiny_model):
    model = tiny_model()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(name="adam_w")))
    stage_of = profiling._stage_finder(model)
    for name, stage in {
        "StatefulPartitionedCall/gradient_tape/encoder_1/views/conv/Conv2D:Conv2D": "encoder",
        "StatefulPartitionedCall/cond/then/_3/cond/adam_w/Sub_1:Sub": "optimizer",
        "view_b_1/MatMul:MatMul": "views",
        "StatefulPartitionedCall/lossy/Sub:Sub": "rest",
        "loss:Sub": "rest",
    }.items():
        assert stage_of(name) == stage, name


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0 and 20"):
        StepProfile(warm_up_steps=0)


def test_part_inside_another_counts_once():
    stopwatch = Stopwatch()

    class Part:
        def save(self, seconds):
            time.sleep(seconds)

    part = Part()
    stopwatch.measure_method(part, "save", "inner")
    with stopwatch.measure("outer"):
        time.sleep(0.02)
        part.save(0.1)
        part.save(seconds=0.1)
    assert 0.2 <= stopwatch.seconds["inner"] and 0.02 <= stopwatch.seconds["outer"] < 0.15
    assert sum(stopwatch.shares().values()) == pytest.approx(1.0)


def test_text_has_a_line_for_each_share():
    step = {"seconds": 0.0123, "shares": {"encoder": 0.6, "views": 0.4}, "input_threads": 0.5}
    text = format_profile({"step": {**step, "input_views": 0.25}, "run": {"training": 1.0}})
    first, *_, last = text.splitlines()
    assert first == (
        "share of a step's 12.3 ms; input used 0.50 threads, 25 % of their time for views"
    )
    assert last == "   100.0 %  training" and len(text.splitlines()) == 5

import json
import time

import keras
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.training import profiling as profile
from keras_bt.training.profiling import STAGES, StepProfile, Stopwatch


def profiled(model, dataset, steps=4, **compiled):
    model.compile("sgd", **compiled)
    found = StepProfile(warm_up_steps=2, steps=steps)
    model.fit(dataset, steps_per_epoch=4, epochs=4, verbose=0, callbacks=[found])
    json.dumps(found.result)
    assert sum(found.result["shares"].values()) == pytest.approx(1.0)
    assert found.result["seconds"] > 0
    return found.result


@pytest.fixture
def dataset(images):
    return tf.data.Dataset.from_tensors(images).repeat().prefetch(2)


@pytest.mark.parametrize("hold_nonfinite", [False, True])
def test_every_stage_has_its_share(tiny_model, dataset, hold_nonfinite):
    found = profiled(tiny_model(), dataset, hold_nonfinite=hold_nonfinite)
    assert found["steps"] == 4
    assert all(found["shares"][stage] > 0 for stage in STAGES)
    assert found["shares"]["waiting for input"] < 0.5


def test_slow_input_is_waited_for(tiny_model, dataset):
    def slow(images):
        time.sleep(0.1)
        return images

    def read(images):
        return tf.ensure_shape(tf.numpy_function(slow, [images], tf.uint8), (16, 8, 8, 3))

    found = profiled(tiny_model(), dataset.map(read))
    assert found["shares"]["waiting for input"] > 0.7
    assert found["input_threads"] > 0.5


def test_views_in_the_pipeline_are_its_work(tiny_model, images):
    view_a, view_b = keras_bt.small_image_views(8, seed=0)
    dataset = tf.data.Dataset.from_tensors(images).repeat()
    found = profiled(
        tiny_model(views=None), dataset.map(lambda batch: (view_a(batch), view_b(batch)))
    )
    assert found["shares"]["views"] == 0
    assert found["input_views"] > 0.5


def test_a_compiled_step_has_no_stages(tiny_model, dataset):
    shares = profiled(tiny_model(), dataset, jit_compile=True)["shares"]
    assert set(shares) == {"waiting for input", "compiled step"}


def test_too_few_steps_are_no_error(tiny_model, dataset):
    model, found = tiny_model(), StepProfile(warm_up_steps=2, steps=4)
    model.compile("sgd")
    model.fit(dataset, steps_per_epoch=4, verbose=0, callbacks=[found])
    assert found.result is None
    model.fit(dataset, steps_per_epoch=7, verbose=0, callbacks=[found])
    assert found.result["steps"] == 2


def test_names_of_operations_are_read_from_the_left(tiny_model):
    model = tiny_model()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(name="adam_w")))
    stage_of = profile._stage_of(model)
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


def test_a_part_within_another_is_not_its_time():
    watch = Stopwatch()

    class Part:
        def save(self, seconds):
            time.sleep(seconds)

    part = Part()
    watch.watch(part, "save", "inner")
    with watch.of("outer"):
        time.sleep(0.02)
        part.save(0.1)
        part.save(seconds=0.1)
    assert 0.2 <= watch.seconds["inner"] and 0.02 <= watch.seconds["outer"] < 0.15
    assert sum(watch.shares().values()) == pytest.approx(1.0)


def test_report_has_a_line_a_share():
    step = {"seconds": 0.0123, "shares": {"encoder": 0.6, "views": 0.4}, "input_threads": 0.5}
    text = profile.report({"step": {**step, "input_views": 0.25}, "run": {"training": 1.0}})
    first, *_, last = text.splitlines()
    assert first == (
        "share of a step's 12.3 ms; beside it 0.50 threads for input, 25 % of that for views"
    )
    assert last == "   100.0 %  training" and len(text.splitlines()) == 5

import numpy as np

from keras_bt import data
from keras_bt.evaluation import EmbeddingHealth, default_monitors
from keras_bt.evaluation.monitors import EncoderMonitor
from keras_bt.evaluation.schedule import (
    LEAST_IMAGES,
    MONITOR_IMAGES,
    MONITOR_RUNS,
    MONITOR_TIME_SHARE,
    STEP_PASSES,
    schedule_monitors,
)


def source(count, test_count=None):
    def images(count):
        return data.from_arrays(np.zeros((count, 1, 1, 3), "uint8"), labels=range(count))

    test = None if test_count is None else images(test_count)
    return data.Source("mine", images(count), test=test, classes=count)


def test_monitors_run_20_times_in_a_long_training():
    assert schedule_monitors(source(100_000), 400, 400 * 100_000) == (20, *MONITOR_IMAGES)
    assert schedule_monitors(source(100_000), 401, 401 * 100_000).every_epochs == 20


def test_monitors_take_about_their_share_of_the_time():
    labelled = source(2000, 500)
    passes = 3 * 512 + 2000 + 500
    for runs in MONITOR_RUNS:
        enough = int(passes * runs / (MONITOR_TIME_SHARE * STEP_PASSES)) + 1
        assert schedule_monitors(labelled, 100, enough).every_epochs == 100 // runs
    short = schedule_monitors(labelled, 100, enough // 2)
    assert short.every_epochs == 10
    assert LEAST_IMAGES[0] < short.train_images < MONITOR_IMAGES[0]
    assert schedule_monitors(labelled, 50, 100) == (5, *LEAST_IMAGES)


def test_problems_show_in_the_first_fifth():
    for epochs in (10, 50, 99, 1000):
        assert schedule_monitors(source(2000, 500), epochs, 100).every_epochs <= epochs / 5
    assert schedule_monitors(source(2000, 500), 1, 100).every_epochs == 1


def test_default_monitors_need_labels_for_accuracies():
    settings = {"image_size": 1, "batch_size": 4, "epochs": 100}
    (health,) = default_monitors(source(8), **settings)
    assert isinstance(health, EmbeddingHealth) and health.batch_size == 4
    accuracies, health = default_monitors(source(8, 4), **settings)
    assert isinstance(accuracies, EncoderMonitor) and isinstance(health, EmbeddingHealth)
    assert list(accuracies.accuracies) == ["knn_accuracy"]
    accuracies, _ = default_monitors(source(8, 4), **settings, linear=True)
    assert list(accuracies.accuracies) == ["knn_accuracy", "linear_accuracy"]

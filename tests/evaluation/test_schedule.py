import numpy as np

from keras_bt import data
from keras_bt.evaluation import EmbeddingHealth, default_monitors
from keras_bt.evaluation.monitors import EncoderMonitor
from keras_bt.evaluation.schedule import MONITOR_TIME_SHARE, STEP_PASSES, monitor_every_epochs


def source(count, test_count=None):
    def images(count):
        return data.from_arrays(np.zeros((count, 1, 1, 3), "uint8"), labels=range(count))

    test = None if test_count is None else images(test_count)
    return data.Source("mine", images(count), test=test, classes=count)


def test_monitors_run_at_most_20_times():
    assert monitor_every_epochs(source(100_000), epochs=400) == 20
    assert monitor_every_epochs(source(100_000), epochs=401) == 21


def test_monitors_take_at_most_their_share_of_the_time():
    every_epochs = monitor_every_epochs(source(2000, 500), epochs=1)
    passes = 3 * 512 + 2000 + 500
    assert passes <= MONITOR_TIME_SHARE * STEP_PASSES * 2000 * every_epochs < passes + 240


def test_default_monitors_need_labels_for_accuracies():
    settings = {"image_size": 1, "batch_size": 4, "epochs": 100}
    (health,) = default_monitors(source(8), **settings)
    assert isinstance(health, EmbeddingHealth) and health.batch_size == 4
    accuracies, health = default_monitors(source(8, 4), **settings)
    assert isinstance(accuracies, EncoderMonitor) and isinstance(health, EmbeddingHealth)
    assert list(accuracies.accuracies) == ["knn_accuracy"]
    accuracies, _ = default_monitors(source(8, 4), **settings, linear=True)
    assert list(accuracies.accuracies) == ["knn_accuracy", "linear_accuracy"]

import keras
import numpy as np
import pytest

from keras_bt.run import MetricsLog, StopAtNonFinite


def test_a_loss_that_is_no_number_ends_the_training(tmp_path, tiny_model, images):
    model = tiny_model()
    model.compile(keras.optimizers.SGD(1e30))
    log = MetricsLog(tmp_path / "metrics.jsonl", steps_per_epoch=2)
    with pytest.raises(FloatingPointError, match=r"The loss is (nan|inf) in epoch \d"):
        model.fit(images, batch_size=8, epochs=9, verbose=0, callbacks=[StopAtNonFinite(), log])
    text = log.path.read_text() if log.path.exists() else ""
    assert "NaN" not in text and "Infinity" not in text


def test_ordinary_losses_pass(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    history = model.fit(images, batch_size=8, verbose=0, callbacks=[StopAtNonFinite()]).history
    assert np.isfinite(history["loss"]).all()

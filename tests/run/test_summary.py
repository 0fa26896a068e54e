import pytest

from keras_bt.run import summarize

METRICS = {"knn_accuracy": 0.5, "linear_accuracy": 0.625, "few_label_accuracy": 0.25}
RESULT = {
    "trained": METRICS,
    "untrained": METRICS,
    "pixels": {**METRICS, "knn_accuracy": 0.125},
    "seconds": 90.0,
    "images": 1437,
    "dataset": "digits",
    "loss": 9.5,
    "loss_floor": 1.25,
    "encoder_dir": "runs/digits/encoder",
    "health": {"findings": ["dimensional collapse: all the same."]},
}


def test_summary_has_metrics_findings_and_paths():
    text = summarize(RESULT)
    assert "1.5 minutes on 1,437 images of digits; loss 9.5, its floor 1.25" in text
    assert "50.0 %" in text and "raw pixels        12.5 %" in text
    assert "dimensional collapse: all the same." in text
    assert "runs/digits/report.html" in text


@pytest.mark.parametrize("unknown", ["loss_floor", "health"])
def test_unknown_values_are_left_out(unknown):
    nothing = dict.fromkeys(METRICS)
    scores = dict.fromkeys(("trained", "untrained", "pixels"), nothing)
    text = summarize({**RESULT, **scores, unknown: None})
    assert "%" not in text and "None" not in text

import pytest

from keras_bt.run import summary

FIGURES = {"knn_accuracy": 0.5, "linear_accuracy": 0.625, "few_label_accuracy": 0.25}
RESULT = {
    "trained": FIGURES,
    "untrained": FIGURES,
    "pixels": {**FIGURES, "knn_accuracy": 0.125},
    "seconds": 90.0,
    "images": 1437,
    "dataset": "digits",
    "loss": 9.5,
    "loss_floor": 1.25,
    "encoder_dir": "runs/digits/encoder",
    "health": {"findings": ["dimensional collapse: all the same."]},
}


def test_it_tells_figures_findings_and_where_things_are():
    told = summary(RESULT)
    assert "1.5 minutes on 1,437 images of digits; loss 9.5, its floor 1.25" in told
    assert "50.0 %" in told and "raw pixels        12.5 %" in told
    assert "dimensional collapse: all the same." in told
    assert "runs/digits/report.html" in told


@pytest.mark.parametrize("unknown", ["loss_floor", "health"])
def test_without_labels_and_without_what_is_not_known(unknown):
    nothing = dict.fromkeys(FIGURES)
    scores = dict.fromkeys(("trained", "untrained", "pixels"), nothing)
    told = summary({**RESULT, **scores, unknown: None})
    assert "%" not in told and "None" not in told

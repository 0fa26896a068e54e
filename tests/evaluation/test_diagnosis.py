import pytest

from keras_bt.evaluation.diagnosis import HEALTH_METRICS, diagnose, health_report

SOUND = {
    "representation_rank": 20.0,
    "embedding_rank": 30.0,
    "embedding_spread": 0.5,
    "dead_dimensions": 0.0,
    "mean_diagonal": 0.7,
    "mean_off_diagonal": 0.3,
    "loss_above_floor": 1.0,
    "loss": 80.0,
}


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("complete collapse", {"representation_rank": 1.02}),
        ("complete collapse", {"embedding_spread": 1e-5}),
        ("dimensional collapse", {"mean_off_diagonal": 0.8}),
        ("dead dimensions", {"dead_dimensions": 3.0}),
        ("views not matched", {"mean_diagonal": 0.01}),
        ("diverged", {"loss": 900.0}),
        ("not learning", {"loss": 250.0}),
    ],
)
def test_each_problem_gives_one_finding(name, metrics):
    assert diagnose(SOUND, untrained_loss=260.0) == []
    (finding,) = diagnose({**SOUND, **metrics}, untrained_loss=260.0)
    assert finding.name == name and str(finding).startswith(f"{name}: ")
    assert "Usual cause" in finding.explanation and "Try " in finding.explanation
    assert "\n" not in finding.explanation
    report = health_report({**SOUND, **metrics}, untrained_loss=260.0)
    assert set(report) == {*HEALTH_METRICS, "findings"} and report["findings"] == [str(finding)]


def test_loss_is_compared_above_its_floor():
    stuck = {**SOUND, "loss": 100.0}
    assert diagnose(stuck, untrained_loss=110.0, floor=60.0) == []
    assert [f.name for f in diagnose(stuck, untrained_loss=110.0)] == ["not learning"]
    assert diagnose(stuck, untrained_loss=110.0, floor=None) == []


def test_unknown_values_give_no_finding():
    unmatched = {**SOUND, "mean_diagonal": 0.01, "loss": 900.0}
    assert diagnose(unmatched, progress=0.4) == []
    assert health_report({"loss": 80.0}) is None

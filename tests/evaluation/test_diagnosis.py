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
    stuck = {**SOUND, "loss": 106.0}
    assert diagnose(stuck, untrained_loss=110.0, floor=60.0) == []
    assert [f.name for f in diagnose(stuck, untrained_loss=110.0)] == ["not learning"]
    assert [f.name for f in diagnose(stuck, untrained_loss=110.0, floor=None)] == ["not learning"]


def test_a_loss_that_rises_is_diverged_once_the_rate_has_risen():
    risen = {**SOUND, "loss": 350.0}
    assert diagnose(risen, progress=0.1, untrained_loss=260.0) == []
    assert [f.name for f in diagnose(risen, 0.16, 260.0, None)] == ["diverged"]
    assert [f.name for f in diagnose({**SOUND, "loss": 400.0}, 0.01, 260.0)] == ["diverged"]


def test_worse_than_untrained_means_beyond_the_noise_of_so_many_images():
    worse = {**SOUND, "knn_accuracy": 0.36}

    def names(progress, images):
        return [f.name for f in diagnose(worse, progress, untrained_accuracy=(0.42, images))]

    assert names(0.2, images=1000) == ["worse than untrained"]
    assert names(0.2, images=100) == names(0.1, images=1000) == []
    (finding,) = diagnose(worse, 0.2, untrained_accuracy=(0.42, 1000))
    assert "classifies 36.0% of a sample" in finding.explanation
    assert "42.0% before training" in finding.explanation
    report = health_report(worse, untrained_accuracy=(0.42, 1000))
    assert report["findings"] == [str(diagnose(worse, 1.0, untrained_accuracy=(0.42, 1000))[0])]


def test_unknown_values_give_no_finding():
    unmatched = {**SOUND, "mean_diagonal": 0.01, "loss": 900.0, "knn_accuracy": 0.1}
    assert diagnose(unmatched, progress=0.1) == []
    assert health_report({"loss": 80.0}) is None

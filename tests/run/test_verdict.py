import pytest

from keras_bt.run.verdict import verdict

BETTER, SAME, WORSE = (0.2, 0.1, 0.3), (0.01, -0.02, 0.04), (-0.1, -0.15, -0.05)


def advantages(*four):
    names = ("knn_accuracy", "linear_accuracy")
    return {
        "untrained": dict(zip(names, four[:2], strict=True)),
        "pixels": dict(zip(names, four[2:], strict=True)),
    }


def test_all_better_is_one_sentence():
    assert verdict(advantages(*[BETTER] * 4), 372, 3068) == (
        "Better than the untrained network and raw pixels, by k-NN and by a linear probe, beyond "
        "the noise of 372 held-out images."
    )


def test_what_is_not_better_comes_first():
    text = verdict(advantages(BETTER, SAME, WORSE, BETTER), 372, 3068)
    assert text == (
        "NOT better than the untrained network by a linear probe (+1.0 points, 95 % interval -2.0 "
        "to +4.0) and raw pixels by k-NN (-10.0 points, 95 % interval -15.0 to -5.0), beyond the "
        "noise of 372 held-out images. Better than the untrained network by k-NN and raw pixels "
        "by a linear probe."
    )
    nothing = verdict(advantages(*[SAME] * 4), 372, 3068)
    assert nothing.count("points") == 4 and "Better than" not in nothing


@pytest.mark.parametrize(("images", "few"), [(80, True), (3000, False)])
def test_few_images_are_called_few(images, few):
    text = verdict(advantages(*[BETTER] * 4), 20, images)
    assert (f"Only {images} images were trained on" in text) == few


def test_without_labels_there_is_no_verdict():
    assert verdict({}, 0, 100) is None
    assert verdict({"pixels": {}, "untrained": {}}, 10, 100) is None

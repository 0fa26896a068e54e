import json

import keras
import pytest

import keras_bt
from keras_bt.export.model_card import model_card

RESULT = {
    "recipe": "digits",
    "dataset": "digits",
    "images": 1437,
    "seed": 3,
    "trained": {"knn_accuracy": 0.975, "linear_accuracy": 0.983, "few_label_accuracy": None},
    "untrained": {"knn_accuracy": 0.5, "linear_accuracy": 0.6, "few_label_accuracy": 0.4},
    "protocol": "offline, held-out images",
    "licence": "CC-BY-4.0",
}


@pytest.fixture
def folder(tmp_path):
    encoder = keras_bt.resnet18((8, 8, 3), width=1, stem="small")
    return tmp_path, keras_bt.export_encoder(encoder, tmp_path / "encoder", metadata=RESULT)


@pytest.mark.slow
def test_card_shows_the_result_of_the_run(folder):
    page = (folder[0] / "encoder" / "README.md").read_text()
    for line in (
        "# Image encoder, 8 features",
        "- images: 1437",
        "| this encoder | 97.5 % | 98.3 % |  |",
        "| untrained | 50.0 % | 60.0 % | 40.0 % |",
        "Protocol: offline, held-out images",
        "CC-BY-4.0",
        "serving_encoded",
        "zbontar2021barlow",
        f"exported by keras_bt {keras_bt.__version__}.",
    ):
        assert line in page
    description = json.loads((folder[0] / "encoder/assets.extra/encoder.json").read_text())
    assert description["image_size"] == 8
    assert description["signatures"] == ["endpoints", "serving_default", "serving_encoded"]


@pytest.mark.slow
def test_encoder_with_edited_card_still_loads(folder):
    (folder[0] / "encoder" / "README.md").write_text("edited")
    assert keras_bt.load_encoder(folder[1]).description["seed"] == 3


def test_card_leaves_out_unknown_facts():
    page = model_card(
        {"input_shape": (None, None, None, 1), "image_size": 64, "features": 5, "pixels": None}
    )
    assert "Accuracy" not in page and "How it was trained" not in page
    assert "any height and width, intended size 64 x 64 pixels" in page
    assert "Not stated at the export" in page
    assert "exported by keras_bt.\n" in page
    assert "serving_encoded" not in page


def test_card_of_run_without_labels_has_no_accuracies():
    no_accuracies = dict.fromkeys(("knn_accuracy", "linear_accuracy", "few_label_accuracy"))
    page = model_card(
        {"input_shape": (None, 8, 8, 3), "image_size": 8, "features": 5, "trained": no_accuracies}
    )
    assert "Accuracy" not in page


@pytest.mark.slow
def test_gray_encoder_has_no_signature_for_files(tmp_path):
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder")
    assert keras_bt.load_encoder(path).description["signatures"] == ["endpoints", "serving_default"]

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_bt
from keras_bt.config.named import recipes
from keras_bt.data import Source, from_arrays, from_folder
from keras_bt.run import Pretraining, RunFolder, pretraining

TINY = {
    "image_size": 8,
    "load_size": 8,
    "width": 1,
    "projector_dims": (4,),
    "batch_size": 4,
    "epochs": 2,
}


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (12, 8, 8, 3)).astype("uint8")


@pytest.fixture
def start(tmp_path):
    """Starts a run in one folder, to its end."""

    def start(source, view_placement="auto", **fields):
        recipe = recipes["cifar10"].override(**TINY, **fields)
        strategy = tf.distribute.get_strategy()
        run = Pretraining(recipe, source, strategy, view_placement=view_placement)
        folder = RunFolder(tmp_path / "run", recipe.settings())
        try:
            return run.run(folder, every_minutes=60.0)
        finally:
            folder.close()

    return start


@pytest.mark.slow
def test_a_run_keeps_the_steps_it_began_with(start, pixels, tmp_path, caplog):
    first = start(Source("mine", from_arrays(pixels), skipped=3))
    assert (first["steps"], first["images"], first["skipped_images"]) == (6, 12, 3)
    assert "began with" not in caplog.text
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert json.loads(lines[-1])["loss"] == first["loss"]
    baselines = tmp_path / "run" / "baselines.json"
    baselines.write_text(json.dumps({"pixels": {"knn_accuracy": 0.125}}))
    again = start(Source("mine", from_arrays(pixels[:7])))
    assert (again["steps"], again["images"], again["loss"]) == (6, 7, first["loss"])
    assert again["pixels"] == {"knn_accuracy": 0.125}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "was trained on 7 images of mine for 2 epochs" in page
    assert "before training" in page and "epoch 2" in page
    assert (
        "The run began with 12 images and continues with 7; its number of steps stays."
        in caplog.text
    )


@pytest.mark.slow
def test_trains_in_bfloat16_on_smaller_views_of_tf_data(start, pixels, tmp_path):
    labelled = Source(
        "mine", *(from_arrays(pixels, labels=[0, 1] * 6) for _ in ("train", "test")), classes=2
    )
    result = start(labelled, "data", precision="mixed_bfloat16", view_size=6)
    assert np.isfinite(result["loss"]) and 0 <= result["trained"]["knn_accuracy"] <= 1
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert model.view_placement == "data"
    assert model.encoder.get_layer("conv1").compute_dtype == "bfloat16"
    encoder = keras_bt.load_encoder(result["encoder_dir"])
    assert encoder.description["image_size"] == result["image_size"] == 8
    assert encoder(pixels / np.float32(255)).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_views_are_compiled_in_long_runs(pixels, monkeypatch):
    source, strategy = Source("mine", from_arrays(pixels)), tf.distribute.get_strategy()
    for epochs, expected in ((2, "step"), (1000000, "compiled")):
        recipe = recipes["cifar10"].override(**{**TINY, "epochs": epochs})
        assert Pretraining(recipe, source, strategy).view_placement == expected
    for images_a_second, expected in ((1e3, "step"), (1e5, "compiled")):
        monkeypatch.setattr(pretraining, "measure_speed", lambda *_, speed=images_a_second: speed)
        assert Pretraining(recipe, source, strategy, minutes=3).view_placement == expected
    mirrored = tf.distribute.OneDeviceStrategy("CPU:0")
    assert Pretraining(recipe, source, mirrored).view_placement == "step"


@pytest.mark.slow
def test_wrong_images_are_refused_before_anything_is_written(start, pixels, tmp_path):
    with pytest.raises(ValueError, match="fewer than the batch_size of 4"):
        start(Source("mine", from_arrays(pixels[:3])))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_vanished_images_are_counted(start, pixels, tmp_path, caplog):
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{number:02}.png")
    source = from_folder(tmp_path / "images")
    (tmp_path / "images" / "05.png").unlink()
    result = start(source)
    assert (result["images"], result["replaced_images"]) == (12, 1)
    assert "Another image replaces" in caplog.text and "05.png" in caplog.text


def test_a_missing_tensorboard_is_refused_at_once(pixels, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    source, strategy = Source("mine", from_arrays(pixels)), tf.distribute.get_strategy()
    with pytest.raises(ImportError, match=r"needs tensorboard: .*keras-bt\[tensorboard\]"):
        Pretraining(recipes["cifar10"].override(**TINY), source, strategy, tensorboard=True)


@pytest.mark.slow
def test_few_images_are_kept_in_memory_if_they_are_read_again(start, pixels, monkeypatch):
    kept = []

    def in_memory(images, size):
        kept.append(size)
        return images

    monkeypatch.setattr("keras_bt.run.pretraining.in_memory", in_memory)
    first = start(Source("mine", from_arrays(pixels)))
    assert kept == [8] and first["epochs"] == 2
    recipe, strategy = recipes["cifar10"].override(**TINY), tf.distribute.get_strategy()
    for change, fits in (({}, True), ({"epochs": 1}, False), ({"load_size": 10**5}, False)):
        source = Source("mine", from_arrays(pixels))
        run = Pretraining(recipe.override(**change), source, strategy)
        assert run._fits_into_memory() == fits

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt.data import from_arrays
from keras_bt.evaluation import EmbeddingHealth
from keras_bt.report import (
    EpochScalars,
    Snapshots,
    TensorBoardImages,
    save_map,
    save_views,
    write_projector,
)


def summaries(folder):
    """Maps tags of event files to their steps and their last value."""
    found = {}
    for file in sorted(folder.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                steps, _ = found.get(value.tag, ([], None))
                found[value.tag] = ([*steps, event.step], tf.make_ndarray(value.tensor))
    return found


@pytest.mark.slow
def test_logs_scalars_images_and_histograms_also_after_resuming(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    save_views(tmp_path / "views.npz", model, from_arrays(images), 8)
    for first, epochs in ((0, 2), (1, 3)):  # resumes after the first epoch
        health = EmbeddingHealth(tf.data.Dataset.from_tensors(images), batch_size=8)
        images_log = TensorBoardImages(tmp_path)
        scalars = EpochScalars(images_log.log_dir, write_graph=False)
        callbacks = [health, Snapshots(tmp_path / "snapshots", health), scalars, images_log]
        options = {"callbacks": callbacks, "verbose": 0, "batch_size": 8}
        model.fit(images, initial_epoch=first, epochs=epochs, **options)
    written = summaries(tmp_path / "tensorboard" / "train")
    assert sorted(written["epoch_loss"][0]) == [1, 2, 2, 3]
    assert "epoch_embedding_rank" in written
    drawn = summaries(tmp_path / "tensorboard" / "pictures")
    assert sorted(drawn["cross_correlation"][0]) == [0, 1, 2, 2, 3]
    assert drawn["view_a"][0] == [0]
    width, height, *views = drawn["view_a"][1]
    assert (width, height, len(views)) == (b"8", b"8", 6)
    with np.load(tmp_path / "views.npz") as arrays:
        np.testing.assert_array_equal(Image.open(io.BytesIO(views[3])), arrays["view_a"][3])


@pytest.mark.parametrize("labelled", [True, False])
def test_projector_has_images_and_labels(rng, tmp_path, labelled):
    pixels = rng.integers(0, 256, (5, 8, 8, 3)).astype("uint8")
    labels = np.array([0, 1, 0, 1, 1])
    labels_and_names = (labels, labels, ("cat\ttabby", "dog")) if labelled else ()
    x = rng.normal(size=(5, 3)).astype("float32")
    save_map(tmp_path / "map.npz", from_arrays(pixels), 8, x, *labels_and_names)
    write_projector(tmp_path)
    logs = tmp_path / "tensorboard" / "pictures"
    np.testing.assert_allclose(np.loadtxt(logs / "representations.tsv"), x, rtol=1e-4)
    with Image.open(logs / "sprite.png") as sprite:
        assert sprite.size == (96, 96)
    config = (logs / "projector_config.pbtxt").read_text()
    assert 'image_path: "sprite.png"' in config
    assert ("labels.tsv" in config) == labelled
    if labelled:
        assert (logs / "labels.tsv").read_text() == "cat tabby\ndog\ncat tabby\ndog\ndog\n"


def test_tensorboard_parses_the_projector_config(rng, tmp_path):
    projector = pytest.importorskip(
        "tensorboard.plugins.projector", reason="tensorboard is not installed"
    )
    from google.protobuf import text_format

    x = rng.normal(size=(5, 3)).astype("float32")
    save_map(tmp_path / "map.npz", from_arrays(np.zeros((5, 8, 8, 3), "uint8")), 8, x)
    write_projector(tmp_path)
    config = projector.ProjectorConfig()
    text_format.Parse(
        (tmp_path / "tensorboard" / "pictures" / "projector_config.pbtxt").read_text(), config
    )
    (embedding,) = config.embeddings
    assert embedding.tensor_path == "representations.tsv"
    assert list(embedding.sprite.single_image_dim) == [32, 32]

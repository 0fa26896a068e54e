"""`--framing`: from the run to the commands that use its encoder."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import keras_bt
from keras_bt import data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of ten wide images, which differ outside their central squares."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(60, 190, (12, 36, 3))
        pixels[:, :12] = pixels[:, 24:] = 30 + 180 * (number % 2)
        path = folder / f"class {number % 2}" / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(path)
    return folder


@pytest.fixture(scope="module")
def flags(photos):
    tiny = ("--width=1", "--projector_dims=8,4", "--encoder=conv4", "--epochs=1", "--batch_size=8")
    return (f"--image_dir={photos}", "--image_size=12", *tiny)


@pytest.mark.parametrize("framing", ["whole", "pad"])
def test_commands_follow_the_framing_of_the_run(photos, flags, framing, command, tmp_path):
    run = ("pretrain", *flags, f"--workdir={tmp_path}/run")
    if framing != "whole":  # which is the default
        run += (f"--framing={framing}",)
    result = command(*run).result
    assert result["framing"] == framing
    if framing == "pad":  # the edges of the images, which show the class, are evaluated too
        assert result["pixels"]["linear_accuracy"] == 1.0
    description = json.loads((tmp_path / "run/encoder/assets.extra/encoder.json").read_text())
    assert description["framing"] == framing
    assert (tmp_path / "run" / "views.npz").exists()
    shown = np.load(tmp_path / "run" / "views.npz")["images"]
    np.testing.assert_array_equal(shown[:, 0], 128)  # gray bars

    encoder = keras_bt.load_encoder(tmp_path / "run" / "encoder")
    source = data.from_folder(photos).framed(framing)
    (batch,) = source.test.batches(4, 12)
    features = tmp_path / "features.npz"
    place = f"--image_dir={photos}"
    command("features", f"--encoder={tmp_path}/run/encoder", place, f"--out={features}")
    file = keras_bt.read_features(features)
    assert file.metadata["framing"] == framing
    paths, vectors = next(file.parts())
    chosen = [paths.index(name.split(f"{photos}/")[1]) for name in source.test.file_names]
    np.testing.assert_allclose(vectors[chosen], encoder(batch["image"]), rtol=1e-4, atol=1e-5)
    query = f"--image={photos}/class 0/00.png"
    near = command("neighbors", f"--features={features}", query, f"--out={tmp_path}/near.png")
    assert near.status == 0, near.stderr

    of_export = command("evaluate", f"--encoder={tmp_path}/run/encoder", place).result
    of_model = command("evaluate", f"--model={tmp_path}/run/model.keras", place).result
    for scores in (of_export, of_model):
        assert scores["linear_accuracy"] == result["trained"]["linear_accuracy"]
    again = command("export", f"--model={tmp_path}/run/model.keras", f"--out={tmp_path}/again")
    assert again.status == 0, again.stderr
    assert keras_bt.load_encoder(tmp_path / "again").description["framing"] == framing


def test_the_framing_is_described_and_kept(flags, command, tmp_path):
    run = ("pretrain", *flags, f"--workdir={tmp_path}/run")
    described = command(*run, "--describe").stdout
    assert re.search("framing +whole +the official code's", described)
    described = command(*run, "--framing=stretch", "--describe").stdout
    assert re.search("framing +stretch +as given", described)
    assert command(*run).result["framing"] == "whole"
    assert "framing: 'whole' before, 'stretch' now" in command(*run, "--framing=stretch").refusal
    assert "framing must be one of" in command(*run, "--framing=middle").refusal


def test_an_old_run_goes_on_with_squares(flags, command, tmp_path):
    run = ("pretrain", *flags, f"--workdir={tmp_path}/run")
    command(*run, "--framing=square")
    file = tmp_path / "run" / "run.json"
    stored = json.loads(file.read_text())
    del stored["settings"]["framing"]
    file.write_text(json.dumps(stored))
    described = command(*run, "--describe").stdout
    assert re.search(f"framing +square +the run in {tmp_path}/run began with it", described)
    assert command(*run).result["framing"] == "square"
    assert "framing: 'square' before, 'whole' now" in command(*run, "--framing=whole").refusal


def test_views_are_drawn_from_the_whole_image(flags, command, tmp_path):
    views = [flag for flag in flags if not flag.startswith("--epochs")]
    sheets = {}
    for framing in ("whole", "square"):
        out = tmp_path / f"{framing}.png"
        finished = command("views", *views, f"--framing={framing}", "--rows=2", f"--out={out}")
        assert finished.status == 0, finished.stderr
        sheets[framing] = np.asarray(Image.open(out))
    assert (sheets["whole"][22, :96] == 128).all()  # a gray bar above the image
    assert (sheets["square"] != sheets["whole"]).any()

"""The scripts of examples/, each run once with little data."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_bt

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script, *flags):
    """Returns what a script prints; fails with its error messages if it fails."""
    command = [sys.executable, EXAMPLES / script, *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(output):
    """Returns the loss of each epoch."""
    return [float(loss) for loss in re.findall(r" loss: (\S+)", output)]


def accuracy(output, name):
    """Returns the number at the end of the line that holds a name."""
    (line,) = [line for line in output.splitlines() if name in line]
    return float(line.split()[-1])


@pytest.fixture(scope="module")
def digit_encoder(tmp_path_factory):
    """Returns a small untrained encoder of digits, exported."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
        ]
    )
    return keras_bt.export_encoder(encoder, tmp_path_factory.mktemp("digits") / "encoder")


def test_pretrain(tmp_path):
    flags = ["--dataset=digits", "--batch_size=128", "--width=4", "--epochs=3"]
    output = run("pretrain.py", *flags, f"--encoder_dir={tmp_path / 'encoder'}")
    first, *_, last = losses(output)
    assert last < first
    assert accuracy(output, "raw pixels") > 0.9
    assert accuracy(output, "of encoder") > 0.2  # 0.1 by chance
    encoder = keras_bt.load_encoder(tmp_path / "encoder")
    assert encoder(np.zeros([2, 8, 8, 3], "uint8")).shape == (2, 32)


def test_keras_cv_views():
    output = run("keras_cv_views.py", "--width=4", "--epochs=3")
    first, *_, last = losses(output)
    assert last < first
    assert accuracy(output, "encoder") > 0.2


def test_own_images(tmp_path, rng):
    for name, color in (("red", [200, 40, 40]), ("blue", [40, 40, 200])):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(color + rng.normal(0, 30, (24, 32, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{number}.png")
    flags = ["--image_size=16", "--width=2", "--epochs=2"]
    output = run("own_images.py", f"--image_dir={tmp_path / 'photos'}", f"--out={tmp_path}", *flags)
    assert re.search(r"projector_dims +64,32 +256, as many as both views of a batch", output)
    assert len(losses(output)) == 2
    assert "Nearest to blue/0.png" in output
    assert accuracy(output, "of encoder") > 0.6  # 0.5 by chance
    features = keras_bt.read_features(tmp_path / "features.npz")
    assert (features.count, features.features) == (40, 16)
    encoder = keras_bt.load_encoder(tmp_path / "encoder")
    assert encoder(np.zeros([2, 16, 16, 3], "uint8")).shape == (2, 16)


def test_fine_tune(digit_encoder):
    output = run("fine_tune.py", f"--encoder={digit_encoder}", "--epochs=60")
    frozen, tuned = accuracy(output, "frozen"), accuracy(output, "fine-tuned")
    assert tuned > frozen > 0.5  # 0.1 by chance


def test_pairs():
    output = run("pairs.py", "--epochs=5")
    first, *_, last = losses(output)
    assert last < first / 2
    trained = accuracy(output, "the trained encoder")
    assert trained > accuracy(output, "the untrained encoder") + 0.1
    assert trained > accuracy(output, "raw signals") + 0.1

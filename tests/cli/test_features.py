"""`keras-bt features` and `keras-bt neighbors`."""

import json

import numpy as np
import pytest
import tensorflow as tf


@pytest.mark.slow
def test_features_are_extracted_and_searched(tiny_run, command, tmp_path):
    workdir, _ = tiny_run
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 11, 3)).astype("uint8")
    for number, image in enumerate(images):
        file = str(tmp_path / "photos" / f"{number:02d}.png")
        tf.io.write_file(file, tf.io.encode_png(image))
    tf.io.write_file(str(tmp_path / "twin.png"), tf.io.encode_png(images[4]))
    out = tmp_path / "features.parquet"
    flags = (f"--encoder={workdir}/encoder", f"--image_dir={tmp_path}/photos", f"--out={out}")
    result = command("features", *flags).result
    assert (result["images"], result["skipped_images"], result["features"]) == (12, 0, 16)
    assert "features.parquet exists; --overwrite" in command("features", *flags).refusal

    flags = (f"--features={out}", f"--image={tmp_path}/photos/04.png", "--count=3")
    lines = [json.loads(line) for line in command("neighbors", *flags).stdout.splitlines()]
    assert len(lines) == 3 and all(line["path"] != "04.png" for line in lines)
    assert lines == sorted(lines, key=lambda line: -line["cosine"])

    picture = tmp_path / "near.png"
    flags = (f"--features={out}", f"--image={tmp_path}/twin.png", f"--out={picture}", "--count=2")
    found = command("neighbors", *flags)
    assert json.loads(found.stdout.splitlines()[0]) == {"path": "04.png", "cosine": 1.0}
    assert tf.io.decode_png(picture.read_bytes()).shape[0] == 128
    refusal = command("neighbors", f"--features={workdir}/model.keras", "--image=a.png").refusal
    assert "ending in .parquet or .npz" in refusal

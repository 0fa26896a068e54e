"""`keras-bt export` and `keras-bt import-torch`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.slow


def test_export_of_a_model_equals_the_encoder_of_the_run(tiny_run, command, tmp_path):
    workdir, _ = tiny_run
    out = tmp_path / "again"
    flags = (f"--model={workdir}/model.keras", f"--out={out}", "--licence=CC0")
    exported = command("export", *flags)
    assert exported.stdout.strip() == str(out), exported.stderr
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    first, second = (tf.saved_model.load(str(path))(images) for path in (workdir / "encoder", out))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    card = (out / "README.md").read_text()
    assert "CC0" in card and "- images: 1437" in card
    assert "again exists" in command("export", *flags).refusal


def test_export_writes_onnx_and_litert_and_refuses_wrong_flags(tiny_run, command, tmp_path):
    workdir, _ = tiny_run
    encoder, model = f"--encoder={workdir}/encoder", f"--model={workdir}/model.keras"
    onnx, lite = tmp_path / "encoder.onnx", tmp_path / "encoder.tflite"
    assert command("export", encoder, "--format=onnx", f"--out={onnx}").stdout.strip() == str(onnx)
    done = command("export", model, "--format=litert_int8", f"--out={lite}")
    assert done.stdout.strip() == str(lite) and lite.stat().st_size > 1000
    for flags, message in (
        ((encoder,), "--out is missing: Folder or file to write."),
        ((encoder, "--out=x"), "--encoder is a SavedModel already"),
        ((model, "--format=onnx", "--out=x"), "must end in .onnx, got x"),
        ((model, "--format=onnx", "--out=x.onnx", "--licence=CC0"), "--licence has no effect"),
        ((f"--encoder={tmp_path}", "--format=onnx", "--out=x.onnx"), "There is no SavedModel"),
    ):
        assert message in command("export", *flags).refusal


def test_import_torch_writes_encoder_and_projector(tmp_path, command, golden_path):
    flags = (f"--checkpoint={golden_path}/checkpoint_resnet50_width1.pth", "--image_size=40")
    flags += (f"--keras={tmp_path}/encoder.keras", f"--projector={tmp_path}/projector.keras")
    finished = command("import-torch", *flags, f"--out={tmp_path}/encoder")
    assert finished.stdout.strip() == f"{tmp_path}/encoder", finished.stderr
    assert "module.bn.running_mean" in finished.stderr
    images = np.random.default_rng(0).uniform(size=(2, 40, 40, 3)).astype("float32")
    encoder = keras.saving.load_model(tmp_path / "encoder.keras")
    features = tf.saved_model.load(f"{tmp_path}/encoder")(images)
    np.testing.assert_allclose(features, encoder(images), rtol=1e-4, atol=1e-4)
    projector = keras.saving.load_model(tmp_path / "projector.keras")
    assert projector(features).shape == (2, 8)
    again = command("import-torch", *flags, f"--out={tmp_path}/encoder")
    assert "encoder.keras exists; --overwrite" in again.refusal
    narrow = (f"--checkpoint={golden_path}/resnet18_width2.pth", f"--projector={tmp_path}/p.keras")
    refusal = command("import-torch", *narrow, f"--out={tmp_path}/b").refusal
    assert "resnet18_width2.pth holds no projector" in refusal

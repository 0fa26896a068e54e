import json

import keras
import numpy as np
import pytest
from PIL import Image

import keras_bt
from keras_bt.features import folder as folder_module


@pytest.fixture
def photos(tmp_path, rng):
    """Fifteen files in two folders; one is not an image."""
    for number in range(15):
        pixels = rng.integers(0, 256, (*rng.integers(5, 12, 2), 3)).astype("uint8")
        path = tmp_path / "photos" / f"folder{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "photos" / "folder0" / "04.png").write_text("not an image")
    return tmp_path / "photos"


@pytest.fixture
def encoder():
    return keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])


def content(path):
    parts = list(keras_bt.read_features(path).parts())
    return [name for names, _ in parts for name in names], np.concatenate([v for _, v in parts])


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_extracts_all_images_in_order_of_paths(photos, encoder, tmp_path, suffix):
    out = tmp_path / f"features.{suffix}"
    result = keras_bt.extract_folder_features(
        encoder, photos, out, 6, files_per_part=4, metadata={"encoder": "e"}
    )
    assert result["images_per_second"] > 0
    assert (result["images"], result["skipped_images"], result["features"]) == (14, 1, 108)
    paths, vectors = content(out)
    assert paths == sorted(paths) and len(paths) == 14 and "folder0/04.png" not in paths
    file = keras_bt.read_features(out)
    assert file.metadata == {
        "image_dir": str(photos),
        "image_size": 6,
        "framing": "square",
        "encoder": "e",
    }
    assert (file.count, file.features) == (14, 108)
    images, _ = keras_bt.data.from_files([str(photos / paths[5])], str(photos))
    expected, _ = keras_bt.extract_features(encoder, images.batches(1, 6))
    np.testing.assert_allclose(vectors[5:6], expected, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"features.{suffix}", "photos"]


@pytest.mark.slow
def test_other_programs_read_the_parquet_file(photos, encoder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    keras_bt.extract_folder_features(encoder, photos, tmp_path / "features.parquet", 6)
    table = parquet.read_table(tmp_path / "features.parquet")
    assert table.column_names == ["path", "representation"]
    assert len(table["representation"][0].as_py()) == 108


@pytest.mark.slow
def test_resumes_after_interruption(photos, encoder, tmp_path, monkeypatch):
    whole = tmp_path / "whole.npz"
    keras_bt.extract_folder_features(encoder, photos, whole, 6, files_per_part=4)
    done, write = [], folder_module._write_part

    def interrupt_after_two(file, *arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(file.name)
        write(file, *arguments)

    out = tmp_path / "features.npz"
    monkeypatch.setattr(folder_module, "_write_part", interrupt_after_two)
    with pytest.raises(KeyboardInterrupt):
        keras_bt.extract_folder_features(encoder, photos, out, 6, files_per_part=4)
    assert not out.exists()
    monkeypatch.setattr(
        folder_module, "_write_part", lambda file, *a: (done.append(file.name), write(file, *a))
    )
    keras_bt.extract_folder_features(encoder, photos, out, 6, files_per_part=4)
    assert done == sorted(set(done)) and len(done) == 4
    assert content(out)[0] == content(whole)[0]
    np.testing.assert_array_equal(content(out)[1], content(whole)[1])


@pytest.mark.slow
def test_resumes_when_the_folder_has_another_path(photos, encoder, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    out = tmp_path / "features.npz"
    with monkeypatch.context() as patched:
        patched.setattr(folder_module, "write_features", interrupt)
        with pytest.raises(KeyboardInterrupt):
            keras_bt.extract_folder_features(encoder, photos, out, 6)
    photos.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    monkeypatch.setattr(folder_module, "_write_part", interrupt)
    assert keras_bt.extract_folder_features(encoder, tmp_path / "link", out, 6)["images"] == 14


def test_refuses_to_resume_with_other_settings(photos, encoder, tmp_path):
    out = tmp_path / "features.npz"
    parts = tmp_path / "features.npz.parts"
    parts.mkdir()
    (parts / "plan.json").write_text(json.dumps({"image_size": 9}))
    with pytest.raises(ValueError, match=r"with other settings.*image_size: 9 before, 6 now"):
        keras_bt.extract_folder_features(encoder, photos, out, 6)
    assert parts.exists() and not out.exists()


def test_fails_on_unreadable_image_on_request(photos, encoder, tmp_path):
    with pytest.raises(ValueError, match=r"04\.png: not a JPEG"):
        keras_bt.extract_folder_features(encoder, photos, tmp_path / "a.npz", 6, bad_images="fail")


def test_rejects_folder_without_readable_images(encoder, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("not an image")
    with pytest.raises(ValueError, match="None of the images in .*photos can be read"):
        keras_bt.extract_folder_features(encoder, tmp_path / "photos", tmp_path / "a.npz", 6)


def test_rejects_other_file_formats(photos, encoder, tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.parquet or \.npz, got .*features\.csv"):
        keras_bt.extract_folder_features(encoder, photos, tmp_path / "features.csv", 6)
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="other.npz holds no features"):
        keras_bt.read_features(tmp_path / "other.npz")


def test_missing_pyarrow_is_reported_before_the_work(photos, encoder, tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    extract_folder_features = keras_bt.extract_folder_features
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'keras-bt\[parquet\]'"):
        extract_folder_features(encoder, photos, tmp_path / "features.parquet", 6)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.slow
def test_features_follow_the_framing_of_the_exported_encoder(photos, encoder, tmp_path):
    (photos / "folder0" / "04.png").unlink()
    path = keras_bt.export_encoder(encoder, tmp_path / "encoder", framing="pad")
    exported = keras_bt.load_encoder(path)
    for given, expected in ((None, "pad"), ("stretch", "stretch")):
        out = tmp_path / f"{expected}.npz"
        keras_bt.extract_folder_features(exported, photos, out, 6, framing=given)
        assert keras_bt.read_features(out).metadata["framing"] == expected
        paths, vectors = content(out)
        images, _ = keras_bt.data.from_files([str(photos / path) for path in paths], str(photos))
        framed = images.framed(expected).batches(len(paths), 6)
        np.testing.assert_allclose(vectors, keras_bt.extract_features(encoder, framed)[0], 1e-5)
    with pytest.raises(ValueError, match="framing must be one of"):
        keras_bt.extract_folder_features(exported, photos, tmp_path / "a.npz", 6, framing="all")

import itertools
import json

import numpy as np
import pytest
from PIL import Image

import keras_bt
from keras_bt import data
from keras_bt.data import preparation


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder of three shards of five images, of three classes."""
    monkeypatch.setattr(preparation, "IMAGES_PER_SHARD", 5)
    for number in range(15):
        folder = tmp_path / "photos" / "abc"[number // 5]
        folder.mkdir(parents=True, exist_ok=True)
        noise = Image.effect_noise((70, 50), 10 + number).convert("RGB")
        noise.save(folder / f"{number:02d}.jpg")
    data.prepare(tmp_path / "photos", tmp_path / "prepared", 24)
    return tmp_path / "prepared"


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_flipped_shard_is_named_by_its_checksum(prepared):
    flip(prepared / "00001.tfrecord", 5000)
    message = r"00001.tfrecord has another checksum than .* Run the same `keras-bt prepare` again"
    with pytest.raises(ValueError, match=message) as error:
        data.from_folder(prepared, check="decode")
    assert "00000" not in str(error.value)


def test_a_flipped_image_is_replaced_when_it_is_read(prepared, caplog):
    (place, *_) = data.Prepared(prepared)._places[6:7].tolist()
    flip(prepared / "00001.tfrecord", place[1] + place[2] // 2)
    train = data.from_folder(prepared).train
    assert sum(len(batch["label"]) for batch in train.batches(4, 24)) == 12
    (name,) = train.replaced
    assert name.endswith("b/06.jpg")
    assert "replaces" in caplog.text and "00001.tfrecord is damaged there" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "removed", "no list", "flipped list"])
def test_missing_and_truncated_files_are_named_at_once(prepared, damage):
    file = prepared / "00002.tfrecord"
    listed = prepared / "00002.json"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
        message = r"00002.tfrecord has [\d,]+ bytes instead of [\d,]+\. Run the same"
    elif damage == "removed":
        file.unlink()
        message = r"00002.tfrecord is missing\. Run the same"
    elif damage == "no list":
        listed.unlink()
        message = r"00002.json cannot be read: No such file"
    else:
        flip(listed, listed.read_bytes().index(b"14.jpg"))
        message = r"00002.json has another checksum"
    before = {path.name: path.read_bytes() for path in prepared.glob("0000[01]*")}
    with pytest.raises(ValueError, match=message):
        data.from_folder(prepared)
    data.prepare(prepared.parent / "photos", prepared, 24)
    assert data.from_folder(prepared, check="decode").train.count == 12
    assert {path.name: path.read_bytes() for path in prepared.glob("0000[01]*")} == before


def test_a_flipped_shard_is_prepared_again(prepared):
    before = (prepared / "00001.tfrecord").read_bytes()
    flip(prepared / "00001.tfrecord", 5000)
    data.prepare(prepared.parent / "photos", prepared, 24)
    assert (prepared / "00001.tfrecord").read_bytes() == before


def test_other_versions_and_damaged_manifests_are_refused(prepared):
    file = prepared / "manifest.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"version": 2, "keras_bt": "7.0"}))
    message = r"has version 2 of prepared images \(keras_bt 7.0\); this keras_bt .* reads version 1"
    with pytest.raises(ValueError, match=message):
        data.from_folder(prepared)
    file.write_text(json.dumps(fields)[:200])
    with pytest.raises(
        ValueError, match="manifest.json is damaged; delete .* and prepare it again"
    ):
        data.from_folder(prepared)
    file.write_text("{}")  # somebody else's
    with pytest.raises(ValueError, match="holds no images"):
        data.from_folder(prepared)


def test_larger_sizes_are_refused(prepared):
    train = data.from_folder(prepared).train
    message = r"prepared for a load_size of 24 pixels, and 25 are needed; prepare them again for a"
    for batches in (train.batches, lambda *a: train.shuffled_batches(*a, seed=0)):
        with pytest.raises(ValueError, match=message):
            batches(4, 25)
        batches(4, 24)
    with pytest.raises(ValueError, match=message):
        train.at_most(3).batches(4, 25)


def test_shards_are_tfrecords(prepared):
    records = data.from_tfrecords(str(prepared / "*.tfrecord"))
    assert (records.train.count, records.test.count) == (12, 3)
    assert records.class_names == ("a", "b", "c")
    pairs = (data.from_folder(prepared), records)
    pixels = [
        np.concatenate([batch["image"] for batch in source.train.batches(5, 24)])
        for source in pairs
    ]
    np.testing.assert_array_equal(*pixels)


@pytest.mark.slow
def test_features_of_prepared_images_are_those_of_the_folder(prepared, tmp_path):
    import keras

    encoder = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])
    found = {}
    for folder in ("photos", "prepared"):
        out = tmp_path / f"{folder}.npz"
        result = keras_bt.extract_folder_features(
            encoder, tmp_path / folder, out, 6, files_per_part=4
        )
        assert result["images"] == 15
        found[folder] = list(keras_bt.read_features(out).parts())
    paths, values = ([[part[i] for part in parts] for parts in found.values()] for i in (0, 1))
    assert list(itertools.chain(*paths[0])) == list(itertools.chain(*paths[1]))
    difference = np.concatenate(values[0]) - np.concatenate(values[1])
    assert np.abs(difference).mean() < 0.02

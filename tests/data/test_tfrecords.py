"""TFRecords: any labels and keys, damage, any order of records."""

import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt import data
from keras_bt.data import records, tfrecords

GRAY = tf.io.encode_png(np.full((4, 4, 3), 128, "uint8")).numpy()


def example(image, label=None):
    """A record with an encoded image, and a label: an int, bytes, float or list of these."""
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
    if label is not None:
        values = label if isinstance(label, list) else [label]
        lists = {int: ("int64_list", tf.train.Int64List), float: ("float_list", tf.train.FloatList)}
        name, kind = lists.get(type(values[0]), ("bytes_list", tf.train.BytesList))
        feature["label"] = tf.train.Feature(**{name: kind(value=values)})
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def write(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)


@pytest.fixture(scope="module")
def image():
    return tf.io.encode_png(np.zeros((6, 6, 3), "uint8")).numpy()


def write_records(path, count, image_key="image", label_key=None):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            image = np.full((6, 6, 3), 10 * number, "uint8")
            encoded = tf.io.encode_png(image).numpy()
            feature = {image_key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))}
            if label_key:
                labels = tf.train.Int64List(value=[number % 3])
                feature[label_key] = tf.train.Feature(int64_list=labels)
            features = tf.train.Features(feature=feature)
            writer.write(tf.train.Example(features=features).SerializeToString())


@pytest.mark.parametrize("keys", [("image", "label"), ("image/encoded", "image/class/label")])
def test_reads_tfrecords_with_labels(tmp_path, keys, order):
    write_records(tmp_path / "a-0.tfrecord", 12, *keys)
    source = data.from_tfrecords(tmp_path / "a-*.tfrecord")
    assert (source.train.count, source.test.count, source.classes) == (9, 3, 3)
    held_out = next(iter(source.test.batches(5, 6)))
    assert held_out["image"].numpy()[:, 0, 0, 0].tolist() == [0, 50, 100]
    assert held_out["label"].numpy().tolist() == [0, 2, 1]
    assert order(source.train, 2, seed=0) == order(source.train, 2, seed=0)


def test_reads_tfrecords_without_labels(tmp_path):
    for part in range(2):
        write_records(tmp_path / f"a-{part}.tfrecord", 4)
    source = data.from_tfrecords(tmp_path / "*.tfrecord")
    assert (source.train.count, source.test) == (8, None)


def test_rejects_wrong_tfrecords(tmp_path):
    with pytest.raises(ValueError, match="No file matches .*none"):
        data.from_tfrecords(tmp_path / "none*")
    write_records(tmp_path / "a.tfrecord", 1, image_key="picture")
    with pytest.raises(ValueError, match=r"keys \['picture'\]; the image key must be 'image'"):
        data.from_tfrecords(tmp_path / "a.tfrecord")
    (tmp_path / "b.tfrecord").touch()
    (tmp_path / "c.tfrecord").write_text("a text, not records")
    for name in ("b", "c"):
        with pytest.raises(ValueError, match=rf"{name}.tfrecord: no TFRecord can be read"):
            data.from_tfrecords(tmp_path / f"{name}.tfrecord")
    with tf.io.TFRecordWriter(str(tmp_path / "d.tfrecord")) as writer:
        writer.write(b"\xff not an example")
    with pytest.raises(ValueError, match="d.tfrecord: its records are not tf.train.Examples"):
        data.from_tfrecords(tmp_path / "d.tfrecord")


def test_reports_corrupt_records_before_training(tmp_path):
    write_records(tmp_path / "good.tfrecord", 3)
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"no image"]))}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    with tf.io.TFRecordWriter(str(tmp_path / "text.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    whole = (tmp_path / "good.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="2 of 7 records cannot be read") as error:
        data.from_tfrecords(tmp_path / "*.tfrecord")
    assert "text.tfrecord, record 1" in str(error.value)
    assert "cut.tfrecord, after record 2" in str(error.value)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0] * 10, "all are equal"),
        ([-1] * 10, "all are equal"),
        ([0, -1] * 5, "some are negative"),
        ([0, 1], "there are fewer than 5 images"),
        ([0, 1, 2, None, 0, 1], "not every record has one"),
        ([0, 1, b"cat", 0, 1, 2], "not every record has one"),
        ([0, 1, [1, 2], 0, 1, 2], "not every record has one"),
        ([0.5, 1.5, 0.5, 1.5, 0.5], "not every record has one"),
    ],
)
def test_ignores_labels_that_are_no_classes(tmp_path, caplog, image, labels, reason):
    write(tmp_path / "a.tfrecord", [example(image, label) for label in labels])
    source = data.from_tfrecords(tmp_path / "a.tfrecord")
    assert (source.train.count, source.test, source.classes) == (len(labels), None, None)
    assert list(next(iter(source.train.batches(4, 6)))) == ["image"]
    assert len(caplog.messages) == 1 and f"labels are ignored, because {reason}" in caplog.text


@pytest.mark.slow
def test_texts_as_labels_are_classes_by_name(tmp_path, image):
    names = [b"dog", "Ünï".encode(), b"cat", b"dog", b"cat", b"cat", b"dog"]
    write(tmp_path / "a.tfrecord", [example(image, name) for name in names])
    source = data.from_tfrecords(tmp_path / "a.tfrecord")
    assert (source.classes, source.class_names) == (3, ("cat", "dog", "Ünï"))
    (train,), (test,) = source.train.batches(9, 6), source.test.batches(9, 6)
    assert train["label"].numpy().tolist() == [2, 0, 1, 0, 1]
    assert test["label"].numpy().tolist() == [1, 0] and test["label"].dtype == tf.int64


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_reads_compressed_files_beside_others(tmp_path, image, compression):
    write(tmp_path / "0.tfrecord", [example(image, number) for number in range(3)], compression)
    write(tmp_path / "1.tfrecord", [example(image, number) for number in range(3)])
    source = data.from_tfrecords(tmp_path / "*.tfrecord")
    assert (source.train.count, source.test.count, source.classes) == (4, 2, 3)
    (train,), (test,) = source.train.batches(9, 6), source.test.batches(9, 6)
    assert train["label"].numpy().tolist() == [0, 1, 1, 2]  # of both files in turn
    assert test["label"].numpy().tolist() == [0, 2]
    assert source.train.fetch is None
    whole = (tmp_path / "0.tfrecord").read_bytes()
    (tmp_path / "0.tfrecord").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="0.tfrecord, after record 0: damaged or cut off"):
        data.from_tfrecords(tmp_path / "*.tfrecord")


def test_a_length_that_begins_like_gzip_is_no_compression(tmp_path, image):
    label = b"x" * 0x8B1F
    label = label[: len(label) - (len(example(image, label)) - 0x8B1F)]
    write(tmp_path / "a.tfrecord", [example(image, label)])
    assert (tmp_path / "a.tfrecord").read_bytes()[:2] == b"\x1f\x8b"
    assert data.from_tfrecords(tmp_path / "a.tfrecord").train.count == 1


@pytest.mark.slow
def test_a_name_with_characters_of_a_pattern_is_itself(tmp_path, image):
    for folder in ("rec [1]", "rec 1"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a[2].tfrecord", [example(image)])
    write(tmp_path / "rec 1" / "b.tfrecord", [example(image)])
    for pattern in ("rec [1]/a[2].tfrecord", "rec [1]/*", "rec [1]/a*.tfrecord"):
        assert data.from_tfrecords(tmp_path / pattern).train.count == 1
    assert data.from_tfrecords(tmp_path / "rec ?" / "*.tfrecord").train.count == 2
    with pytest.raises(ValueError, match="is a folder; name its files, as .*/*.tfrecord"):
        data.from_tfrecords(tmp_path / "rec [1]")


def test_reads_from_other_file_systems(image):
    with tf.io.gfile.GFile("ram://shards/a.tfrecord", "wb"):
        pass
    write("ram://shards/a.tfrecord", [example(image)] * 3)
    assert data.from_tfrecords("ram://shards/*.tfrecord").train.count == 3
    with pytest.raises(
        ValueError, match="^nowhere://x/. cannot be read: .*scheme 'nowhere'"
    ) as error:
        data.from_tfrecords("nowhere://x/*")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_transparent_images_are_on_white(tmp_path, rng):
    pixels = rng.integers(0, 256, (6, 6, 4), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    write(tmp_path / "a.tfrecord", [example(file.getvalue())])
    (tmp_path / "a.png").write_bytes(file.getvalue())
    (shown,) = data.from_tfrecords(tmp_path / "a.tfrecord").train.batches(1, 6)
    (expected,) = data.from_folder(tmp_path).train.batches(1, 6)
    np.testing.assert_array_equal(shown["image"], expected["image"])


def test_identifies_records_by_name_and_size(tmp_path, image):
    write(tmp_path / "a.tfrecord", [example(image)])
    digest = data.from_tfrecords(tmp_path / "a.tfrecord").digest
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert data.from_tfrecords(tmp_path / "moved" / "*.tfrecord").digest == digest
    write(tmp_path / "a.tfrecord", [example(image)] * 2)
    assert data.from_tfrecords(tmp_path / "a.tfrecord").digest != digest


def write_shades(folder, shards=3, records=5):
    """Images of one shade in shards; the label is the shard."""
    for shard in range(shards):
        shades = range(10 * shard * records, 10 * (shard + 1) * records, 10)
        images = [
            tf.io.encode_png(np.full((4, 4, 3), shade % 250, "uint8")).numpy() for shade in shades
        ]
        write(folder / f"{shard}.tfrecord", [example(image, shard) for image in images])
    return folder / "*.tfrecord"


def shades_and_labels(images):
    batch = next(iter(images.batches(100, 4)))
    return batch["image"].numpy()[:, 0, 0, 0].tolist(), batch["label"].numpy().tolist()


def damage(file, text=b"IDAT", record=0):
    """Overwrites a part of an image inside a file."""
    content = bytearray(file.read_bytes())
    position = -1
    for _ in range(record + 1):
        position = content.index(text, position + 1)
    content[position + 6] ^= 255
    file.write_bytes(content)


@pytest.mark.slow
def test_shuffles_all_records_of_sorted_shards(tmp_path, order):
    source = data.from_tfrecords(write_shades(tmp_path, shards=5, records=20))
    assert source.train.shuffle_buffer == source.train.count == 80
    epochs = order(source.train, 3, seed=0)
    assert all(sorted(epoch) == sorted(np.repeat(range(5), 16)) for epoch in epochs)
    assert all(len(set(epoch[:20])) == 5 for epoch in epochs)
    assert order(source.train, 1, seed=0, first_step=25)[0][:60] == (epochs[1] + epochs[2])[20:80]


@pytest.mark.slow
def test_each_worker_reads_its_own_records(tmp_path, monkeypatch):
    images = data.from_tfrecords(write_shades(tmp_path, shards=5, records=200)).train
    read, numbers = records.Records.read, []

    def note(self, number):
        numbers.append(number)
        return read(self, number)

    monkeypatch.setattr(records.Records, "read", note)
    whole = [b["image"].numpy() for b in images.shuffled_batches(8, 4, seed=0).take(100)]
    own = []
    for worker in range(2):
        numbers.clear()
        context = tf.distribute.InputContext(2, worker, 2)
        batches = images.shuffled_batches(8, 4, seed=0, context=context)
        own.append([batch["image"].numpy() for batch in batches.take(100)])
        assert len(numbers) < 8 * 100, "the batches of one worker, and those ahead"
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([own[0][step], own[1][step]]), batch)


@pytest.mark.slow
def test_a_broken_record_is_replaced_like_a_broken_file(tmp_path, caplog):
    pattern = write_shades(tmp_path)
    (shades, labels), last = shades_and_labels(data.from_tfrecords(pattern).train), 140
    assert shades == [10 * n for n in range(15) if n % 5] and labels[-1] == 2
    damage(tmp_path / "0.tfrecord", record=2)
    damage(tmp_path / "2.tfrecord", record=4)
    source = data.from_tfrecords(pattern)
    for _ in range(2):
        assert shades_and_labels(source.train) == (
            [shades[0], 30, *shades[2:-1], shades[0]],
            [*labels[:-1], 0],
        )
    named = {f"{tmp_path}/0.tfrecord, record 3", f"{tmp_path}/2.tfrecord, record 5"}
    assert source.train.replaced == named and source.test.replaced == set() and last == shades[-1]
    for name in named:
        assert caplog.text.count(f"Another image replaces {name}: damaged or cut off.") == 1
    with pytest.raises(ValueError, match="2 of .* records cannot be read") as error:
        data.from_tfrecords(pattern, check="decode")
    # The file's own checksum no longer fits, so that TensorFlow reads no further.
    assert "0.tfrecord, after record 2: damaged or cut off" in str(error.value)


@pytest.mark.slow
def test_files_that_change_or_vanish_during_training(tmp_path):
    source = data.from_tfrecords(write_shades(tmp_path))
    before, _ = shades_and_labels(source.train)
    damage(tmp_path / "1.tfrecord", record=1)
    (tmp_path / "2.tfrecord").unlink()
    shades, _ = shades_and_labels(source.train)
    assert shades == [*before[:4], before[5], *before[5:8], *[before[0]] * 4]
    assert len(source.train.replaced) == 5


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_a_second_start_reads_no_records(tmp_path, monkeypatch, compression):
    pattern, index = write_shades(tmp_path), tmp_path / "index.gz"
    if compression:
        write(tmp_path / "1.tfrecord", [example(GRAY, b"\xff")] * 5, compression)
    examined, examine = [], tfrecords.examine_records

    def note(file, check, keys):
        examined.append(file[-10:])
        return examine(file, check, keys)

    def opened(**options):
        examined.clear()
        source = data.from_tfrecords(pattern, index, **options)
        return shades_and_labels(source.train) if source.train.labelled else None

    monkeypatch.setattr(tfrecords, "examine_records", note)
    first = opened()
    assert sorted(examined) == ["0.tfrecord", "1.tfrecord", "2.tfrecord"]
    assert opened() == first and examined == []
    # Compressed files were decoded, and the only held-out image of the first shard when it opened.
    expected = ["0.tfrecord", "2.tfrecord"] if compression else ["1.tfrecord", "2.tfrecord"]
    assert opened(check="decode") == first and sorted(examined) == expected
    assert opened(check="decode") == opened() == first and examined == []
    shutil.copy(tmp_path / "0.tfrecord", tmp_path / "2.tfrecord")
    opened()
    assert examined == ["2.tfrecord"]
    index.write_bytes(index.read_bytes()[:-9])
    opened()
    assert len(examined) == 3


@pytest.mark.slow
def test_the_index_keeps_which_images_were_decoded(tmp_path, monkeypatch):
    pattern, index = write_shades(tmp_path), tmp_path / "index.gz"
    decoded = []
    monkeypatch.setattr(records, "check_decodes", decoded.append)
    for expected in (15, 0):
        source = data.from_tfrecords(pattern, index)
        for images in (source.train, source.test, source.train):
            shades_and_labels(images)
        assert len(decoded) == expected
        decoded.clear()
    write(tmp_path / "2.tfrecord", [example(GRAY, 7)])
    shades_and_labels(data.from_tfrecords(pattern, index).test)
    assert len(decoded) == 1


def test_an_index_keeps_the_files_that_are_whole(tmp_path, monkeypatch):
    pattern, index = write_shades(tmp_path), tmp_path / "index.gz"
    whole = (tmp_path / "1.tfrecord").read_bytes()
    (tmp_path / "1.tfrecord").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="1.tfrecord, after record 4: damaged or cut off"):
        data.from_tfrecords(pattern, index)
    (tmp_path / "1.tfrecord").write_bytes(whole)
    examined, examine = [], tfrecords.examine_records

    def note(*arguments, keys):
        examined.append(arguments)
        return examine(*arguments, keys)

    monkeypatch.setattr(tfrecords, "examine_records", note)
    assert data.from_tfrecords(pattern, index).train.count == 12
    assert len(examined) == 1


def test_names_records_with_other_keys_and_without_an_image(tmp_path):
    write_records(tmp_path / "a.tfrecord", 2)
    write_records(tmp_path / "b.tfrecord", 1, image_key="image/encoded", label_key="label")
    two = tf.train.BytesList(value=[GRAY, GRAY])
    features = tf.train.Features(feature={"image": tf.train.Feature(bytes_list=two)})
    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[7]))
    numbered = tf.train.Features(feature={"image": number})
    write(
        tmp_path / "c.tfrecord",
        [
            tf.train.Example(features=features).SerializeToString(),
            tf.train.Example(features=numbered).SerializeToString(),
            tf.train.Example().SerializeToString(),
            b"\xff not an example",
        ],
    )
    for check in ("header", "decode"):
        with pytest.raises(ValueError, match="5 of 7 records cannot be read") as error:
            data.from_tfrecords(tmp_path / "*.tfrecord", check=check)
        for said in (
            "b.tfrecord, record 1: no key 'image', only ['image/encoded', 'label']",
            "c.tfrecord, record 1: no readable image at the key 'image'",
            "c.tfrecord, record 2: no readable image at the key 'image'",
            "c.tfrecord, record 3: no key 'image', only []",
            "c.tfrecord, record 4: no tf.train.Example",
        ):
            assert said in str(error.value)


MEMORY = """
import sys

import psutil

from keras_bt import data

few, many = (f"{sys.argv[1]}/{name}.tfrecord" for name in ("few", "many"))
memory = psutil.Process().memory_info
next(iter(data.from_tfrecords(few).train.shuffled_batches(64, 2, seed=0)))
before = memory().rss
images = data.from_tfrecords(many).train
batches = iter(images.shuffled_batches(64, 2, seed=0))
for _ in range(50):
    next(batches)
print((memory().rss - before) / images.count)
"""


@pytest.mark.slow
def test_memory_is_as_stated(tmp_path):
    pixel = tf.io.encode_png(np.zeros((1, 1, 3), "uint8")).numpy()
    write(tmp_path / "few.tfrecord", [example(pixel)] * 100)
    write(tmp_path / "many.tfrecord", [example(pixel)] * 100_000)
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        command, env=environment, check=True, capture_output=True, timeout=300
    )
    assert 0 < float(finished.stdout) < 600, "docs/how_to/memory.md: 300 bytes, and small change"

"""Images and labels are found where protocol buffers have them, reading little of a file."""

import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_bt.data import record_fields
from keras_bt.data.files import UnreadableError

GIF = b"GIF89a"
numbers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)
features = st.one_of(
    numbers.map(lambda n: tf.train.Feature(int64_list=tf.train.Int64List(value=n))),
    st.lists(st.floats(width=32), max_size=3).map(
        lambda n: tf.train.Feature(float_list=tf.train.FloatList(value=n))
    ),
    st.lists(st.binary(max_size=300), max_size=3).map(
        lambda n: tf.train.Feature(bytes_list=tf.train.BytesList(value=n))
    ),
    st.just(tf.train.Feature()),
)
# Fields that a later version of the format may have: a number, a text, 8 and 4 bytes.
UNKNOWN = b"\x78\xac\x02" + b"\x7a\x03abc" + b"\x79" + bytes(8) + b"\x7d" + bytes(4)


@given(drawn=st.data())
def test_finds_what_protocol_buffers_find(drawn):
    others = drawn.draw(st.dictionaries(st.text(max_size=5), features, max_size=4))
    image = GIF + drawn.draw(st.binary(max_size=9000))
    label = drawn.draw(st.one_of(st.none(), st.integers(-5, 2**40), st.binary(max_size=20)))
    feature = {**others, "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
    feature.pop("label", None)
    if isinstance(label, int):
        feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    elif label is not None:
        feature["label"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[label]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    content = example.SerializeToString() + drawn.draw(st.sampled_from([b"", UNKNOWN]))

    def read(position, count):
        return content[position : position + count]

    found = record_fields.find_image(read, 0, len(content), "image", "label")
    assert content[found.offset :][: found.length] == image
    assert found.label == label
    assert record_fields.find_image(read, 0, len(content), "image", None).label is None


@given(st.binary(max_size=60))
def test_any_bytes_are_an_example_or_unreadable(content):
    with pytest.raises(UnreadableError):
        record_fields.find_image(lambda p, n: content[p : p + n], 0, len(content), "image", "label")


@pytest.fixture
def written(tmp_path):
    def write(records):
        with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
            for record in records:
                writer.write(record)
        return tmp_path / "a.tfrecord"

    return write


def test_finds_the_records_of_a_file(written, rng):
    records = [rng.bytes(size) for size in (0, 1, 5000, 12, 4096, 70000, 3)]
    path = written(records)
    found = [read(start, end - start) for read, start, end in record_fields.local_records(path)]
    assert found == records


@pytest.mark.parametrize("change", ["cut", "cut the checksum", "length", "checksum of a length"])
def test_damage_between_records_ends_the_file(written, change):
    path = written([b"one", b"two", b"three"])
    content = bytearray(path.read_bytes())
    second = 16 + 3
    if change.startswith("cut"):
        del content[-1 if change == "cut the checksum" else -6 :]
    else:
        content[second + (0 if change == "length" else 8)] ^= 1
    path.write_bytes(content)
    lengths, records = [], record_fields.local_records(path)
    with pytest.raises(tf.errors.DataLossError):
        lengths.extend(end - start for _, start, end in records)
    assert lengths == ([3, 3] if change.startswith("cut") else [3])


def test_does_not_read_large_images(written, rng, monkeypatch):
    image = GIF + rng.bytes(100_000)
    lists = {"image": image, "label": b"cat", "path": b"a.gif"}
    feature = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in lists.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    path = written([example] * 5)
    pread, counts = os.pread, []

    def note(descriptor, count, position):
        if os.path.samestat(os.fstat(descriptor), path.stat()):  # other tests' threads go on
            counts.append(count)
        return pread(descriptor, count, position)

    monkeypatch.setattr(os, "pread", note)
    places = [
        record_fields.find_image(read, start, end, "image", "label")
        for read, start, end in record_fields.local_records(path)
    ]
    assert [place.label for place in places] == [b"cat"] * 5
    assert sum(counts) < path.stat().st_size / 5
    content = np.fromfile(path, "uint8")
    assert all(content[p.offset :][: p.length].tobytes() == image for p in places)

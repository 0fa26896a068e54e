import numpy as np
import pytest
import tensorflow as tf

from keras_bt import data


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


@pytest.mark.parametrize("labels", [[0] * 10, [-1] * 10, [0, -1] * 5])
def test_ignores_negative_labels_and_a_single_class(tmp_path, labels):
    image = tf.io.encode_png(tf.zeros([6, 6, 3], tf.uint8)).numpy()
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        for label in labels:
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            features = tf.train.Features(feature=feature)
            writer.write(tf.train.Example(features=features).SerializeToString())
    source = data.from_tfrecords(tmp_path / "a.tfrecord")
    assert (source.train.count, source.test, source.classes) == (10, None, None)
    assert list(next(iter(source.train.batches(4, 6)))) == ["image"]

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
def test_tfrecords_with_labels(tmp_path, keys, order):
    write_records(tmp_path / "a-0.tfrecord", 12, *keys)
    source = data.from_tfrecords(tmp_path / "a-*.tfrecord")
    assert (source.train.count, source.test.count, source.classes) == (9, 3, 3)
    held_out = next(iter(source.test.batches(5, 6)))
    assert held_out["image"].numpy()[:, 0, 0, 0].tolist() == [0, 50, 100]
    assert held_out["label"].numpy().tolist() == [0, 2, 1]
    assert order(source.train, 2, seed=0) == order(source.train, 2, seed=0)


def test_tfrecords_without_labels(tmp_path):
    for part in range(2):
        write_records(tmp_path / f"a-{part}.tfrecord", 4)
    source = data.from_tfrecords(tmp_path / "*.tfrecord")
    assert (source.train.count, source.test) == (8, None)


def test_wrong_tfrecords_are_named(tmp_path):
    with pytest.raises(ValueError, match="No file matches .*none"):
        data.from_tfrecords(tmp_path / "none*")
    write_records(tmp_path / "a.tfrecord", 1, image_key="picture")
    with pytest.raises(ValueError, match=r"keys \['picture'\]; keras_bt needs 'image'"):
        data.from_tfrecords(tmp_path / "a.tfrecord")
    (tmp_path / "b.tfrecord").touch()
    with pytest.raises(ValueError, match=r"b.tfrecord holds no records"):
        data.from_tfrecords(tmp_path / "b.tfrecord")

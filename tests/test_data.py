"""Every source against files made here; order as a function of (seed, epoch)."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt import data


def write_image(path, shape=(12, 9, 3), value=None, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, shape) if value is None else np.full(shape, value)
    encode = {".png": tf.io.encode_png, ".jpg": tf.io.encode_jpeg}[path.suffix.lower()]
    tf.io.write_file(str(path), encode(image.astype("uint8")))
    return image.astype("uint8")


def order(images, epochs, batch_size=4, **arguments):
    """Labels in the order of training, one list an epoch."""
    steps = images.count // batch_size
    batches = images.shuffled_batches(batch_size, 2, **arguments).take(epochs * steps)
    labels = np.concatenate([batch["label"].numpy() for batch in batches])
    return labels.reshape(epochs, -1).tolist()


@pytest.fixture
def numbered():
    """Fourteen images labelled by their number."""
    return data.from_arrays(np.zeros((14, 2, 2, 3), "uint8"), labels=range(14))


def test_order_is_a_function_of_seed_and_epoch(numbered):
    first = order(numbered, 4, seed=0)
    assert first == order(numbered, 4, seed=0)
    assert all(len(set(epoch)) == len(epoch) == 12 for epoch in first)
    assert len({tuple(epoch) for epoch in first}) == 4
    assert first[2:] == order(numbered, 2, seed=0, first_epoch=2)
    assert first != order(numbered, 4, seed=1)
    assert first[1:] != order(numbered, 3, seed=1), "seed + 1 must not be the next epoch"


@pytest.mark.parametrize("global_seed", [0, 1])
def test_global_seed_does_not_reorder(numbered, global_seed):
    expected = order(numbered, 2, seed=0)
    tf.random.set_seed(global_seed)
    assert order(numbered, 2, seed=0) == expected


def test_batches_are_in_order_and_whole(numbered):
    batches = list(numbered.batches(4, 2))
    assert [len(batch["label"]) for batch in batches] == [4, 4, 4, 2]
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == list(range(14))


def test_at_most_takes_evenly_spaced_images(numbered):
    assert numbered.at_most(14) is numbered
    for limit, kept in ((7, range(0, 14, 2)), (5, range(0, 14, 3)), (1, [0])):
        fewer = numbered.at_most(limit)
        assert fewer.count == len(kept)
        labels = [batch["label"].numpy() for batch in fewer.batches(4, 2)]
        assert np.concatenate(labels).tolist() == list(kept)


def test_digits():
    source = keras_bt.data.digits()
    assert (source.train.count, source.test.count, source.classes) == (1437, 360, 10)
    batch = next(iter(source.train.batches(1437, 8)))
    assert batch["image"].shape == (1437, 8, 8, 3) and batch["image"].dtype == tf.uint8
    assert batch["image"].numpy().max() == 255
    counts = np.bincount(next(iter(source.test.batches(360, 8)))["label"])
    assert counts.min() >= 34 and counts.max() <= 38


@pytest.mark.parametrize("shape", [(3, 6, 6, 3), (3, 6, 6, 1), (3, 6, 6)])
def test_arrays_of_color_and_gray(rng, shape):
    array = rng.integers(0, 256, shape).astype("uint8")
    batch = next(iter(data.from_arrays(array).batches(3, 6)))
    assert list(batch) == ["image"]
    expected = np.broadcast_to(array.reshape(3, 6, 6, -1), (3, 6, 6, 3))
    np.testing.assert_array_equal(batch["image"], expected)
    floats = next(iter(data.from_arrays(array / 255.0).batches(3, 6)))["image"]
    np.testing.assert_allclose(floats, expected / 255.0, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "labels", "message"),
    [
        (np.zeros((2, 6, 6, 4), "uint8"), None, r"got shape \(2, 6, 6, 4\)"),
        (np.zeros((0, 6, 6, 3), "uint8"), None, r"got shape \(0, 6, 6, 3\)"),
        (np.full((2, 6, 6), 255.0), None, r"in \[0, 1\].*\[255, 255\]"),
        (np.full((2, 6, 6), -1.0), None, r"in \[0, 1\].*\[-1, -1\]"),
        (np.zeros((2, 6, 6), "int32"), None, "uint8 or floating point, got int32"),
        (np.zeros((2, 6, 6), "uint8"), [1, 2, 3], r"2 images, but labels of shape \(3,\)"),
    ],
)
def test_wrong_arrays_are_named(array, labels, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(array, labels, name="mine")


def test_too_few_images_for_a_batch(numbered):
    with pytest.raises(ValueError, match="14 images, fewer than the batch_size of 15"):
        numbered.shuffled_batches(15, 2, seed=0)


def test_folder_without_classes(tmp_path):
    for number, shape in enumerate([(12, 9, 3), (7, 20, 3), (30, 30, 1), (5, 5, 4)]):
        write_image(tmp_path / f"{number}.png", shape)
    write_image(tmp_path / "deep" / "er" / "Ä quote'd name.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    source = data.from_folder(tmp_path)
    assert (source.train.count, source.test, source.classes) == (5, None, None)
    batch = next(iter(source.train.batches(8, 6)))
    assert list(batch) == ["image"] and batch["image"].shape == (5, 6, 6, 3)


def test_folder_with_classes_holds_every_fifth_image_out(tmp_path):
    for name, value in (("cat", 50), ("dog", 200)):
        for number in range(10):
            write_image(tmp_path / name / f"{number}.png", value=value)
    source = data.from_folder(tmp_path)
    assert (source.train.count, source.test.count, source.classes) == (16, 4, 2)
    for images, count in ((source.train, 8), (source.test, 2)):
        batch = next(iter(images.batches(20, 6)))
        pixels = batch["image"].numpy()[:, 0, 0, 0]
        np.testing.assert_array_equal(batch["label"], (pixels == 200).astype(int))
        assert sum(pixels == 50) == count


def test_folders_of_few_images_are_no_classes(tmp_path):
    for name, count in (("cat", 5), ("dog", 4)):
        for number in range(count):
            write_image(tmp_path / name / f"{number}.png")
    assert data.from_folder(tmp_path).classes is None
    write_image(tmp_path / "dog" / "4.png")
    assert data.from_folder(tmp_path).classes == 2
    write_image(tmp_path / "beside.png")
    assert data.from_folder(tmp_path).classes is None


def test_folder_with_train_and_test(tmp_path):
    for part, count in (("train", 6), ("val", 3)):
        for name in ("a", "b"):
            for number in range(count):
                write_image(tmp_path / part / name / f"{number}.jpg")
    source = data.from_folder(tmp_path)
    assert (source.train.count, source.test.count, source.classes) == (12, 6, 2)
    write_image(tmp_path / "val" / "c" / "0.png")
    with pytest.raises(ValueError, match=r"training images lack: \['c'\]"):
        data.from_folder(tmp_path)


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="There is no folder .*nowhere"):
        data.from_folder(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"holds no images \(.bmp, .gif, .jpeg, .jpg, .png\)"):
        data.from_folder(tmp_path)


def test_corrupt_images_are_named_before_training(tmp_path):
    write_image(tmp_path / "good.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="3 of 4 images cannot be read") as error:
        data.from_folder(tmp_path)
    for name in ("text.jpg", "empty.png", "cut.jpg"):
        assert name in str(error.value)
    assert "good.jpg" not in str(error.value)


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
def test_tfrecords_with_labels(tmp_path, keys):
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


@pytest.fixture
def prepared(tmp_path):
    """A TensorFlow Datasets data set prepared on disk, as a download leaves it."""
    import tensorflow_datasets as tfds

    class Shades(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(6, 6, 1)),
                "label": tfds.features.ClassLabel(num_classes=4),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(20), "test": self._generate_examples(8)}

        def _generate_examples(self, count=0):
            for number in range(count):
                image = np.full((6, 6, 1), 10 * number, "uint8")
                yield number, {"image": image, "label": number % 4}

    Shades(data_dir=tmp_path).download_and_prepare()
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets' own writing of the files
def test_tfds(prepared):
    source = data.from_tfds("shades", data_dir=prepared)
    assert (source.train.count, source.test.count, source.classes) == (20, 8, 4)
    batch = next(iter(source.train.batches(20, 6)))
    assert batch["image"].shape == (20, 6, 6, 3)
    np.testing.assert_array_equal(batch["image"].numpy()[:, 0, 0, 1] // 10 % 4, batch["label"])
    assert order(source.train, 2, seed=0) == order(source.train, 2, seed=0)


def test_tfds_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"penguins.* has no feature 'image', only \["):
        data.from_tfds("penguins/simple", data_dir=tmp_path)


def test_unknown_tfds_name_names_the_nearest():
    with pytest.raises(ValueError, match=r"no data set 'cifar11'; did you mean 'cifar10"):
        data.from_tfds("cifar11")


def test_fit_square_takes_the_central_square(rng):
    image = rng.integers(0, 256, (10, 30, 3)).astype("uint8")
    np.testing.assert_array_equal(
        data.fit_square(tf.constant(image[:, 10:20]), 10), image[:, 10:20]
    )
    np.testing.assert_array_equal(data.fit_square(tf.constant(image), 10), image[:, 10:20])
    bands = np.zeros((40, 40, 3), "uint8")
    bands[::2] = 255  # a stripe finer than the result: antialiased to gray
    shrunk = data.fit_square(tf.constant(bands), 10).numpy()
    assert 100 < shrunk.min() and shrunk.max() < 155
    assert data.fit_square(tf.zeros([4, 4, 3]), 8).dtype == tf.float32

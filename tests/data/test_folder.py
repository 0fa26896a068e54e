import os
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_bt import data


def write_image(path, shape=(12, 9, 3), value=None, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, shape) if value is None else np.full(shape, value)
    encode = {".png": tf.io.encode_png, ".jpg": tf.io.encode_jpeg}[path.suffix.lower()]
    tf.io.write_file(str(path), encode(image.astype("uint8")))
    return image.astype("uint8")


@pytest.mark.slow
def test_folder_without_classes_has_no_labels(tmp_path):
    for number, shape in enumerate([(12, 9, 3), (7, 20, 3), (30, 30, 1), (5, 5, 4)]):
        write_image(tmp_path / f"{number}.png", shape)
    write_image(tmp_path / "deep" / "er" / "Ä quote'd name.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    source = data.from_folder(tmp_path)
    assert (source.train.count, source.test, source.classes) == (5, None, None)
    batch = next(iter(source.train.batches(8, 6)))
    assert list(batch) == ["image"] and batch["image"].shape == (5, 6, 6, 3)


@pytest.mark.slow
def test_folder_with_classes_holds_out_every_fifth_image(tmp_path):
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


def test_folders_with_few_images_are_not_classes(tmp_path):
    for name, count in (("cat", 5), ("dog", 4)):
        for number in range(count):
            write_image(tmp_path / name / f"{number}.png")
    assert data.from_folder(tmp_path).classes is None
    write_image(tmp_path / "dog" / "4.png")
    assert data.from_folder(tmp_path).classes == 2
    write_image(tmp_path / "beside.png")
    assert data.from_folder(tmp_path).classes is None


def test_folders_train_and_val_are_the_two_sets(tmp_path):
    for part, count in (("train", 6), ("val", 3)):
        for name in ("a", "b"):
            for number in range(count):
                write_image(tmp_path / part / name / f"{number}.jpg")
    source = data.from_folder(tmp_path)
    assert (source.train.count, source.test.count, source.classes) == (12, 6, 2)
    write_image(tmp_path / "val" / "c" / "0.png")
    with pytest.raises(ValueError, match=r"folders without training images: \['c'\]"):
        data.from_folder(tmp_path)


def test_rejects_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match="There is no folder .*nowhere"):
        data.from_folder(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(
        ValueError, match=r"holds no images \(.bmp, .*, .webp\); it holds .txt \(1\)"
    ):
        data.from_folder(tmp_path)


def test_reports_corrupt_images_before_training(tmp_path):
    write_image(tmp_path / "good.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-2])
    for check, bad in (("header", 2), ("decode", 3)):
        with pytest.raises(ValueError, match=f"{bad} of 4 images cannot be read") as error:
            data.from_folder(tmp_path, check=check)
        for name in ("text.jpg", "empty.png", "cut.jpg")[:bad]:
            assert name in str(error.value)
        assert "good.jpg" not in str(error.value)
        assert str(error.value).endswith("Use bad_images=skip to leave them out.")


def test_skips_corrupt_images_on_request(tmp_path, caplog):
    for name in ("a", "b"):
        for number in range(6):
            write_image(tmp_path / name / f"{number}.png")
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "bad.png").write_text("not a picture")
    source = data.from_folder(tmp_path, bad_images="skip")
    assert (source.train.count, source.test.count, source.classes) == (9, 3, 2)
    assert source.skipped == 3
    assert "3 of 15 images cannot be read:" in caplog.text and "bad.png: not a JPEG" in caplog.text
    for path in tmp_path.glob("*/?.png"):
        path.write_text("not a picture")
    with pytest.raises(ValueError, match="15 of 15 images cannot be read"):
        data.from_folder(tmp_path, bad_images="skip")


def test_rejects_a_test_folder_with_only_corrupt_images(tmp_path):
    for name in ("train/a", "train/b"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png")
    (tmp_path / "test" / "a").mkdir(parents=True)
    (tmp_path / "test" / "a" / "0.png").write_text("not a picture")
    with pytest.raises(ValueError, match="None of the 1 images in .*test can be read"):
        data.from_folder(tmp_path, bad_images="skip")


def test_rejects_unknown_bad_images_and_checks(tmp_path):
    write_image(tmp_path / "0.png")
    with pytest.raises(ValueError, match='bad_images must be "fail" or "skip", got \'ignore\''):
        data.from_folder(tmp_path, bad_images="ignore")
    for open_images in (data.from_folder, data.from_tfrecords):
        with pytest.raises(ValueError, match='check must be "header" or "decode", got \'all\''):
            open_images(tmp_path / "0.png", check="all")


def test_rejects_images_above_max_pixels(tmp_path):
    write_image(tmp_path / "0.png", (10, 11, 3))
    with pytest.raises(ValueError, match="0.png: 11 x 10 pixels; max_pixels is 109"):
        data.from_folder(tmp_path, max_pixels=109)
    assert data.from_folder(tmp_path, max_pixels=110).train.count == 1


@pytest.fixture
def write_images(tmp_path):
    """Writes numbered images into folders: a mapping from path to number."""

    def write(folders):
        content = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
        for folder, count in folders.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (tmp_path / folder / f"{number}.png").write_bytes(content)
        return tmp_path

    return write


def test_rejects_test_images_outside_class_folders(write_images):
    folder = write_images({"train/a": 5, "train/b": 5, "test": 1, "test/a": 1})
    with pytest.raises(ValueError, match=r"test has images outside its class folders"):
        data.from_folder(folder)


ONE_SET = {"bus": 5, "car": 5, "train": 5}
TWO_SETS = {"train/a": 5, "train/b": 5}


@pytest.mark.parametrize(
    ("folders", "counts", "said"),
    [
        (ONE_SET, (12, 3, 3), "15 images in 3 classes, 3 of them held out; train counts like the"),
        ({**ONE_SET, "test": 2}, (5, 0, None), r"5 images, 0 .* left out: bus \(5\), car \(5\), t"),
        (
            {"train": 5, "test": 3, "unlabeled": 4},
            (5, 0, None),
            r"left out: unlabeled \(4\), test \(3\)",
        ),
        (
            {**TWO_SETS, "test/a": 2, "extra/deep": 4, ".": 1},
            (10, 2, 2),
            r"extra \(4\), no f.* \(1\)",
        ),
        ({**TWO_SETS, "extra": 4}, (8, 2, 2), r"images left out: extra \(4\)"),
        ({"train": 5, "extra": 4}, (9, 0, None), "classes need 5 images, .* fewer: extra .4."),
        ({**TWO_SETS, "test": 2, "val/a": 3}, (10, 3, 2), r"images left out: test \(2\)"),
        ({**TWO_SETS, "test/a": 2, "val/a": 3}, (10, 2, 2), r"images left out: val \(3\)"),
        ({**TWO_SETS, "test/unknown": 2}, (8, 2, 2), r"images left out: test \(2\)"),
        ({"a": 5, "b": 4}, (9, 0, None), r"no labels, because .* have fewer: b \(4\)"),
        ({"a": 5, "b": 5, ".": 1}, (11, 0, None), r"no labels, because not all .*0.png, 1 in all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_says_in_a_line_what_is_taken_and_left_out(write_images, caplog, folders, counts, said):
    source = data.from_folder(write_images(folders))
    held_out = source.test.count if source.test else 0
    assert (source.train.count, held_out, source.classes) == counts
    (message,) = caplog.messages
    assert re.search(said, message) and "\n" not in message


@pytest.mark.parametrize(
    "folders", [{"a": 5, "b": 5}, {"train": 5}, {"a": 3}, {**TWO_SETS, "val/a": 2}]
)
def test_says_nothing_where_nothing_is_left_out(write_images, caplog, folders):
    data.from_folder(write_images(folders))
    assert caplog.messages == []


def test_names_files_that_are_no_images(tmp_path, caplog):
    write_image(tmp_path / "0.jpg")
    jpeg = (tmp_path / "0.jpg").read_bytes()
    for name in ("1.jfif", "2.JPE", "3.JFIF"):
        (tmp_path / name).write_bytes(jpeg)
    for name in ("a.tiff", "b.TIFF", "c.heic", "README", ".hidden.tiff"):
        (tmp_path / name).touch()
    said = "files that are no images: .tiff (2), .heic (1), no suffix (1)"
    assert data.from_folder(tmp_path).train.count == 4
    assert len(data.image_files(tmp_path)) == 4
    assert [said in message for message in caplog.messages] == [True, True]


def test_rejects_a_test_folder_without_a_train_folder(tmp_path):
    for name in ("a", "b", "test"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png")
    with pytest.raises(ValueError, match="has a folder test but no folder train"):
        data.from_folder(tmp_path)


def test_ignores_hidden_files_and_folders(tmp_path):
    for name in ("a", "b", ".thumbs"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "._0.png").write_text("metadata of a Mac")
    source = data.from_folder(tmp_path)
    assert (source.classes, source.train.count + source.test.count) == (2, 10)


def test_follows_links_once(tmp_path):
    for name in ("a", "b"):
        for number in range(5):
            write_image(tmp_path / "elsewhere" / name / f"{number}.png")
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "loop").symlink_to(tmp_path / "images")
    source = data.from_folder(tmp_path / "images")
    assert (source.classes, source.train.count + source.test.count) == (2, 10)


def test_reports_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    write_image(tmp_path / "0.png")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="closed"):
        data.from_folder(tmp_path)


def test_current_folder_has_its_own_name(tmp_path, monkeypatch):
    write_image(tmp_path / "mine" / "0.png")
    monkeypatch.chdir(tmp_path / "mine")
    assert data.from_folder(".").name == "mine"

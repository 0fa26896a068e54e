"""Files that vanish or change after the scan are replaced, counted and logged once."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_bt import data
from keras_bt.data import files


def write(path, value, shape=(4, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(np.full(shape, value, "uint8")).numpy())


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten images, each image of one shade; every fifth is held out."""
    for number in range(20):
        write(tmp_path / "ab"[number // 10] / f"{number:02}.png", 10 * number)
    return tmp_path


def shades_and_labels(images):
    batch = next(iter(images.batches(100, 4)))
    return batch["image"].numpy()[:, 0, 0, 0].tolist(), batch["label"].numpy().tolist()


@pytest.mark.slow
def test_replaces_vanished_files_and_their_labels(folder, caplog):
    source = data.from_folder(folder)
    before, labels = shades_and_labels(source.train)
    assert (before, labels) == ([10 * n for n in range(20) if n % 5], [0] * 8 + [1] * 8)
    assert source.train.replaced == set()
    gone = [folder / "a" / "01.png", folder / "a" / "09.png", folder / "b" / "19.png"]
    gone[0].unlink()
    gone[1].write_text("no image")
    gone[2].unlink()
    gone[2].mkdir()
    for _ in range(2):
        shades, labels = shades_and_labels(source.train)
        assert shades == [20, *before[1:7], 110, *before[8:15], 20]
        assert labels == [0] * 7 + [1] * 8 + [0]
    assert source.train.replaced == {str(path) for path in gone}
    assert source.train.at_most(3).replaced is source.train.replaced
    assert source.test.replaced == set()
    for path in gone:
        assert caplog.text.count(f"Another image replaces {path}: ") == 1
    assert "09.png: not a JPEG, PNG, BMP, GIF or WebP image." in caplog.text


@pytest.mark.slow
def test_keeps_the_order_of_the_other_files(folder, order):
    images = data.from_folder(folder).train
    before = np.ravel(order(images, 2, seed=0))
    (folder / "a" / "09.png").unlink()
    after = np.ravel(order(images, 2, seed=0))
    assert (before != after).sum() == 2  # in each epoch an image of b replaces it


@pytest.mark.slow
def test_reads_changed_files(folder):
    images = data.from_folder(folder).train
    write(folder / "a" / "01.png", 77, (6, 6, 4))
    shades, _ = shades_and_labels(images)
    assert shades[:2] == [255 - round((255 - 77) * 77 / 255), 20]
    assert images.replaced == set()


@pytest.mark.slow
def test_fails_if_too_many_files_in_a_row_are_gone(folder):
    images = data.from_folder(folder).train
    for path in folder.glob("*/*.png"):
        path.unlink()
    with pytest.raises(tf.errors.OpError, match="and the 15 images before it cannot be read"):
        shades_and_labels(images)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.slow
def test_damage_behind_the_header_is_met_when_the_file_is_read(folder, caplog, tmp_path_factory):
    whole, labels = shades_and_labels(data.from_folder(folder).train)
    cut(folder / "a" / "02.png")
    cut(folder / "a" / "05.png")  # held out
    stored = tmp_path_factory.mktemp("beside") / "index.gz"
    for index in (None, stored, stored):
        source = data.from_folder(folder, index=index)
        assert (source.train.count, source.test.count, source.skipped) == (16, 4, 0)
        for _ in range(2):
            assert shades_and_labels(source.train) == ([whole[0], 30, *whole[2:]], labels)
        assert source.train.replaced == {str(folder / "a" / "02.png")}
        # A held-out image is replaced by a held-out image, and an image by one with its label.
        assert shades_and_labels(source.test) == ([0, 100, 100, 150], [0, 1, 1, 1])
        assert source.test.replaced == {str(folder / "a" / "05.png")}
    assert "02.png: damaged or cut off." in caplog.text
    source = data.from_folder(folder, "skip", index=stored, check="decode")
    assert (source.train.count + source.test.count, source.skipped) == (18, 2)
    assert shades_and_labels(source.train) and source.train.replaced == set()
    assert data.from_folder(folder, index=stored).train.count == 16


@pytest.mark.slow
def test_the_index_keeps_what_reading_has_found(folder, tmp_path_factory, monkeypatch):
    index = tmp_path_factory.mktemp("beside") / "index.gz"
    cut(folder / "a" / "02.png")
    decoded, check = [], files.check_decodes

    def note(encoded):
        decoded.append(encoded)
        check(encoded)

    monkeypatch.setattr(files, "check_decodes", note)
    source = data.from_folder(folder, index=index)
    assert len(decoded) == 2, "the first image of each set"
    for _ in range(2):
        shades_and_labels(source.train)
    # The damaged file is decoded each time; it may have been repaired.
    assert len(decoded) == 1 + 16 + 1
    decoded.clear()
    source = data.from_folder(folder, index=index)
    shades_and_labels(source.train)
    assert len(decoded) == 1 + 1, "the first held-out image, and the damaged one"
    shades_and_labels(source.test)
    decoded.clear()
    data.from_folder(folder, index=index)
    assert decoded == []


def test_refuses_a_folder_whose_every_file_is_damaged(folder):
    for path in folder.glob("*/*.png"):
        cut(path)
    with pytest.raises(OSError, match="19.png and the 15 images before it cannot be read: damaged"):
        data.from_folder(folder)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 5])
def test_python_exits_while_images_are_read(folder, batches):
    script = f"""
from keras_bt import data
batches = iter(data.from_folder({str(folder)!r}).train.shuffled_batches(4, 64, seed=0))
for _ in range({batches}):
    next(batches)
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)

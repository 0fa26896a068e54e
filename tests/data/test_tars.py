"""Tar files of WebDataset: samples by name, labels, damage."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from keras_bt import data


def png(shade):
    return tf.io.encode_png(np.full((4, 4, 3), shade, "uint8")).numpy()


def write(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_shades(folder, shards=2, images=5, suffix="cls"):
    """Images of one shade in shards; the label is the shard."""
    for shard in range(shards):
        members = {}
        for number in range(shard * images, (shard + 1) * images):
            members[f"{number:03}.png"] = png(10 * number % 250)
            if suffix:
                members[f"{number:03}.{suffix}"] = b"%d" % shard
        write(folder / f"s-{shard:03}.tar", members)
    return folder / f"s-{{000..{shards - 1:03}}}.tar"


def shades_and_labels(images):
    batch = next(iter(images.batches(100, 4)))
    labels = batch["label"].numpy().tolist() if images.labelled else None
    return batch["image"].numpy()[:, 0, 0, 0].tolist(), labels


@pytest.mark.slow
def test_reads_samples_in_order_and_shuffles_all(tmp_path, order):
    source = data.from_tars(write_shades(tmp_path, shards=3), index=tmp_path / "index.gz")
    assert (source.train.count, source.test.count, source.classes) == (12, 3, 3)
    shades = [10 * n for n in range(15) if n % 5]
    assert shades_and_labels(source.train) == (shades, [0] * 4 + [1] * 4 + [2] * 4)
    assert shades_and_labels(source.test) == ([0, 50, 100], [0, 1, 2])
    epochs = order(source.train, 2, seed=0)
    assert order(source.train, 1, seed=0, first_step=3)[0] == epochs[1]
    again = data.from_tars(tmp_path / "s-*.tar", index=tmp_path / "index.gz", check="decode")
    assert shades_and_labels(again.train)[0] == shades and again.digest == source.digest


@pytest.mark.slow
def test_the_name_up_to_its_first_dot_is_the_sample(tmp_path, caplog):
    cat, dog = b"cat\n", "Hünd".encode()
    members = {
        "a/x.y/0.cls": cat,
        "a/x.y/0.JPG": tf.io.encode_jpeg(np.zeros((4, 4, 3), "uint8")).numpy(),
        "a/x.y/0.png": png(99),  # the first image counts
        "a/x.y/0.seg.png": png(99),
        "a/x.y/0.json": b"{}",
    }
    members |= {f"b/{n}.png": png(10 * n) for n in range(1, 5)}
    members |= {f"b/{n}.cls": dog for n in range(1, 5)}
    members |= {"b/9.cls": dog, "README": b"no sample"}
    write(tmp_path / "a.tar", members)
    source = data.from_tars(tmp_path / "a.tar")
    assert source.class_names == ("Hünd", "cat") and caplog.messages == []
    assert shades_and_labels(source.test) == ([0], [1])
    assert shades_and_labels(source.train) == ([10, 20, 30, 40], [0] * 4)


@pytest.mark.parametrize("suffix", ["txt", ""])
def test_tars_without_labels_have_no_classes(tmp_path, caplog, suffix):
    source = data.from_tars(write_shades(tmp_path, suffix=suffix))
    assert (source.train.count, source.test) == (10, None) and caplog.messages == []
    with tarfile.open(tmp_path / "s-000.tar", "a") as tar:
        member = tarfile.TarInfo("003.cls")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"1"))
    assert data.from_tars(tmp_path / "*.tar").test is None
    assert "labels are ignored, because not every record has one" in caplog.text


@pytest.mark.slow
def test_a_broken_image_is_replaced(tmp_path):
    pattern = write_shades(tmp_path)
    whole, labels = shades_and_labels(data.from_tars(pattern).train)
    file = tmp_path / "s-000.tar"
    content = file.read_bytes()
    position = content.index(png(20)) + len(png(20)) // 2
    file.write_bytes(content[:position] + bytes(8) + content[position + 8 :])
    source = data.from_tars(pattern)
    assert shades_and_labels(source.train) == ([whole[0], whole[2], *whole[2:]], labels)
    assert source.train.replaced == {f"{file}, record 3"}
    with pytest.raises(ValueError, match="1 of 10 records.*s-000.tar, 002: damaged or cut off"):
        data.from_tars(pattern, check="decode")


def test_names_files_that_are_no_whole_tars_of_images(tmp_path):
    pattern = write_shades(tmp_path, shards=6)
    content = (tmp_path / "s-000.tar").read_bytes()
    images = 5 * 2 * 1024
    (tmp_path / "s-000.tar").write_bytes(content[: images - 1536])  # in the last image
    (tmp_path / "s-001.tar").write_bytes(gzip.compress(content))
    damaged = bytearray(content)
    damaged[2048 + 3] ^= 255  # in a header, after which `tarfile` would see the end
    (tmp_path / "s-002.tar").write_bytes(damaged)
    write(tmp_path / "s-003.tar", {"a.txt": b"no image"})
    write(tmp_path / "s-004.tar", {"b.png": b"no image"})
    with pytest.raises(ValueError, match="5 of 10 records cannot be read") as error:
        data.from_tars(pattern)
    for number in range(3):
        assert f"s-{number:03}.tar: compressed, damaged or cut off" in str(error.value)
    assert "s-003.tar: no images (.bmp, " in str(error.value)
    assert "s-004.tar, b: no image" in str(error.value)
    with pytest.raises(ValueError, match="No file matches .*s-006.tar"):
        data.from_tars(tmp_path / "s-{005..006}.tar")
    with pytest.raises(ValueError, match="the range {6..5} is empty"):
        data.from_tars(tmp_path / "s-{6..5}.tar")
    with tf.io.gfile.GFile("ram://tars/0.tar", "w") as file:
        file.write("a tar")
    with pytest.raises(ValueError, match="0.tar is on another machine"):
        data.from_tars("ram://tars/*.tar")

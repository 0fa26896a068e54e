"""The index: a second scan reads changed files only."""

import gzip
import os
from pathlib import Path

import pytest
import tensorflow as tf

from keras_bt.data import files
from keras_bt.data.scan import scan


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for number in range(200):
        image = tf.fill([2, 3, 3], tf.cast(number, tf.uint8))
        (root / f"{number:03}.png").write_bytes(tf.io.encode_png(image).numpy())
    (root / "100.png").write_text("no image")
    return root


@pytest.fixture
def examined(monkeypatch):
    """Function that returns the names of the files examined since its last call."""
    names, examine = [], files.examine

    def record(path, max_pixels):
        names.append(Path(path).name)
        return examine(path, max_pixels)

    monkeypatch.setattr(files, "examine", record)

    def since():
        found = sorted(names)
        names.clear()
        return found

    return since


def scanned(root, index=None, **options):
    paths = sorted(str(path) for path in root.iterdir())
    return dict(zip(paths, scan(paths, str(root), index, **options), strict=True))


def test_every_file_has_a_record(folder):
    records = scanned(folder)
    bad = {path for path, record in records.items() if record.problem}
    assert bad == {str(folder / "100.png")}
    path = folder / "007.png"
    record = records[str(path)]
    assert record == files.examine(str(path))
    assert record[:2] == (path.stat().st_size, path.stat().st_mtime_ns)


def test_a_check_of_headers_decodes_nothing(folder, tmp_path, examined):
    cut = folder / "050.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    index = tmp_path / "index.gz"
    records = scanned(folder, index, check="header")
    assert examined() == []
    kinds = [record.kind for record in records.values()]
    assert kinds.count("unread") == 199 and records[str(folder / "100.png")].kind == "bad"
    decoded = scanned(folder, index, check="decode")
    assert len(examined()) == 199, "a check of headers says too little"
    assert decoded[str(cut)].kind == "bad"
    assert records[str(folder / "007.png")][:2] == decoded[str(folder / "007.png")][:2]
    again = scanned(folder, index, check="header")
    assert examined() == [] and again[str(folder / "007.png")].kind == "plain"
    assert again[str(cut)] == records[str(cut)], "the index must not change what is found"


def test_second_scan_reads_only_changed_files(folder, tmp_path, examined):
    index = tmp_path / "index.gz"
    first = scanned(folder, index)
    assert len(examined()) == 200
    assert scanned(folder, index) == first
    assert examined() == []
    (folder / "003.png").write_text("changed")
    os.utime(folder / "004.png", ns=(1, 1))
    (folder / "new.png").write_text("new")
    (folder / "005.png").unlink()
    second = scanned(folder, index)
    assert examined() == ["003.png", "004.png", "new.png"]
    assert second[str(folder / "003.png")].kind == "bad"
    assert scanned(folder, index) == second
    assert examined() == []


def test_tries_inaccessible_files_again(folder, tmp_path, examined):
    (folder / "link.png").symlink_to(tmp_path / "not yet")
    index = tmp_path / "index.gz"
    assert scanned(folder, index)[str(folder / "link.png")].kind == "bad"
    examined()
    (tmp_path / "not yet").write_bytes((folder / "000.png").read_bytes())
    assert scanned(folder, index)[str(folder / "link.png")].kind == "plain"
    assert examined() == ["link.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged",
    [b"", b"no gzip", gzip.compress(b"[]"), gzip.compress(b'{"header": {}}'), None],
    ids=["empty", "text", "list", "foreign", "cut"],
)
def test_replaces_a_damaged_index(folder, tmp_path, examined, damaged):
    index = tmp_path / "index.gz"
    first = scanned(folder, index)
    whole = index.read_bytes()
    index.write_bytes(whole[: len(whole) // 2] if damaged is None else damaged)
    examined()
    assert scanned(folder, index) == first
    assert len(examined()) == 200
    assert scanned(folder, index) == first
    assert examined() == []


def test_index_is_valid_for_one_folder_and_one_limit(folder, tmp_path, examined):
    index = tmp_path / "index.gz"
    scanned(folder, index)
    examined()
    assert all(record.problem for record in scanned(folder, index, max_pixels=5).values())
    assert len(examined()) == 200
    folder.rename(tmp_path / "moved")
    scanned(tmp_path / "moved", index, max_pixels=5)
    assert len(examined()) == 200


def test_warns_if_the_index_cannot_be_written(folder, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert len(scanned(folder, tmp_path / "file" / "index.gz")) == 200
    assert "index.gz could not be written" in caplog.text


def test_resumes_an_interrupted_scan(folder, tmp_path, examined, monkeypatch):
    index, examine = tmp_path / "index.gz", files.examine

    def interrupt(path, max_pixels):
        if path.endswith("150.png"):
            raise KeyboardInterrupt
        return examine(path, max_pixels)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "examine", interrupt)
        scanned(folder, index)
    examined()
    assert len(scanned(folder, index)) == 200
    assert examined() == [f"{number:03}.png" for number in range(128, 200)]
    os.utime(folder / "150.png", ns=(1, 1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "examine", interrupt)
        scanned(folder, index)
    scanned(folder, index)
    assert examined() == ["150.png"]


@pytest.mark.parametrize("max_pixels", [0, 178_956_971])
def test_rejects_max_pixels_out_of_range(max_pixels):
    with pytest.raises(ValueError, match=f"at most 178956970, Pillow's limit, got {max_pixels}"):
        scan([], "/nowhere", max_pixels=max_pixels)


def test_index_keeps_unusual_file_names(tmp_path, examined):
    image = tf.io.encode_png(tf.zeros([2, 3, 3], tf.uint8)).numpy()
    root = tmp_path / "images"
    root.mkdir()
    for name in ("two\nlines", "Ünï 猫", os.fsdecode(b"\xff\xfe")):
        (root / name).write_bytes(image)
    first = scanned(root, tmp_path / "index.gz")
    assert len(examined()) == 3
    assert scanned(root, tmp_path / "index.gz") == first
    assert examined() == []

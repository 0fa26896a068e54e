import errno
import os
import subprocess
import sys

import pytest

from keras_bt._support import atomic


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_file_stays_until_the_new_one_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyError), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "before"
        raise KeyError
    assert path.read_text() == "before"
    atomic.write_text(path, "after")
    assert path.read_text() == "after"
    assert names(tmp_path) == ["a.txt"]


def test_folder_replaces_a_folder(tmp_path):
    for content in ("first", "second"):
        with atomic.replacing(tmp_path / "deep" / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert names(tmp_path / "deep") == ["folder"]
    assert names(tmp_path / "deep" / "folder") == ["second"]


def test_folder_stays_if_the_new_one_is_missing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "first").touch()
    with pytest.raises(atomic.WriteError), atomic.replacing(tmp_path / "folder"):
        pass
    assert names(tmp_path / "folder") == ["first"]
    assert names(tmp_path) == ["folder"]


def test_error_names_path_reason_and_space(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError) as error, atomic.replacing(tmp_path / "a", 2_500_000):
        raise full
    assert "a could not be written: no space left on device; " in str(error.value)
    assert "MB are free, about 2.5 MB are needed." in str(error.value)


@pytest.mark.slow
def test_files_stay_unchanged_at_a_size_limit(tmp_path):
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from pathlib import Path
from keras_bt._support import atomic
path = Path(sys.argv[1], "a.txt")
atomic.write_text(path, "small")
for write in atomic.write_text, atomic.append_text:
    try:
        write(path, "large" * 1000)
    except atomic.WriteError as error:
        print(error)
atomic.append_text(path, " things")
print(path.read_text())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    *messages, content = done.stdout.splitlines()
    assert ["a.txt could not be written: " in message for message in messages] == [True, True]
    assert content == "small things"
    assert names(tmp_path) == ["a.txt"]


def test_undecodable_names_are_written(tmp_path):
    atomic.write_text(tmp_path / "a.txt", os.fsdecode(b"\xff.jpg"))
    assert (tmp_path / "a.txt").read_bytes() == b"\xff.jpg"


def test_clean_up_removes_files_of_killed_processes(tmp_path):
    temporary = [
        ".keras_bt-7-a",
        ".keras_bt-7-b",
        ".keras_bt-7-b.replaced",
        ".keras_bt-8-a.replaced",
    ]
    for name in (*temporary, "a", ".hidden", ".2026-notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "from").write_text(name)
    atomic.clean_up(tmp_path)
    assert sorted(names(tmp_path)) == [".2026-notes", ".hidden", "a", "b"]
    assert (tmp_path / "a" / "from").read_text() == "a"
    assert (tmp_path / "b" / "from").read_text() == ".keras_bt-7-b.replaced"

import os
from pathlib import Path

import pytest
import tensorflow as tf

from keras_bt._support.literal_paths import literal

# Glob patterns, what shells and URLs escape, and letters of other languages.
NAMES = [
    "run [1]",
    "[a-z]",
    "a*b",
    "a?",
    "a\\b",
    "{a,b}",
    "it's",
    'a "b"',
    "a\nb",
    "#%$&~!",
    "Größe 图",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ancestor", [False, True], ids=["folder", "ancestor"])
def test_tensorflow_reads_a_folder_of_any_name(tmp_path, monkeypatch, name, ancestor):
    folder = tmp_path / name / "deep" if ancestor else tmp_path / name
    folder.mkdir(parents=True)
    tf.train.Checkpoint(weight=tf.Variable(3.0)).write(str(folder / "state"))
    monkeypatch.chdir(tmp_path)
    for path in (folder, folder.relative_to(tmp_path)):
        with literal(path) as readable:
            reader = tf.train.load_checkpoint(str(readable / "state"))
            assert reader.get_tensor("weight/.ATTRIBUTES/VARIABLE_VALUE") == 3.0
    assert readable == path or not readable.parent.exists()


def test_path_that_is_not_utf8_is_refused_in_one_line_that_can_be_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with (
        pytest.raises(ValueError, match=r"^The path .*/caf\\udce9' is not UTF-8") as error,
        literal(folder),
    ):
        pass
    assert str(error.value).isprintable()


def test_link_needs_no_temporary_folder_of_a_plain_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "[t]"))
    with literal(tmp_path / "run [1]") as readable:
        assert readable.parents[1] == Path("/tmp")

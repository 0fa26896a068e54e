import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_bt._support import atomic
from keras_bt.training.checkpoint import CheckpointError, Checkpoints


@pytest.fixture
def weights(rng):
    return {f"layer/{i}": tf.Variable(rng.integers(9, size=(3, i + 1)) + 0.5) for i in range(3)}


@pytest.fixture
def saved(weights, tmp_path):
    """Checkpoints of steps 10 and 20; the weights of 20 are larger by one."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", weights, {"width": (4, 2)})
    for step in (10, 20):
        for weight in weights.values():
            weight.assign_add(tf.ones_like(weight))
        checkpoints.save(step)
    return checkpoints


def values(weights):
    return [weight.numpy() for weight in weights.values()]


def set_to_zero(weights):
    for weight in weights.values():
        weight.assign(tf.zeros_like(weight))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_keeps_the_newest_checkpoints(saved, weights):
    saved.keep = 2
    saved.save(30)
    assert saved.steps() == [20, 30]
    assert names(saved.folder) == ["ckpt-20", "ckpt-30"]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Checkpoints(saved.folder, weights, keep=0)


def test_saves_a_step_once(saved, weights):
    set_to_zero(weights)
    saved.save(20)
    saved.restore()
    assert all(np.any(value) for value in values(weights))


def damages(content):
    """Truncations at every tenth of a file, and one flipped bit in every byte."""
    yield from (content[: len(content) * tenth // 10] for tenth in range(10))
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        yield bytes(flipped)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["state.data-00000-of-00001", "state.index"])
def test_damaged_checkpoints_are_detected(saved, weights, name, caplog):
    newest = values(weights)
    file = saved.folder / "ckpt-20" / name
    content = file.read_bytes()
    spare = saved.folder.parent / "spare"
    shutil.copytree(saved.folder / "ckpt-20", spare)
    outcomes = set()
    for damaged in [*damages(content), None]:
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        set_to_zero(weights)
        caplog.clear()
        step = saved.restore()
        older = step == 10
        for restored, saved_value in zip(values(weights), newest, strict=True):
            np.testing.assert_array_equal(restored, saved_value - older)
        assert bool(caplog.records) == older
        assert (saved.folder / "damaged" / "ckpt-20").exists() == older
        outcomes.add(step)
        shutil.rmtree(saved.folder / "damaged", ignore_errors=True)
        shutil.rmtree(saved.folder / "ckpt-20", ignore_errors=True)
        shutil.copytree(spare, saved.folder / "ckpt-20")
    assert 10 in outcomes  # some flips are harmless, in the padding of the table


def test_damaged_checkpoint_is_named_and_moved(saved, caplog):
    (saved.folder / "ckpt-20" / "state.index").write_bytes(b"")
    assert saved.restore() == 10
    assert "ckpt-20 is damaged: " in caplog.text
    assert names(saved.folder) == ["ckpt-10", "damaged"]
    assert names(saved.folder / "damaged") == ["ckpt-20"]
    saved.save(20)
    assert saved.steps() == [10, 20]


def test_changes_no_file_without_writes(saved, weights):
    (saved.folder / "ckpt-20" / "state.index").unlink()
    reader = Checkpoints(saved.folder, weights, {"width": (4, 2)}, writes=False)
    assert reader.restore() == 10
    reader.save(30)
    assert names(saved.folder) == ["ckpt-10", "ckpt-20"]


def test_raises_if_all_checkpoints_are_damaged(saved):
    for step in saved.steps():
        (saved.folder / f"ckpt-{step}" / "state.index").write_bytes(b"nothing")
    for _ in range(2):  # again at a second attempt
        with pytest.raises(CheckpointError, match="All checkpoints in .* are damaged"):
            saved.restore()


def test_unreadable_checkpoint_is_not_damaged(saved, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(saved.folder), "open", refuse)
    with pytest.raises(PermissionError, match="ckpt-20"):
        saved.restore()
    assert names(saved.folder) == ["ckpt-10", "ckpt-20"]


def test_other_settings_are_named(saved, weights):
    other = Checkpoints(saved.folder, weights, {"width": (4, 3)})
    with pytest.raises(CheckpointError, match=r"width: \[4, 2\] before, \[4, 3\] now"):
        other.restore()


@pytest.mark.parametrize("change", ["fewer", "more", "shape"])
def test_another_model_is_refused(saved, weights, change):
    if change == "fewer":
        del weights["layer/0"]
    elif change == "more":
        weights["layer/3"] = tf.Variable(1.0)
    else:
        weights["layer/0"] = tf.Variable(tf.zeros([5], tf.float64))
    with pytest.raises(CheckpointError, match="ckpt-20 belongs to another model"):
        Checkpoints(saved.folder, weights, {"width": (4, 2)}).restore()


def test_failed_save_keeps_other_checkpoints(saved, weights, monkeypatch):
    def full(self, prefix):
        raise tf.errors.ResourceExhaustedError(None, None, f"{prefix}; No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(atomic.WriteError, match="ckpt-30 could not be written: no space left"):
        saved.save(30)
    assert names(saved.folder) == ["ckpt-10", "ckpt-20"]
    assert saved.restore() == 20


def test_removes_unfinished_checkpoints_of_a_killed_process(saved):
    (saved.folder / ".keras_bt-123-ckpt-30").mkdir()
    (saved.folder / "ckpt-40.bak").mkdir()
    assert saved.steps() == [10, 20]
    saved.save(40)
    assert names(saved.folder) == ["ckpt-10", "ckpt-20", "ckpt-40", "ckpt-40.bak"]


@pytest.mark.parametrize("name", ["run [1]", "a\\b*"])
def test_folder_may_have_any_name(weights, tmp_path, name, caplog):
    checkpoints = Checkpoints(tmp_path / name / "checkpoints", weights)
    expected = values(weights)
    checkpoints.save(10)
    set_to_zero(weights)
    assert checkpoints.restore() == 10 and not caplog.records
    for restored, saved_value in zip(values(weights), expected, strict=True):
        np.testing.assert_array_equal(restored, saved_value)


def test_folder_that_is_not_utf8_is_refused_before_training(weights, tmp_path):
    with pytest.raises(ValueError, match="is not UTF-8, as TensorFlow needs"):
        Checkpoints(tmp_path / os.fsdecode(b"caf\xe9"), weights)

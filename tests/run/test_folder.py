import errno
import json
import os

import keras
import numpy as np
import pytest

import keras_bt
from keras_bt._support import atomic
from keras_bt.run import MetricsLog, RunFolder
from keras_bt.run.folder import write_json


def test_run_json_says_how_the_run_was_started(tmp_path):
    RunFolder(tmp_path / "run", {"seed": 0, "projector_dims": (4, 2)})
    start = json.loads((tmp_path / "run" / "run.json").read_text())
    assert start["settings"] == {"seed": 0, "projector_dims": [4, 2]}
    assert start["versions"]["keras"] == keras.__version__
    assert start["versions"]["keras_bt"] == keras_bt.__version__
    assert {"command", "started", "machine", "environment"} <= set(start)


def test_run_json_has_the_command_line_it_is_given(tmp_path):
    RunFolder(tmp_path, {}, command_line="keras-bt pretrain --seed=1")
    assert (
        json.loads((tmp_path / "run.json").read_text())["command"] == "keras-bt pretrain --seed=1"
    )


def test_equal_settings_resume_and_others_are_refused_by_name(tmp_path):
    settings = {"seed": 0, "epochs": 3, "dims": (4, 2)}
    RunFolder(tmp_path, settings)
    RunFolder(tmp_path, settings)  # the first is gone, and its lock with it
    with pytest.raises(ValueError, match="epochs: 3 before, 4 now") as error:
        RunFolder(tmp_path, {**settings, "epochs": 4})
    assert "seed" not in str(error.value) and "dims" not in str(error.value)
    with pytest.raises(ValueError, match="minutes: None before, 2 now"):
        RunFolder(tmp_path, {**settings, "minutes": 2})


def test_result_marks_a_finished_run(tmp_path):
    folder = RunFolder(tmp_path, {})
    assert folder.result() is None
    folder.write_result({"loss": 2.5})
    folder.close()
    assert RunFolder(tmp_path, {}).result() == {"loss": 2.5}


def test_stored_values_are_used_after_a_restart(tmp_path):
    reads = RunFolder(tmp_path / "run", {}, writes=False)
    assert reads.once("plan", lambda: [1, 2]) == [1, 2] and reads.read("plan") is None
    assert RunFolder(tmp_path / "run", {}).once("plan", lambda: [3, 40]) == [3, 40]
    assert RunFolder(tmp_path / "run", {}).once("plan", lambda: [5, 60]) == [3, 40]
    assert reads.read("plan") == [3, 40]


def test_only_the_chief_writes(tmp_path):
    folder = RunFolder(tmp_path / "run", {}, writes=False)
    assert folder.result() is None
    folder.close()
    assert not (tmp_path / "run").exists()


def test_files_are_written_atomically(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_log_has_a_line_per_epoch(tmp_path):
    path, history = tmp_path / "metrics.jsonl", [{"epoch": 1}]
    path.write_text('{"epoch": 1}\n{"epoch": 2, "of": "epochs to train again"}\n{"half')
    log = MetricsLog(path, history)
    log.on_train_begin()
    assert lines(path) == history
    for epoch in (2, 3):
        history.append({"epoch": epoch, "loss": 0.5})
        log.on_epoch_begin(epoch)
        assert lines(path) == history
    history.append({"epoch": 4})
    log.on_train_end()
    assert lines(path) == history


def test_metrics_that_cannot_be_written_are_written_with_the_next_epoch(
    tmp_path, monkeypatch, caplog
):
    def full(path, text):
        raise atomic.WriteError(path, OSError(errno.ENOSPC, "No space left on device"))

    history: list[dict] = []
    log = MetricsLog(tmp_path / "metrics.jsonl", history)
    log.on_train_begin()
    history.append({"epoch": 1})
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "append_text", full)
        log.on_epoch_begin(1)
        assert "metrics.jsonl could not be written: no space left on device" in caplog.text
        with pytest.raises(atomic.WriteError):
            log.on_train_end()
    history.append({"epoch": 2})
    log.on_train_end()
    assert lines(log.path) == history


@pytest.mark.slow
def test_a_saved_model_predicts_the_same(tmp_path, tiny_model, images):
    folder, model = RunFolder(tmp_path, {}), tiny_model()
    model.compile("sgd")
    folder.save_model(model)
    reloaded = keras.saving.load_model(folder.model)
    np.testing.assert_array_equal(
        reloaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "model.keras", "run.json"]


def test_the_error_names_the_space_for_model_and_optimizer(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(model, "save", full)
    with pytest.raises(atomic.WriteError, match="about 12.0 MB are needed"):
        RunFolder(tmp_path, {}).save_model(model)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(atomic.WriteError, match="file/run could not be written: not a d"):
        RunFolder(tmp_path / "file" / "run", {})


@pytest.mark.parametrize(
    "name", ["encoder", "metrics.jsonl", "model.keras", "result.json", "snapshots", "views.npz"]
)
def test_files_that_belong_to_no_run_are_kept(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"holds {name} but no run.json"):
        RunFolder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_two_processes_do_not_share_a_folder(tmp_path):
    """Two open files lock each other out as two processes do."""
    first = RunFolder(tmp_path, {})
    first.metrics.write_text("{}\n")
    with pytest.raises(ValueError, match="Another process is running in"):
        RunFolder(tmp_path, {})
    assert first.metrics.read_text() == "{}\n"


@pytest.mark.parametrize("content", ["", '{"a": 1}', "[]"])
def test_a_foreign_run_json_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is not a run.json of keras_bt"):
        RunFolder(tmp_path, {})


def test_nan_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_workdir_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not UTF-8, as TensorFlow needs; rename the folder"):
        RunFolder(tmp_path / os.fsdecode(b"caf\xe9"), {})
    assert not list(tmp_path.iterdir())

import json

import pytest

from keras_bt.run.identity import check_same_run, resolved, settings_at_start

BEFORE = {"seed": 0, "image_dir": "/a/photos"}


@pytest.fixture
def run_json(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"settings": BEFORE, "images": "1f3c"}))
    return tmp_path / "run.json"


def test_a_place_has_one_name(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ["photos", "./photos", "photos/", "link", "~/photos", "link/../photos"]
    assert {resolved(name) for name in [*names, str(tmp_path / "photos")]} == {
        str(tmp_path / "photos")
    }
    assert resolved("link/*.tfrecord") == str(tmp_path / "photos" / "*.tfrecord")
    assert resolved("gs://bucket/./*.tfrecord") == "gs://bucket/./*.tfrecord"
    assert resolved(None) is None


def test_the_same_images_at_another_place_continue(run_json, caplog):
    now = {**BEFORE, "image_dir": "/b/photos", "data_dir": None}
    assert check_same_run(run_json, now, "1f3c") == BEFORE
    assert check_same_run(run_json, now, None) == BEFORE  # not opened yet
    assert check_same_run(run_json, BEFORE, "1f3c") == BEFORE and not caplog.messages


def test_a_run_begun_before_a_setting_existed_continues(run_json):
    squares = {**BEFORE, "redundancy": "squares"}
    assert check_same_run(run_json, squares, "1f3c") == BEFORE  # as its checkpoints have it
    assert settings_at_start(run_json.parent) == {**squares, "framing": "square"}
    assert check_same_run(run_json, {**squares, "framing": "square"}, "1f3c") == BEFORE
    with pytest.raises(ValueError, match="framing: 'square' before, 'whole' now"):
        check_same_run(run_json, {**squares, "framing": "whole"}, "1f3c")
    with pytest.raises(ValueError, match="redundancy: 'squares' before, 'log_determinant' now"):
        check_same_run(run_json, {**BEFORE, "redundancy": "log_determinant"}, "1f3c")


def test_other_images_at_another_place_are_refused(run_json):
    message = "run on other images .image_dir: '/a/photos' before, '/b/photos' now.; use another"
    with pytest.raises(ValueError, match=message):
        check_same_run(run_json, {**BEFORE, "image_dir": "/b/photos"}, "77aa")
    with pytest.raises(ValueError, match="other images .*image_dir: '/a/photos' before, None now"):
        check_same_run(run_json, {"seed": 0, "tfrecords": "/b/*"}, "77aa")
    with pytest.raises(ValueError, match="other settings .seed: 0 before, 1 now"):
        check_same_run(run_json, {"seed": 1, "image_dir": "/b/photos"}, None)


def test_changed_images_at_the_same_place_are_a_warning(run_json, caplog):
    assert check_same_run(run_json, BEFORE, "77aa") == BEFORE
    assert "The images have changed since the run in" in caplog.text

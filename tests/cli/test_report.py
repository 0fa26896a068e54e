"""`keras-bt report`."""

import pytest


@pytest.mark.slow
def test_report_shows_a_run_or_compares_two(tiny_run, command, tmp_path):
    workdir, _ = tiny_run
    assert command("report", workdir).stdout.strip() == str(workdir / "report.html")
    out = tmp_path / "comparison.html"
    finished = command("report", workdir, workdir, f"--out={out}")
    assert finished.stdout.strip() == str(out)
    assert out.read_text().startswith("<!doctype html>")


def test_report_refuses_folders_without_a_run(command, tmp_path):
    assert "give the folder of a run" in command("report").refusal
    assert str(tmp_path) in command("report", tmp_path).refusal

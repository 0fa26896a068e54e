"""The script accelerator.py: in a process of its own on toy sizes, and with fake measurements."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import accelerator
import accelerator_table
import pytest
import race
from accelerator_plan import RESNET18, RESNET50, Plan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "accelerator.py"
FAKE = """
import time


class ResourceExhaustedError(Exception):
    pass


def describe(command_line):
    origin = dict.fromkeys(("commit", "date", "machine"), "")
    built_for = {"device": "Fake 1", "device_type": "GPU", "devices": 1, "built_for": {"cuda": "9"}}
    return {**built_for, "command": command_line, **origin}


def step(network, seconds, **settings):
    time.sleep(SLEEP)
    if settings["batch"] > MOST:
        raise ResourceExhaustedError("Graph execution error:\\n\\nDetected at node\\n  File a\\n\\n"
                                     "OOM when allocating tensor with shape[9]\\n\\t[[node]]")
    speed = {"float32": 1, "mixed_bfloat16": 3, "mixed_float16": 2}[settings["precision"]]
    peak = {"peak_megabytes": 12.0, "finite": True}
    return {"median": 0.5, "first_step_seconds": 7.0, "images_per_second": 100.0 * speed, **peak}


def views(network, seconds, **settings):
    if HANGS:
        time.sleep(60)
    return {"median": 0.5, "images_per_second": 100.0}


def files(network, seconds, **settings):
    raise ValueError("no room\\nfor files")
"""
CRASH = """
import os
import sys


def mirrored(**settings):
    print("nccl is not here", file=sys.stderr)
    os._exit(7)
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the script with fake measurements; returns its rows and what it wrote on stderr."""
    monkeypatch.setattr(race, "CONTESTANTS", tmp_path)
    shutil.copy(BENCHMARKS / "contestants" / "__main__.py", tmp_path)
    (tmp_path / "keras_bt_replicas.py").write_text(CRASH)

    def run(*flags, most=4096, sleep=0.0, hangs=False):
        settings = f"MOST, SLEEP, HANGS = {most}, {sleep}, {hangs}\n"
        (tmp_path / "keras_bt_accelerator.py").write_text(settings + FAKE)
        monkeypatch.setattr(sys, "argv", ["accelerator.py", *flags])
        accelerator.main()
        printed = capsys.readouterr()
        return [json.loads(line) for line in printed.out.splitlines()], printed.err

    return run


@pytest.mark.slow
def test_toy_run_has_a_row_of_each_kind():
    done = subprocess.run([sys.executable, SCRIPT, "--toy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert {row["kind"] for row in rows} == {"step", "views", "files", "mirrored", "memory"}
    for row in rows:
        assert "not_measured" not in row, row
        assert row["images_per_second"] > 0
        assert {"command", "commit", "date", "machine", "versions", "device"} <= set(row)
    steps = [row for row in rows if row["kind"] == "step"]
    assert {row["precision"] for row in steps} == {"float32", "mixed_bfloat16", "mixed_float16"}
    assert {row["placement"] for row in steps} == {"step", "compiled", "data"}
    assert {row["batch"] for row in steps} == {16, 32, 64}
    assert all(row["finite"] and row["first_step_seconds"] > row["median"] for row in steps)
    (mirrored,) = [row for row in rows if row["kind"] == "mirrored"]
    assert mirrored["equal"] and mirrored["replicas"] == 2 and mirrored["weight_difference"] < 1e-4
    (files,) = [row for row in rows if row["kind"] == "files"]
    assert files["read_images_per_second"] > 0 and files["step_images_per_second"] > 0
    assert last["left"] == []
    assert f"accelerator: 1 x {last['device']}" in done.stderr
    assert "| replicas | one convolution, 8 px | 16 | float32 |" in done.stderr


def test_an_error_becomes_a_row_and_the_others_are_measured(run):
    rows, progress = run()
    by_kind = {row["kind"]: row for row in rows}
    assert by_kind["files"]["not_measured"] == "ValueError: no room"
    assert by_kind["mirrored"]["not_measured"] == "nccl is not here (status 7)"
    assert not by_kind["files"]["out_of_memory"] and not by_kind["mirrored"]["out_of_memory"]
    assert by_kind["memory"]["images_per_second"] == 300  # after both
    assert by_kind["files"]["device"] == "Fake 1" and by_kind["files"]["versions"] == {"cuda": "9"}
    assert by_kind["files"]["command"] == "python benchmarks/accelerator.py"
    assert "Traceback" in progress and "for files" in progress
    assert "views, ResNet-50, 224 px, batch 256, placement step ... 100 images/s" in progress


def test_later_rows_use_the_fastest_precision(run):
    rows, _ = run("--only=step,memory", most=1024)
    assert [row["precision"] for row in rows[:3]] == ["float32", "mixed_bfloat16", "mixed_float16"]
    assert {row["precision"] for row in rows[3:8]} == {"mixed_bfloat16"}
    assert [row["micro_batches"] for row in rows if row["kind"] == "memory"] == [1, 4, 8]


def test_batches_double_until_memory_runs_out(run):
    rows, progress = run("--only=step", most=1024)
    doubled = [(row["case"], row["batch"], row.get("out_of_memory", False)) for row in rows[12:-1]]
    assert doubled == [
        (RESNET50, 512, False),
        (RESNET50, 1024, False),
        (RESNET50, 2048, True),
        (RESNET18, 1024, False),
        (RESNET18, 2048, True),
    ]
    assert rows[14]["not_measured"].endswith("Error: OOM when allocating tensor with shape[9]")
    assert "| step | ResNet-50, 224 px | 2048 | mixed_bfloat16, compiled |" in progress
    assert "out of memory" in progress and "Traceback" not in progress


def test_a_batch_that_does_not_fit_is_halved_for_all(run):
    rows, _ = run("--only=step,memory", most=100)
    assert [row["batch"] for row in rows[:4]] == [256, 128, 64, 64]
    assert [row["not_measured"] for row in rows[:2]] == [rows[0]["not_measured"]] * 2
    assert {row["batch"] for row in rows if row["kind"] == "memory"} == {64}


@pytest.mark.slow
def test_the_budget_ends_it_and_the_last_row_names_what_is_left(run):
    started = time.monotonic()
    *rows, last = run("--only=step,views", "--minutes=0.05", sleep=0.4)[0]
    assert 3 <= time.monotonic() - started < 12
    assert last["kind"] == "left" and 3 <= last["seconds"]
    assert 12 + 4 + 2 == len(rows) + len(last["left"])
    assert last["left"][-1].startswith("step, ResNet-18, 32 px, batch 1024, placement compiled")


@pytest.mark.slow
def test_what_hangs_takes_no_more_than_its_share_of_the_budget(run):
    rows, _ = run("--only=views,memory", "--minutes=0.1", hangs=True)
    views = [row["not_measured"] for row in rows if row["kind"] == "views"]
    assert views[:2] == ["took longer than 2 s"] * 2
    assert [row for row in rows if row["kind"] == "memory" and "not_measured" not in row]


def test_without_a_first_success_views_are_no_longer_compiled():
    plan = Plan(("step",), "GPU")
    first = plan.queue.popleft()
    assert plan.settings(first)["placement"] == "compiled"
    plan.learn(first, {"not_measured": "libdevice not found", "out_of_memory": False})
    assert plan.queue[0] == first and plan.settings(first)["placement"] == "step"
    plan.learn(plan.queue.popleft(), {"precision": "float32", "images_per_second": 1.0})
    assert plan.queue[0].options == {"precision": "mixed_bfloat16"}


def test_a_cpu_does_not_double_until_the_machine_has_no_memory():
    plan = Plan(("step",), "CPU")
    while plan.queue:
        last = plan.queue.popleft()
        plan.learn(last, {"precision": "float32", "images_per_second": 1.0})
    assert last.times == 4


def test_refuses_unknown_kinds(run):
    with pytest.raises(SystemExit):
        run("--only=step,speed")


def test_page_has_a_section_with_rows_only(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tables.ROOT", tmp_path)
    assert accelerator_table.accelerator() == ""
    rows, _ = run("--only=step,mirrored,files", most=128)
    equal = {"on": "2 GPUs", "equal": True, "loss_difference": 1e-7, "weight_difference": 2e-3}
    rates = {"images_per_second": 190.0, "images_per_second_on_one": 100.0}
    rows.append({"kind": "mirrored", "case": RESNET18, "batch": 256, **equal, **rates})
    rates = {"images_per_second": 90.0, "read_images_per_second": 95.0}
    rates |= {"step_images_per_second": 1200.0, "keeps_up": False}
    rows.append({"kind": "files", "case": RESNET50, "batch": 256, **rates})
    (tmp_path / "results").mkdir()
    text = "\n".join(json.dumps({**row, "device": "Fake 1"}) for row in rows)
    (tmp_path / "results" / "accelerator.jsonl").write_text(text)
    page = accelerator_table.accelerator()
    assert page.count("## Accelerator") == 1 and "; cuda 9." in page
    assert (
        "| step | ResNet-50, 224 px | 256 | float32, compiled |  |  |  |  | out of memory |" in page
    )
    assert (
        "| step | ResNet-50, 224 px | 128 | mixed_bfloat16, compiled | 500 | 300 | 7 | 12 |  |"
        in page
    )
    assert "| failed: nccl is not here (status 7) |" in page
    assert "| 190 |  |  | 2 GPUs, equal: relative difference 1e-07 of the loss, 0.002 of" in page
    assert "input does not keep up: 95 images/s read, 1,200 trained from memory" in page

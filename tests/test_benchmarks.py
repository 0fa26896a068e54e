"""The races of benchmarks/, with contestants that only pretend."""

import json
import shutil
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CALM = """
def prepare(name="", log="/dev/null", seconds=1.0):
    def run(steps):
        with open(log, "a") as file:
            print(name, steps, file=file)
        return seconds * steps

    return run
"""
GREEDY = """
def prepare(megabytes):
    return lambda steps: len(bytearray(megabytes * 1_000_000))
"""
FAINT = """
def prepare():
    def run(steps):
        raise ValueError("too tired\\nfor words")

    return run
"""


@pytest.fixture
def race(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import race

    shutil.copy(BENCHMARKS / "contestants" / "__main__.py", tmp_path)
    for name, code in {"calm": CALM, "greedy": GREEDY, "faint": FAINT}.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "needy.py").write_text("import what_nobody_has")
    monkeypatch.setattr(race, "CONTESTANTS", tmp_path)
    return race


def calm(race, name, **options):
    return race.Contestant(name, "calm", {"name": name, **options})


def test_contestants_take_turns(race, tmp_path):
    log = str(tmp_path / "log")
    contestants = [calm(race, name, seconds=s) for name, s in (("a", 0.5), ("b", 1.0), ("c", 9.0))]
    figures, versions = race.time_steps(race.Case("", {"log": log}), contestants, 3, seconds=2.0)
    assert figures == {"a": [0.5] * 3, "b": [1.0] * 3, "c": [9.0] * 3}
    assert versions["a"] == {"versions": {}, "threads": race.CORES}
    warmed_up = [f"{name} 1" for name in "aabbcc"]
    steps = {"a": 4, "b": 2, "c": 1}  # in two seconds each, but one at least
    rounds = [f"{name} {steps[name]}" for name in "abcbcacab"]
    assert (tmp_path / "log").read_text().splitlines() == warmed_up + rounds


def test_a_ratio_is_of_the_same_round(race):
    figures = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 6.0, 20.0]}
    case = race.Case("small", {}, images=8, wanted={"theirs": 2.0})
    ours, theirs = race.rows_of("loss", case, figures, {name: {"threads": 2} for name in figures})
    assert (ours["median"], ours["fastest"], ours["slowest"], ours["ratio"]) == (2.0, 1.0, 4.0, 1.0)
    assert (theirs["median"], theirs["ratio"], theirs["wanted"]) == (6.0, 3.0, 2.0)
    assert (theirs["rounds"], theirs["images"], theirs["threads"]) == (3, 8, 2)
    assert {"command", "commit", "date", "machine"} <= set(theirs)


def test_who_is_missing_is_said_and_the_others_race(race, tmp_path, monkeypatch):
    monkeypatch.setattr(race, "PEERS", str(tmp_path / "no-python"))
    contestants = [
        calm(race, "ours"),
        race.Contestant("absent", "calm", python=race.PEERS),
        race.Contestant("needy", "needy"),
        race.Contestant("faint", "faint"),
    ]
    figures, versions = race.time_steps(race.Case("", {}), contestants, 2, seconds=1.0)
    assert figures["ours"] == [1.0, 1.0]
    assert figures["absent"].endswith("no-python; make bench-setup")
    assert "No such file" in figures["absent"]
    assert "ModuleNotFoundError: No module named 'what_nobody_has'" in figures["needy"]
    assert figures["faint"] == "ValueError: too tired (status 1)"
    rows = list(race.rows_of("loss", race.Case("", {}), figures, versions))
    assert [row.get("not_measured") for row in rows] == [None, *list(figures.values())[1:]]
    assert "not measured: ValueError: too tired" in race.report.race_table(rows)


def test_a_missing_library_of_the_peers_names_the_remedy(race, monkeypatch):
    monkeypatch.setattr(race, "PEERS", sys.executable)
    figures, _ = race.time_steps(race.Case("", {}), [race.Contestant("needy", "needy")], 1, 1.0)
    assert figures["needy"].endswith("'what_nobody_has' (status 1); make bench-setup")


def test_without_the_first_there_are_no_ratios(race):
    figures = {"ours": "gone", "theirs": [1.0]}
    ours, theirs = race.rows_of("loss", race.Case("", {}), figures, {"theirs": {}})
    assert (ours["not_measured"], theirs["ratio"]) == ("gone", None)


def test_memory_is_of_fresh_processes(race):
    contestants = [
        race.Contestant("much", "greedy", {"megabytes": 60}),
        race.Contestant("little", "greedy", {"megabytes": 1}),
        race.Contestant("absent", "greedy", python="/no/python"),
    ]
    figures, _ = race.weigh_steps(race.Case("", {}), contestants, 2, steps=1)
    assert all(59 < peak < 66 for peak in figures["much"]) and len(figures["much"]) == 2
    assert max(figures["little"]) < 6
    assert "/no/python" in figures["absent"]


def test_a_script_prints_rows_of_the_cases_asked_for(race, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["loss.py", "--case=big", "--rounds=1"])
    cases = [race.Case("small", {}), race.Case("quite big", {})]
    race.main("loss", cases, [calm(race, "ours"), calm(race, "theirs", seconds=2.0)])
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [(row["case"], row["ratio"]) for row in rows] == [("quite big", 1.0), ("quite big", 2.0)]
    assert "| quite big | theirs | 2 s (2-2) |  | 2 |  |" in printed.err


def test_the_page_has_a_section_for_each_race_there_is(race, tmp_path, monkeypatch):
    report = race.report
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(report, "ROOT", tmp_path)
    assert report.races() == ""
    figures = {"keras_bt": [0.5], "keras_bt, encoder and projector": [0.475], "theirs": "gone"}
    versions = {name: {"versions": {"tensorflow": "2.21.0"}} for name in figures}
    case = race.Case("width 16", {}, images=256, wanted={"theirs": 1.5})
    rows = race.rows_of("step", case, figures, versions)
    (tmp_path / "results" / "step.jsonl").write_text("\n".join(map(json.dumps, rows)))
    page = report.races()
    assert page.count("###") == 1 and "tensorflow 2.21.0" in page
    assert "all but those two takes 5.0% (width 16)." in page
    assert "| width 16 | keras_bt | 500 ms (500-500) | 512 | 1 |  |" in page
    assert "| width 16 | theirs | not measured: gone |  |  | at least 1.5 |" in page


def test_a_start_is_told_in_seconds_more(race):
    figures = {"plain": [4.0], "with keras_bt": [4.75]}
    rows = race.rows_of("startup", race.Case("", {}), figures, {name: {} for name in figures})
    said = race.report.seconds_more(list(rows))
    assert said == " More than the first: with keras_bt 0.75 s."


@pytest.mark.parametrize("name", ["loss", "views", "step", "end_to_end", "memory", "startup"])
def test_contestants_of_the_scripts_are_there(name):
    for line in (BENCHMARKS / f"{name}.py").read_text().splitlines():
        if "Contestant(" in line and '", "' in line:
            file = line.split('", "')[1].split('"')[0]
            assert (BENCHMARKS / "contestants" / f"{file}.py").exists(), line

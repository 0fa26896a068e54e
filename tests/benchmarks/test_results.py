"""RESULTS.md agrees with the rows in results/."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_results_page_is_generated_from_the_rows(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    report = runpy.run_path(str(ROOT / "benchmarks" / "report.py"))
    assert (ROOT / "RESULTS.md").read_text("utf-8") == report["page"]()


def test_every_row_records_how_it_was_measured():
    for file in (ROOT / "results").glob("*.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            assert {"command", "commit", "date", "machine"} <= set(json.loads(line)), file


def test_bytes_sent_follow_the_formula():
    rows = (ROOT / "results" / "collectives.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, rows):
        ratio = row["megabytes_sent"] / row["megabytes_by_formula"]
        assert 0.9 < ratio < 1.3, row

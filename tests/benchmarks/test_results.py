"""RESULTS.md and README.md have no figure without a row in results/."""

import json
import re
from pathlib import Path

import page_tables
import report

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.parent.name != "reference"
}

NOT_MEASURED = {  # numbers in prose that are settings, definitions or published
    *("3.11", "3.12", "3.13"),  # versions of Python
    *("143", "130"),  # exit statuses
    *("255", "256", "8,192", "1,024", "224"),  # pixels, sizes of batches and projectors
    *("200", "300", "1,000", "200,000", "100"),  # epochs, and from how many images on
    *("10,000", "0.1"),  # images of a probe, temperature of k-NN
    "0.92",  # published accuracy
    *("0.005", "0.024", "0.025", "0.863", "2.0"),  # published, a quantile, by formula, a license
}


def test_results_page_is_generated_from_the_rows():
    assert (ROOT / "RESULTS.md").read_text("utf-8") == report.page()


def test_pages_have_the_tables_that_are_generated_from_the_rows():
    shown = []
    for name in page_tables.PAGES:
        text = (ROOT / name).read_text("utf-8")
        assert text == page_tables.with_tables(text), name
        shown += re.findall(r"<!-- results: (\w+) -->", text)
    assert sorted(shown) == sorted(page_tables.TABLES)


def test_figures_in_prose_are_computed_from_the_rows():
    pages = {name: prose(text) for name, text in PAGES.items()}
    for passage in page_tables.passages():
        assert any(passage in text for text in pages.values()), passage
        pages = {name: text.replace(passage, "") for name, text in pages.items()}
    for name in page_tables.PAGES:
        assert numbers(pages[name]) - NOT_MEASURED == set(), name


def test_accuracies_on_other_pages_are_those_of_results():
    known = numbers((ROOT / "RESULTS.md").read_text("utf-8") + PAGES["docs/results.md"])
    for name, text in PAGES.items():
        accuracies = set(re.findall(r"(?<![\w.])0\.\d{3}(?!\d)", prose(text)))
        assert accuracies - known - NOT_MEASURED == set(), name


def test_an_invented_figure_is_found():
    invented = "k-NN 0.583 at 12,345 images/s, 1.17 times as fast. `0.1234`"
    assert numbers(prose(invented)) == {"0.583", "12,345", "1.17"}


def prose(page):
    """Returns a page in one line, without generated tables, code and addresses."""
    for left_out in (
        r"<!-- results: .*?<!-- end of results -->",
        r"<!--.*?-->",
        r"```.*?```",
        r"\n    [^\n]*",
        r"`[^`]*`",
        r"\[[\d.]+\]\(.*?\)|\]\(.*?\)",
    ):
        page = re.sub(left_out, "", page, flags=re.DOTALL)
    return " ".join(page.split())


def numbers(text):
    """Returns the decimal numbers, and the integers of three and more digits."""
    found = re.findall(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?", text)
    found = {number.rstrip(",") for number in found}
    return {number for number in found if "." in number or len(number) > 2}


def test_every_row_records_how_it_was_measured():
    for file in (ROOT / "results").glob("*.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            assert {"command", "commit", "date", "machine"} <= set(json.loads(line)), file


def test_bytes_sent_follow_the_formula():
    rows = (ROOT / "results" / "collectives.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, rows):
        ratio = row["megabytes_sent"] / row["megabytes_by_formula"]
        assert 0.9 < ratio < 1.3, row

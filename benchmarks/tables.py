"""Reads the rows in results/ and formats Markdown tables."""

import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows(name):
    """Returns the rows of results/NAME.jsonl; no rows if there is no such file."""
    file = ROOT / "results" / f"{name}.jsonl"
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


def matching(name, **values):
    """Returns the rows of results/NAME.jsonl with these values."""
    found = [row for row in rows(name) if values.items() <= row.items()]
    if not found:
        raise LookupError(f"results/{name}.jsonl has no row with {values}")
    return found


def newest_of_seeds(flags, **figures):
    """Returns the newest row of each seed in the ledger, by the flags of the command and figures.

    Flags are compared without seeds, and without the rows of ablations.
    """
    newest = {
        row["seed"]: row
        for row in rows("ledger")
        if flags_without_seeds(row["command"]) == flags
        and figures.items() <= row["figures"].items()
    }
    if not newest:
        raise LookupError(f"results/ledger.jsonl has no row with {flags} {figures or ''}")
    return [newest[seed] for seed in sorted(newest)]


def flags_without_seeds(command):
    """Returns the flags of a recorded command, without seeds and rows of ablations."""
    return " ".join(re.findall(r"--(?!seeds?=|rows=)\S+", command))


def table(head, lines):
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def origin(row):
    """Returns the command, date, commit and machine of a row."""
    return f"`{row['command']}`, {row['date']}, commit {row['commit']}, {row['machine']}"


def versions_of(measured):
    """Returns the versions of all libraries in the rows."""
    versions = {}
    for row in measured:
        versions |= row.get("versions", {})
    return ", ".join(f"{library} {version}" for library, version in sorted(versions.items()))


def mean(key, measured):
    """Returns the mean of a value over rows."""
    return statistics.mean(row[key] for row in measured)


def dates(measured):
    """Returns the dates of rows, each once."""
    return " and ".join(sorted({row["date"] for row in measured}))

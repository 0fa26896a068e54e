"""Rows of results/, and tables of them in Markdown."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows(name):
    """The rows of a file of results; none where there is no file."""
    file = ROOT / "results" / f"{name}.jsonl"
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


def table(head, lines):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def origin(row):
    """Where a row comes from."""
    return f"`{row['command']}`, {row['date']}, commit {row['commit']}, {row['machine']}"


def versions_of(measured):
    """What all of them ran on."""
    versions = {}
    for row in measured:
        versions |= row.get("versions", {})
    return ", ".join(f"{library} {version}" for library, version in sorted(versions.items()))

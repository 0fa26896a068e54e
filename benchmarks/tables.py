"""Reads the rows in results/ and formats Markdown tables."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows(name):
    """Returns the rows of results/NAME.jsonl; no rows if there is no such file."""
    file = ROOT / "results" / f"{name}.jsonl"
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


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

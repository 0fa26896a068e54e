"""Comparison of two sets of settings."""

from collections.abc import Mapping
from typing import Any


def differences(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    first_name: str = "before",
    second_name: str = "now",
) -> list[str]:
    """The settings that differ between two mappings.

    Args:
        first: Settings by name.
        second: Settings by name.
        first_name: Name of the first mapping in the result.
        second_name: Name of the second mapping in the result.

    Returns:
        A text for each, sorted by the setting's name; empty if all settings agree.

    Example:
        >>> differences({"seed": 1, "width": 4}, {"seed": 2, "width": 4})
        ['seed: 1 before, 2 now']
    """
    return [
        f"{name}: {first.get(name)!r} {first_name}, {second.get(name)!r} {second_name}"
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]

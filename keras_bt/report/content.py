"""The parts of a page: sections, tables and figures."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Table:
    """A header and rows of cells; the first cell of a row is its name."""

    head: list[str]
    rows: list[list[Any]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """An SVG element or the URI of an image, with a caption."""

    caption: str
    svg: str | None = None
    uri: str | None = None
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page.

    The cells of `images` are pairs of a URI and a description. The last cell of its head spans
    the remaining columns.
    """

    title: str
    text: str = ""
    table: Table | None = None
    folded: bool = False
    figures: list[Figure] = dataclasses.field(default_factory=list)
    images: Table | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: a summary, scores, warnings and sections."""

    title: str
    summary: list[str]
    sections: list[Section]
    scores: Table | None = None
    protocol: str | None = None
    findings: list[str] = dataclasses.field(default_factory=list)
    command: str | None = None


def format_accuracy(value: float | None) -> str:
    """Formats an accuracy in [0, 1] as a percentage; None becomes an empty string.

    Example:
        >>> format_accuracy(0.975), format_accuracy(None)
        ('97.5\\xa0%', '')
    """
    return "" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def format_setting(value: Any) -> str:
    """Formats the value of a setting.

    Example:
        >>> format_setting(0.30000001), format_setting([512, 512]), format_setting(None)
        ('0.3', '512, 512', '')
        >>> format_setting([])
        'none'
    """
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_setting, value)) or "none"
    return "" if value is None else str(value)

"""What a page is made of."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells below a head; the first of a row is its name."""

    head: list
    rows: list


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawing, as SVG or as the address of a picture, and what it shows in words."""

    caption: str
    svg: str | None = None
    uri: str | None = None
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    The cells of `pictures` are pairs of an address and words; its head's last spans the rest.
    """

    title: str
    text: str = ""
    table: Table | None = None
    folded: bool = False
    figures: list = dataclasses.field(default_factory=list)
    pictures: Table | None = None


@dataclasses.dataclass(frozen=True)
class Content:
    """A page: the answer first, then its sections."""

    title: str
    lead: list
    sections: list
    scores: Table | None = None
    protocol: str | None = None
    findings: list = dataclasses.field(default_factory=list)
    command: str | None = None


def percent(value):
    """An accuracy as a page shows it; nothing for None.

    Example:
        >>> percent(0.975), percent(None)
        ('97.5\\xa0%', '')
    """
    return "" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def text_of(value):
    """A setting as a page shows it.

    Example:
        >>> text_of(0.30000001), text_of([512, 512]), text_of(None)
        ('0.3', '512, 512', '')
    """
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value))
    return "" if value is None else str(value)

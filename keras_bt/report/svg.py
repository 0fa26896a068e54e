"""SVG output of matplotlib: style, unique ids, safe labels."""

import functools
import hashlib
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_bt.data.files import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"  # replaced by the text color of the page
COLORS = ("#3b7dd8", "#c8701a", "#2a9d8f", "#b5548f", "#8a8f2a", "#7a6fd0")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keras_bt",
    "font.family": "sans-serif",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "font.size": 9,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
MAX_LABEL_LENGTH = 24


def as_svg(build: "Callable[..., Figure]") -> Callable[..., str]:
    """Decorator: makes a function that builds a figure return its SVG element.

    Args:
        build: Function that returns a matplotlib figure.

    Returns:
        Function with the same arguments.

    Example:
        >>> as_svg(lambda: new_figure(1, 1)[0])()[:4]
        '<svg'
    """

    @functools.wraps(build)
    def render(*args: Any, **kwargs: Any) -> str:
        import matplotlib

        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            # Browsers have the glyphs that matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            file = io.StringIO()
            build(*args, **kwargs).savefig(
                file, format="svg", metadata={"Date": None, "Creator": None}
            )
        text = file.getvalue()
        return _with_unique_ids(text[text.index("<svg") :].strip().replace(INK, "currentColor"))

    return render


def new_figure(width: float, height: float, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """Returns an empty figure of a size in inches, and its axes from left to right."""
    from matplotlib.figure import Figure

    figure = Figure((width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def safe_label(name: str) -> str:
    r"""Shortens and escapes a name that matplotlib would read as a formula or leave out.

    Example:
        >>> safe_label("$x$")
        '\\$x\\$'
    """
    name = printable(str(name))
    if len(name) > MAX_LABEL_LENGTH:  # names mostly differ at their beginning or end
        name = f"{name[: MAX_LABEL_LENGTH // 2]}…{name[1 - MAX_LABEL_LENGTH // 2 :]}"
    # Legends skip names that begin with an underscore.
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def label_colors(count: int) -> list[tuple[float, ...]]:
    """Returns one RGBA color, in [0, 1], for each of at least `count` labels.

    Example:
        >>> len(label_colors(2)), len(label_colors(100))
        (10, 100)
    """
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](number) for number in range(10)]
    return [colormaps["hsv"](number / count) for number in range(count)]


def _with_unique_ids(svg: str) -> str:
    """Prefixes the ids of an SVG with its hash, so that they are unique on a page."""
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)

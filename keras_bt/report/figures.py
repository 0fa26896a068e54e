"""The drawings of a run's page: SVG in the page's own ink."""

import functools
import hashlib
import io
import itertools
import re
import warnings
from typing import Any

import numpy as np

from keras_bt.data.files import shown
from keras_bt.report.snapshots import BINS, evenly_spaced

INK = "#010203"  # stands for the page's color of text
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
LINES = ("-", "--", ":")
WIDTH, HEIGHT = 4.6, 2.6  # inches of a drawing: letters are to be read on a phone
LONGEST_NAME = 24
MOST_MAPS = 4
MOST_NAMED_CLASSES, MOST_COUNTED_CLASSES = 20, 12


def _drawn(build):
    """Has a function that builds a figure return its SVG element."""

    @functools.wraps(build)
    def draw(*arguments, **options):
        import matplotlib

        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            # Browsers have the glyphs that matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            file = io.StringIO()
            build(*arguments, **options).savefig(
                file, format="svg", metadata={"Date": None, "Creator": None}
            )
        text = file.getvalue()
        return _of_its_own(text[text.index("<svg") :].strip().replace(INK, "currentColor"))

    return draw


def _of_its_own(svg):
    """An SVG whose ids are not those of any other on the page."""
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def _axes(width, height, columns=1):
    from matplotlib.figure import Figure

    figure = Figure((width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


@_drawn
def curves(lines, levels=(), *, x="epoch", y, logarithmic=False, limits=None):
    """Lines, and dashed levels across.

    Args:
        lines: Dict from a name to a pair of equally long sequences, x and y.
        levels: Pairs of a name and a height.
        x: String, what is on the x axis.
        y: String, what is on the y axis.
        logarithmic: Bool, of the y axis.
        limits: Pair of floats, of the y axis; None for what fits.

    Returns:
        SVG, a string.

    Example:
        >>> curves({"loss": ([1, 2], [3.0, 2.0])}, y="loss")[:4]
        '<svg'
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _axes(WIDTH, HEIGHT)
    kinds = itertools.cycle(itertools.product(LINES, COLORS))
    for (name, (across, up)), (line, color) in zip(lines.items(), kinds, strict=False):
        marker = "o" if len(across) < 12 else ""
        style = {"color": color, "linestyle": line, "marker": marker, "markersize": 3}
        axes.plot(across, up, label=plain(name), **style)
    highest = max(levels, key=lambda level: level[1], default=None)
    for name, height in levels:
        axes.axhline(height, color=INK, linestyle=(0, (4, 3)), linewidth=0.8)
        # Of two levels that are close the names lie on both sides.
        above = (name, height) == highest
        axes.annotate(
            name,
            (1, height),
            (0, 2 if above else -2),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            fontsize=8,
        )
    if logarithmic:
        axes.set_yscale("log")
    if limits:
        axes.set_ylim(*limits)
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(lines) > 1:
        axes.legend()
    return figure


@_drawn
def heat_maps(snapshots):
    """C at several moments, of some dimensions.

    Args:
        snapshots: Dict from epochs to snapshots, ascending; see `snapshots.snapshot`.

    Returns:
        SVG, a string.
    """
    epochs = [list(snapshots)[place] for place in evenly_spaced(len(snapshots), MOST_MAPS)]
    figure, all_axes = _axes(2.3 * len(epochs) + 0.6, 2.7, len(epochs))
    for axes, epoch in zip(all_axes, epochs, strict=True):
        image = axes.imshow(snapshots[epoch]["c"], cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(moment(epoch), fontsize=12)
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=all_axes, shrink=0.8, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=11)
    return figure


@_drawn
def histograms(snapshots):
    """Entries of C on and off the diagonal, at the first and at the last snapshot."""
    figure, all_axes = _axes(WIDTH, HEIGHT, 2)
    names = {"diagonal": "on the diagonal", "off_diagonal": "off it"}
    for axes, (name, title) in zip(all_axes, names.items(), strict=True):
        for epoch, color in zip(sorted({min(snapshots), max(snapshots)}), COLORS, strict=False):
            counts = snapshots[epoch][name]
            shares = counts / max(1, counts.sum())
            axes.stairs(shares, BINS, color=color, label=moment(epoch), linewidth=1.6)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("entry of C")
        axes.set_yticks([])
        axes.spines.left.set_visible(False)
    all_axes[0].legend(loc="upper left")
    return figure


def descents(snapshot, names, *, of, y, logarithmic=False):
    """Sorted values, each a part of the largest.

    Args:
        snapshot: See `snapshots.snapshot`.
        names: Dict from keys of it to what to call them.
        of: String, what they are of.
        y: String, what is on the y axis.
        logarithmic: Bool, of the y axis; else it begins at 0.

    Returns:
        SVG, a string.
    """
    lines = {}
    for key, name in names.items():
        values = np.asarray(snapshot[key], "float64")
        values = values / max(values.max(), np.finfo("float64").tiny)
        lines[name] = (np.linspace(0, 100, len(values)), np.maximum(values, 1e-8))
    scale = {"logarithmic": True} if logarithmic else {"limits": (0, 1.05)}
    return curves(lines, x=f"% of {of}, from the largest on", y=y, **scale)


@_drawn
def scatter(points, labels=None, names=()):
    """A map of representations, colored by label where there are labels."""
    figure, (axes,) = _axes(WIDTH, 3.6)
    dots = {"s": np.clip(6000 / len(points), 6, 30), "alpha": 0.75, "linewidths": 0}
    if labels is None:
        axes.scatter(*points.T, color=COLORS[0], **dots)
    else:
        colors = np.array(palette(len(names)))
        axes.scatter(*points.T, c=colors[labels], **dots)
        if len(names) <= MOST_NAMED_CLASSES:
            for number in np.unique(labels):
                axes.scatter([], [], s=20, color=[colors[number]], label=plain(names[number]))
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0)
    axes.set_axis_off()
    return figure


@_drawn
def confusion(counts, names):
    """Of each class, which share was taken for which; in percent where they are few."""
    named = len(names) <= MOST_NAMED_CLASSES
    figure, (axes,) = _axes(WIDTH, 4.0)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 0.5, 1]).outline.set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if named:
        ticks, called = range(len(names)), [plain(name) for name in names]
        axes.set_xticks(ticks, called, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, called)
    if len(names) <= MOST_COUNTED_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.5 else "black"
            told = {"ha": "center", "va": "center", "fontsize": 7, "color": color}
            axes.text(column, row, f"{100 * share:.0f}", **told)
    return figure


def plain(name):
    """A name as a drawing shows it: short, printable, and no formula, which a dollar would begin.

    Example:
        >>> plain("$x$")
        '\\\\$x\\\\$'
    """
    name = shown(str(name))
    if len(name) > LONGEST_NAME:  # what tells names apart is at their beginning or end
        name = f"{name[: LONGEST_NAME // 2]}…{name[1 - LONGEST_NAME // 2 :]}"
    # matplotlib leaves names out of legends that begin with a low line.
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def moment(epoch):
    """When a snapshot was taken.

    Example:
        >>> moment(0), moment(3)
        ('before training', 'epoch 3')
    """
    return f"epoch {epoch}" if epoch else "before training"


def palette(count):
    """Colors [at least count] of labels, red, green, blue and alpha in [0, 1].

    Example:
        >>> len(palette(2)), len(palette(100))
        (10, 100)
    """
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](number) for number in range(10)]
    return [colormaps["hsv"](number / count) for number in range(count)]

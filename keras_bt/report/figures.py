"""The figures of a report: line plots, heat maps, histograms, scatter plots."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_bt.report.snapshots import BINS, evenly_spaced
from keras_bt.report.svg import COLORS, INK, as_svg, label_colors, new_figure, safe_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_STYLES = ("-", "--", ":")
WIDTH, HEIGHT = 4.6, 2.6  # inches, so that text is readable on a phone
LINE_OF_TEXT = 0.08  # height of a name, as a share of the plot
MAX_HEAT_MAPS = 4
MAX_NAMED_CLASSES, MAX_NUMBERED_CLASSES = 20, 12


@as_svg
def line_plot(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    levels: Sequence[tuple[str, float]] = (),
    *,
    x: str = "epoch",
    y: str,
    logarithmic: bool = False,
    limits: tuple[float, float] | None = None,
) -> "Figure":
    """Draws lines and dashed horizontal levels.

    Args:
        lines: Maps a name to the x and y values of a line.
        levels: Pairs of a name and a height.
        x: Label of the x axis.
        y: Label of the y axis.
        logarithmic: Whether the y axis is logarithmic.
        limits: Lowest and highest y; None fits them to the lines.

    Returns:
        An SVG element.

    Example:
        >>> svg = line_plot({"loss": ([1, 2], [3.0, 2.0])}, [("floor", 1.5)], y="loss")
        >>> svg[:4], "floor" in svg
        ('<svg', True)
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(WIDTH, HEIGHT)
    styles = itertools.cycle(itertools.product(LINE_STYLES, COLORS))
    for (name, (xs, ys)), (line_style, color) in zip(lines.items(), styles, strict=False):
        marker = "o" if len(xs) < 12 else ""
        style: dict[str, Any] = {"color": color, "linestyle": line_style, "marker": marker}
        axes.plot(xs, ys, label=safe_label(name), markersize=3, **style)
    for _, height in levels:
        axes.axhline(height, color=INK, linestyle=(0, (4, 3)), linewidth=0.8)
    if logarithmic:
        axes.set_yscale("log")
    if limits:
        axes.set_ylim(*limits)
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _name_levels(axes, levels)
    if len(lines) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
    return figure


def _name_levels(axes: "Axes", levels: Sequence[tuple[str, float]]) -> None:
    """Writes the names of levels beside the plot, from the lowest on, none over another."""
    axes.autoscale_view()
    lowest = -math.inf
    for name, height in sorted(levels, key=lambda level: level[1]):
        place = axes.transAxes.inverted().transform(axes.transData.transform((0, height)))[1]
        lowest = max(place, lowest + LINE_OF_TEXT)
        axes.text(1.02, lowest, name, transform=axes.transAxes, va="center", fontsize=8)


@as_svg
def heat_maps(snapshots: Mapping[int, dict[str, np.ndarray]]) -> "Figure":
    """Draws the cross-correlation matrix of up to four snapshots.

    Args:
        snapshots: Maps epochs, ascending, to the arrays of `compute_snapshot`.

    Returns:
        An SVG element.
    """
    epochs = [list(snapshots)[place] for place in evenly_spaced(len(snapshots), MAX_HEAT_MAPS)]
    figure, all_axes = new_figure(2.3 * len(epochs) + 0.6, 2.7, len(epochs))
    for axes, epoch in zip(all_axes, epochs, strict=True):
        image = axes.imshow(snapshots[epoch]["c"], cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(epoch_label(epoch), fontsize=12)
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=all_axes, shrink=0.8, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=11)
    return figure


@as_svg
def histograms(snapshots: Mapping[int, dict[str, np.ndarray]]) -> "Figure":
    """Draws the entries of C on and off the diagonal, for the first and the last snapshot.

    Args:
        snapshots: See `heat_maps`.

    Returns:
        An SVG element.
    """
    figure, all_axes = new_figure(WIDTH, HEIGHT, 2)
    titles = {"diagonal": "on the diagonal", "off_diagonal": "off the diagonal"}
    for axes, (name, title) in zip(all_axes, titles.items(), strict=True):
        for epoch, color in zip(sorted({min(snapshots), max(snapshots)}), COLORS, strict=False):
            counts = snapshots[epoch][name]
            shares = counts / max(1, counts.sum())
            axes.stairs(shares, BINS, color=color, label=epoch_label(epoch), linewidth=1.6)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("entry of C")
        axes.set_yticks([])
        axes.spines.left.set_visible(False)
    all_axes[0].legend(loc="upper left")
    return figure


def sorted_curves(
    snapshot: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    *,
    unit: str,
    y: str,
    logarithmic: bool = False,
) -> str:
    """Draws descending values, each relative to the largest.

    Args:
        snapshot: Arrays of `compute_snapshot`.
        names: Maps keys of the snapshot to names of lines.
        unit: Plural noun for the entries of the arrays, such as "axes".
        y: Label of the y axis.
        logarithmic: Whether the y axis is logarithmic; otherwise it begins at 0.

    Returns:
        An SVG element.
    """
    lines = {}
    for key, name in names.items():
        values = np.asarray(snapshot[key], "float64")
        values = values / max(values.max(), np.finfo("float64").tiny)
        lines[name] = (np.linspace(0, 100, len(values)), np.maximum(values, 1e-8))
    limits = None if logarithmic else (0, 1.05)
    label = f"% of {unit}, largest first"
    return line_plot(lines, x=label, y=y, logarithmic=logarithmic, limits=limits)


@as_svg
def scatter_plot(
    points: np.ndarray, labels: np.ndarray | None = None, names: Sequence[str] = ()
) -> "Figure":
    """Draws a map of representations, colored by label if there are labels.

    Args:
        points: Float array [images, 2].
        labels: Integer array [images], or None.
        names: Names of the classes.

    Returns:
        An SVG element.
    """
    figure, (axes,) = new_figure(WIDTH, 3.6)
    x, y = points.T
    size = np.clip(6000 / len(points), 6, 30)
    dots: dict[str, Any] = {"s": size, "alpha": 0.75, "linewidths": 0}
    if labels is None:
        axes.scatter(x, y, color=COLORS[0], **dots)
    else:
        colors = np.array(label_colors(len(names)))
        axes.scatter(x, y, c=colors[labels], **dots)
        if len(names) <= MAX_NAMED_CLASSES:
            for number in np.unique(labels):
                axes.scatter([], [], s=20, color=[colors[number]], label=safe_label(names[number]))
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0)
    axes.set_axis_off()
    return figure


@as_svg
def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> "Figure":
    """Draws a confusion matrix as shares of each true class.

    Args:
        counts: Integer array [classes, classes]: rows are true, columns are predicted classes.
        names: Names of the classes.

    Returns:
        An SVG element. With few classes it has names and percentages.
    """
    figure, (axes,) = new_figure(WIDTH, 4.0)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= MAX_NAMED_CLASSES:
        ticks, tick_labels = range(len(names)), list(map(safe_label, names))
        axes.set_xticks(ticks, tick_labels, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, tick_labels)
    if len(names) <= MAX_NUMBERED_CLASSES:
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{100 * share:.0f}", color=color, **style)
    return figure


def epoch_label(epoch: float) -> str:
    """Returns the title of a snapshot.

    Example:
        >>> epoch_label(0), epoch_label(3)
        ('before training', 'epoch 3')
    """
    return f"epoch {epoch:g}" if epoch else "before training"

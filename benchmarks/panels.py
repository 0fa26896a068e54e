"""Draws figures of RESULTS.md: panels of lines, side by side."""

from typing import NamedTuple

from tables import ROOT


class Panel(NamedTuple):
    """One diagram of a figure; the axis of x is logarithmic, and its ticks are numbers of x."""

    title: str
    xlabel: str
    ylabel: str
    ticks: list
    lines: dict  # from a label to points (x, y)


def draw_panels(file, panels, width):
    """Writes panels as an SVG file, the same for the same panels; does nothing without any.

    Args:
        file: Path in the repository.
        panels: Panels from left to right.
        width: Of each panel, in inches.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "keras_bt"
    from matplotlib import pyplot

    if not panels:
        return
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(width * len(panels), 3.5), squeeze=False
    )
    for panel, axis in zip(panels, axes[0], strict=True):
        for label, points in panel.lines.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=label)
        axis.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        axis.set_xscale("symlog", linthresh=100)
        axis.set_xticks(panel.ticks, [f"{tick:,.0f}" for tick in panel.ticks])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize="small")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(ROOT / file, metadata={"Date": None})
    pyplot.close(figure)

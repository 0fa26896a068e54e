"""The sections of a page about the embedding: cross-correlation matrix and health."""

import numpy as np

from keras_bt.evaluation import diagnosis
from keras_bt.report import figures
from keras_bt.report.content import Figure, Section, Table
from keras_bt.report.run_files import RunFiles

HEALTH_ROWS = {  # metric: (label, good value)
    "mean_diagonal": ("mean of the diagonal of C", "near 1: the views of an image match"),
    "mean_off_diagonal": (
        "mean of |C| off the diagonal",
        "small, unless a redundancy target is set; "
        f"above {diagnosis.REDUNDANT_CORRELATION:g} counts as collapse",
    ),
    "representation_rank": ("effective rank of the representation", "far above 1"),
    "embedding_rank": ("effective rank of the embedding", "far above 1"),
    "embedding_spread": ("median standard deviation of the embedding", "not near 0"),
    "dead_dimensions": ("dead dimensions of the embedding", "0"),
    "loss_above_floor": ("share of the loss above its floor", "decreasing"),
}


def correlation_section(run: RunFiles) -> Section | None:
    """Returns heat maps and histograms of the cross-correlation matrix."""
    if not run.snapshots:
        return None
    last = run.snapshots[max(run.snapshots)]
    dim = run.settings["projector_dims"][-1]
    target = run.settings.get("redundancy_target", 0.0)
    diagonal_mean = float(np.mean(np.diagonal(last["c"])))
    return Section(
        "Cross-correlation matrix C",
        "Ones on the diagonal mean that both views of an image give the same embedding. Zeros off "
        "the diagonal mean that no two dimensions carry the same information."
        + (f" This run aims at {target:g} instead of 0 off the diagonal." if target else ""),
        figures=[
            Figure(
                f"C during training, for {_selected(len(last['dimensions']), dim)}. In the "
                f"last map, the mean of the diagonal is {diagonal_mean:.2f}.",
                figures.heat_maps(run.snapshots),
                wide=True,
            ),
            Figure(
                f"Distribution of the entries of C, for {_selected(last['diagonal'].sum(), dim)}. "
                "Entries on the diagonal should be near 1, the others near "
                f"{target or 0:g}.",
                figures.histograms(run.snapshots),
            ),
        ],
    )


def _selected(count: int, dim: int) -> str:
    if count < dim:
        return f"{count:,} evenly spaced dimensions of {dim:,}"
    return f"all {dim:,} dimensions"


def health_section(run: RunFiles) -> Section | None:
    """Returns spread, spectra and ranks of the embedding, with their good values."""
    if not run.snapshots:
        return None
    last = run.snapshots[max(run.snapshots)]
    variances = {"representation_variances": "representation", "embedding_variances": "embedding"}
    section_figures = [
        Figure(
            "Standard deviation of each dimension of the embedding, relative to the largest. A "
            "flat curve is good: no dimension is dead.",
            figures.sorted_curves(
                last, {"spread": "embedding"}, unit="dimensions", y="standard deviation"
            ),
        ),
        Figure(
            f"Variance of {int(last['images'])} images along each principal axis, relative to the "
            "largest. A slow decrease is good. A sharp drop means that the remaining axes carry no "
            "information.",
            figures.sorted_curves(last, variances, unit="axes", y="variance", logarithmic=True),
        ),
    ]
    ranks = run.columns({"representation_rank": "representation", "embedding_rank": "embedding"})
    if ranks:
        section_figures.append(
            Figure(
                "Effective rank: the number of directions in which images differ. A good rank "
                "rises, stays high and is far above 1.",
                figures.line_plot(ranks, y="effective rank"),
            )
        )
    rows = [
        [label, f"{values[-1]:.3g}", f"{epochs[-1]:g}", good_value]
        for metric, (label, good_value) in HEALTH_ROWS.items()
        for epochs, values in [run.column(metric)]
        if epochs
    ]
    table = Table(["metric", "value", "epoch", "good value"], rows) if rows else None
    return Section("Health of the embedding", table=table, figures=section_figures)

"""The page that compares several runs."""

from collections.abc import Sequence

from keras_bt.evaluation import ENCODER_LABELS, METRIC_LABELS
from keras_bt.report import figures
from keras_bt.report.content import Figure, Page, Section, Table, format_accuracy, format_setting
from keras_bt.report.run_files import RunFiles

CURVES = {
    "loss": "loss above its floor",
    "knn_accuracy": "k-NN accuracy",
    "linear_accuracy": "linear accuracy",
    "representation_rank": "effective rank of the representation",
}


def comparison_page(runs: Sequence[RunFiles]) -> Page:
    """Returns the page that compares runs."""
    names = distinct_names([run.name for run in runs])
    curves = [
        _curve(runs, names, metric, label)
        for metric, label in CURVES.items()
        if any(run.column(metric)[0] for run in runs)
    ]
    settings = sorted(set().union(*(run.settings for run in runs)))
    different = [
        [name, *(format_setting(run.settings.get(name)) for run in runs)]
        for name in settings
        if any(run.settings.get(name) != runs[0].settings.get(name) for run in runs)
    ]
    sections = [Section("Training curves", figures=curves)] if curves else []
    if different:
        sections.append(Section("Different settings", table=Table(["setting", *names], different)))
    return Page(
        title=f"Comparison of {len(runs)} runs",
        summary=["The report of each run shows its views, cross-correlation matrix and map."],
        scores=Table(["metric", *names], _rows(runs)),
        sections=sections,
    )


def _curve(runs: Sequence[RunFiles], names: Sequence[str], metric: str, label: str) -> Figure:
    above_floor, lines = metric == "loss", {}
    for name, run in zip(names, runs, strict=True):
        epochs, values = run.column(metric)
        floor = run.loss_floor if above_floor else 0.0
        if epochs and floor is not None:
            lines[name] = (epochs, [value - floor for value in values])
    svg = figures.line_plot(lines, y=label, logarithmic=above_floor)
    return Figure(f"{len(lines)} runs: {label} after each epoch.", svg)


def _rows(runs: Sequence[RunFiles]) -> list[list[str]]:
    def accuracies(encoder: str, metric: str) -> list[str]:
        return [format_accuracy(run.scores.get(encoder, {}).get(metric)) for run in runs]

    return [
        *([label, *accuracies("trained", metric)] for metric, label in METRIC_LABELS.items()),
        *(
            [f"{ENCODER_LABELS[encoder]}, k-NN", *accuracies(encoder, "knn_accuracy")]
            for encoder in ("untrained", "pixels")
        ),
        ["minutes of training", *(f"{run.minutes:.1f}" for run in runs)],
        ["images", *(f"{run.images:,}" if run.images else "" for run in runs)],
    ]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Numbers names if some of them are the same.

    Example:
        >>> distinct_names(["a", "b", "a"])
        ['1: a', '2: b', '3: a']
    """
    if len(set(names)) == len(names):
        return list(names)
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]

"""Several runs side by side."""

from keras_bt.report import figures
from keras_bt.report.content import Content, Figure, Section, Table, percent, text_of
from keras_bt.report.run_files import FIGURES

CURVES = {
    "loss": "loss above its floor",
    "knn_accuracy": "k-NN accuracy",
    "linear_accuracy": "linear accuracy",
    "representation_rank": "effective rank of the representation",
}


def comparison(runs):
    """The page that compares runs.

    Args:
        runs: List of `RunFiles`.

    Returns:
        `Content`.
    """
    names = distinct([run.name for run in runs])
    drawn = [
        _curve(runs, names, column, title)
        for column, title in CURVES.items()
        if any(run.column(column)[0] for run in runs)
    ]
    settings = sorted(set().union(*(run.settings for run in runs)))
    differing = [
        [name, *(text_of(run.settings.get(name)) for run in runs)]
        for name in settings
        if any(run.settings.get(name) != runs[0].settings.get(name) for run in runs)
    ]
    sections = [Section("Over the epochs", figures=drawn)] if drawn else []
    if differing:
        sections.append(
            Section("Settings that differ", table=Table(["setting", *names], differing))
        )
    return Content(
        title=f"{len(runs)} runs side by side",
        lead=["The page of each run has its views, its matrix and its map."],
        scores=Table(["", *names], _rows(runs)),
        sections=sections,
    )


def _curve(runs, names, column, title):
    above_floor, lines = column == "loss", {}
    for name, run in zip(names, runs, strict=True):
        epochs, values = run.column(column)
        floor = run.loss_floor if above_floor else 0.0
        if epochs and floor is not None:
            lines[name] = (epochs, [value - floor for value in values])
    svg = figures.curves(lines, y=title, logarithmic=above_floor)
    return Figure(f"The {title} of {len(lines)} runs over the epochs.", svg)


def _rows(runs):
    def scored(of, key):
        return [percent((run.scores.get(of) or {}).get(key)) for run in runs]

    return [
        *([label, *scored("trained", key)] for key, label in FIGURES.items()),
        ["untrained, k-NN", *scored("untrained", "knn_accuracy")],
        ["raw pixels, k-NN", *scored("pixels", "knn_accuracy")],
        ["minutes of training", *(f"{run.minutes:.1f}" for run in runs)],
        ["images", *(f"{run.images:,}" if run.images else "" for run in runs)],
    ]


def distinct(names):
    """Names that tell runs apart.

    Example:
        >>> distinct(["a", "b", "a"])
        ['1: a', '2: b', '3: a']
    """
    if len(set(names)) == len(names):
        return names
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]

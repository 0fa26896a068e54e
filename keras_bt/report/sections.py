"""The sections of a run's page."""

import time

import numpy as np

from keras_bt.evaluation import health, schedule
from keras_bt.report import figures
from keras_bt.report.content import Content, Figure, Section, Table, percent, text_of
from keras_bt.report.image_sections import alike, views
from keras_bt.report.run_files import FIGURES, SCORED

HEALTH = {
    "mean_diagonal": ("mean of C's diagonal", "towards 1: the views of an image match"),
    "mean_off_diagonal": (
        "mean of |C| off it",
        f"small without a redundancy target; {health.REDUNDANT_CORRELATION:g} is called collapse",
    ),
    "representation_rank": ("effective rank of the representation", "far above 1"),
    "embedding_rank": ("effective rank of the embedding", "far above 1"),
    "embedding_spread": ("median spread of the embedding", "not near 0"),
    "dead_dimensions": ("dead dimensions", "0"),
    "loss_above_floor": ("share of the loss above its floor", "falling"),
}


def run_content(run):
    """The page of one run.

    Args:
        run: `RunFiles`.

    Returns:
        `Content`.
    """
    parts = (views, training, correlation, soundness, alike, origin, settings)
    sections = [part(run) for part in parts]
    rows = [
        [SCORED[name], *(percent(scored.get(key)) for key in FIGURES)]
        for name, scored in run.scores.items()
        if any(value is not None for value in scored.values())
    ]
    return Content(
        title=f"{run.settings['name']}: {run.name}",
        lead=lead(run),
        sections=[section for section in sections if section],
        scores=Table(["accuracy", *FIGURES.values()], rows) if rows else None,
        protocol=run.result["protocol"] if run.result and rows else None,
        findings=run.findings,
        command=run.command,
    )


def lead(run):
    """What was trained on what, and how good it is: sentences."""
    s = run.settings
    network = f"{s['encoder']} of width {s['width']}"
    images = f"{run.images:,} images of {run.dataset}" if run.images else run.dataset
    if run.result is None:
        of = f" of {run.plan['epochs']}" if run.plan else ""
        lines = [
            f"A {network} is trained on {images}: {len(run.history)}{of} epochs were done at "
            f"{time.strftime('%H:%M on %Y-%m-%d')}. Reload this page to see more."
        ]
        epochs, accuracies = run.column("knn_accuracy")
        if epochs:
            lines.append(
                f"After epoch {epochs[-1]} its representations classify {percent(accuracies[-1])} "
                "of some held-out images by k-NN."
            )
        return lines
    lines = [
        f"A {network} was trained on {images} for {run.result['epochs']} epochs, "
        f"{run.minutes:.1f} minutes."
    ]
    trained, *others = (
        (run.scores.get(name) or {}).get("knn_accuracy") for name in ("trained", *OTHERS)
    )
    if trained is None:
        return [*lines, "There are no labels to measure it by; look at its neighbours below."]
    told = [
        f"{SCORED[n]} {percent(v)}" for n, v in zip(OTHERS, others, strict=True) if v is not None
    ]
    lines.append(
        f"Its representations classify {percent(trained)} of the held-out images by k-NN "
        f"({', '.join(told)})."
    )
    untrained, pixels = others
    if untrained is not None and trained <= untrained:
        lines.append("An untrained network does as well: it has not learned what the labels ask.")
    elif pixels is not None and trained <= pixels:
        lines.append("Raw pixels do as well: on images as simple as these they are hard to beat.")
    return lines


OTHERS = ("untrained", "pixels")


def training(run):
    """Loss, its terms, accuracies and learning rate over the epochs."""
    epochs, losses = run.column("loss")
    if not epochs:
        return None
    known = {"floor": run.loss_floor, "untrained": run.untrained_loss}
    levels = [(name, level) for name, level in known.items() if level is not None]
    told = ", ".join(f"{name} {level:.4g}" for name, level in levels)
    weight = run.settings["redundancy_weight"]
    across, redundancy = run.column("redundancy")
    terms = {
        "invariance": run.column("invariance"),
        "redundancy, weighted": (across, [weight * value for value in redundancy]),
        "mixed samples": run.column("mixed"),
    }
    terms = {name: column for name, column in terms.items() if column[0]}
    drawn = [
        Figure(
            f"Loss over the epochs, from {losses[0]:.4g} to {losses[-1]:.4g}"
            + (f" ({told})." if told else "."),
            figures.curves({"loss": (epochs, losses)}, levels, y="loss"),
        ),
        Figure(
            "Its terms: invariance, which the difference of the views makes, and redundancy "
            f"times its weight of {weight:g}"
            + (", and that of mixed samples." if "mixed samples" in terms else "."),
            figures.curves(terms, y="term of the loss", logarithmic=True),
        ),
    ]
    names = {"knn_accuracy": "k-NN", "linear_accuracy": "linear"}
    accuracies = {name: column for key, name in names.items() if (column := run.column(key))[0]}
    if accuracies:
        levels = [
            (f"{SCORED[name]}, k-NN", run.scores[name]["knn_accuracy"])
            for name in OTHERS
            if (run.scores.get(name) or {}).get("knn_accuracy") is not None
        ]
        drawn.append(
            Figure(
                "Accuracy during training, by at most {:,} training and {:,} held-out images; "
                "dashed: by all of them.".format(*schedule.ACCURACY_IMAGES),
                figures.curves(accuracies, levels, y="accuracy", limits=(0, 1)),
            )
        )
    rates = {"rate": run.column("learning_rate")}
    drawn.append(
        Figure("Learning rate at the end of each epoch.", figures.curves(rates, y="learning rate"))
    )
    return Section(
        "How it learned",
        ""
        if run.loss_floor is None
        else "The loss cannot fall below its floor, which follows from batch size, dimensions and "
        "redundancy weight alone; how far above it the loss ends says more than its value.",
        figures=drawn,
    )


def correlation(run):
    """C at several moments."""
    if not run.snapshots:
        return None
    last = run.snapshots[max(run.snapshots)]
    shown, dim = len(last["dimensions"]), run.settings["projector_dims"][-1]
    target = run.settings.get("redundancy_target", 0.0)
    off = f"{target:g}" if target else "0"
    taken = f"{shown} evenly spaced ones of {dim:,}" if shown < dim else f"all {dim}"
    on = float(np.mean(np.diagonal(last["c"])))
    return Section(
        "The cross-correlation matrix on its way to the identity"
        if not target
        else f"The cross-correlation matrix; {off} is wanted off its diagonal",
        "Ones on the diagonal: both views of an image give the same embedding. Zeros off it: no "
        "two dimensions say the same.",
        figures=[
            Figure(
                f"C of {taken} dimensions; in the last picture the mean of its diagonal is "
                f"{on:.2f}.",
                figures.heat_maps(run.snapshots),
                wide=True,
            ),
            Figure(
                f"How the entries of C are spread, of {int(last['diagonal'].sum()):,} of {dim:,} "
                f"dimensions: those on the diagonal should gather at 1, the others near {off}.",
                figures.histograms(run.snapshots),
            ),
        ],
    )


def soundness(run):
    """Spread, spectra and ranks, and what they ought to be."""
    if not run.snapshots:
        return None
    last = run.snapshots[max(run.snapshots)]
    variances = {"representation_variances": "representation", "embedding_variances": "embedding"}
    drawn = [
        Figure(
            "Standard deviation of each dimension of the embedding, in parts of the largest. Good "
            "is a line that falls little: no dimension is dead.",
            figures.descents(last, {"spread": "embedding"}, of="dimensions", y="spread"),
        ),
        Figure(
            f"Variance along the principal axes of {int(last['images'])} images, in parts of the "
            "largest. Good is a slow fall; a cliff after a few axes means that the others say "
            "nothing.",
            figures.descents(last, variances, of="axes", y="variance", logarithmic=True),
        ),
    ]
    names = {"representation_rank": "representation", "embedding_rank": "embedding"}
    ranks = {name: column for key, name in names.items() if (column := run.column(key))[0]}
    if ranks:
        drawn.append(
            Figure(
                "In how many directions images differ. Good is a rank that rises and stays, far "
                "above 1.",
                figures.curves(ranks, y="effective rank"),
            )
        )
    rows = [
        [label, f"{values[-1]:.3g}", f"{epochs[-1]}", good]
        for key, (label, good) in HEALTH.items()
        for epochs, values in [run.column(key)]
        if epochs
    ]
    table = Table(["figure", "value", "epoch", "good is"], rows) if rows else None
    return Section("Health of the embedding", table=table, figures=drawn)


def origin(run):
    """What it was made from, and what it met."""
    result, start = run.result or {}, run.start
    told = {
        "data": run.dataset,
        "images": run.images,
        "images skipped as unreadable": run.skipped_images,
        "images replaced while training": result.get("replaced_images"),
        "steps that were not finite": result.get("nonfinite_steps"),
        "images a second": result.get("images_per_second"),
        "replicas": result.get("replicas"),
        "started": start.get("started"),
        **{f"version of {name}": value for name, value in start.get("versions", {}).items()},
        **{f"machine: {name}": value for name, value in start.get("machine", {}).items()},
        **{f"environment: {name}": value for name, value in start.get("environment", {}).items()},
    }
    return Section("Data, versions and machine", table=_facts(told))


def settings(run):
    """Every setting."""
    return Section("Settings", table=_facts(run.settings), folded=True)


def _facts(told):
    rows = [[name, text_of(value)] for name, value in told.items() if value is not None]
    return Table(["what", "value"], rows)

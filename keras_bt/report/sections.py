"""The page of one run: summary, scores and sections."""

import time
from typing import Any

from keras_bt.evaluation import ENCODER_LABELS, METRIC_LABELS, schedule
from keras_bt.report import figures
from keras_bt.report.content import Figure, Page, Section, Table, format_accuracy, format_setting
from keras_bt.report.embedding_sections import correlation_section, health_section
from keras_bt.report.image_sections import similarity_section, views_section
from keras_bt.report.run_files import RunFiles

BASELINES = ("untrained", "pixels")


def run_page(run: RunFiles) -> Page:
    """Returns the page of one run."""
    sections = [
        views_section(run),
        training_section(run),
        correlation_section(run),
        health_section(run),
        similarity_section(run),
        provenance_section(run),
        Section("Settings", table=_facts("setting", run.settings), folded=True),
    ]
    rows = [
        [ENCODER_LABELS[name], *(format_accuracy(scores.get(metric)) for metric in METRIC_LABELS)]
        for name, scores in run.scores.items()
        if any(value is not None for value in scores.values())
    ]
    return Page(
        title=f"{run.settings['name']}: {run.name}",
        summary=summary(run),
        sections=[section for section in sections if section],
        scores=Table(["accuracy", *METRIC_LABELS.values()], rows) if rows else None,
        protocol=run.result["protocol"] if run.result and rows else None,
        findings=run.findings,
        command=run.command,
    )


def summary(run: RunFiles) -> list[str]:
    """Returns sentences about the network, the images and the accuracy."""
    network = f"{run.settings['encoder']} of width {run.settings['width']}"
    images = f"{run.images:,} images of {run.dataset}" if run.images else run.dataset
    if run.result is None:
        return _progress(run, network, images)
    trained = run.knn_accuracy("trained")
    lines = [
        *([run.result["verdict"]] if run.result.get("verdict") else []),
        f"A {network} was trained on {images} for {run.result['epochs']} epochs "
        f"({run.minutes:.1f} minutes).",
    ]
    if trained is None:
        return [
            *lines,
            "The images have no labels, so there is no accuracy. Judge the encoder by the nearest "
            "neighbors below.",
        ]
    baselines = {name: run.knn_accuracy(name) for name in BASELINES}
    known = {name: value for name, value in baselines.items() if value is not None}
    compared = ", ".join(f"{ENCODER_LABELS[n]}: {format_accuracy(v)}" for n, v in known.items())
    lines.append(
        f"Its representations classify {format_accuracy(trained)} of the held-out images correctly "
        "by k-NN" + (f" ({compared})." if compared else ".")
    )
    return lines


def _progress(run: RunFiles, network: str, images: str) -> list[str]:
    total = f" of {run.plan['epochs']:g}" if run.plan else ""
    done = run.history[-1]["epoch"] if run.history else 0
    lines = [
        f"A {network} is being trained on {images}: {done:g}{total} epochs were complete "
        f"at {time.strftime('%H:%M on %Y-%m-%d')}. Reload this page for newer results."
    ]
    epochs, accuracies = run.column("knn_accuracy")
    if epochs:
        lines.append(
            f"After epoch {epochs[-1]:g} its representations classify "
            f"{format_accuracy(accuracies[-1])} of a sample of the held-out images correctly by "
            "k-NN."
        )
    return lines


def training_section(run: RunFiles) -> Section | None:
    """Returns the curves of loss, its terms, accuracies and learning rate."""
    epochs, losses = run.column("loss")
    if not epochs:
        return None
    levels = [
        (name, level)
        for name, level in (("floor", run.loss_floor), ("untrained", run.untrained_loss))
        if level is not None
    ]
    compared = ", ".join(f"{name} {level:.4g}" for name, level in levels)
    weight = run.settings["redundancy_weight"]
    terms = run.columns(
        {"invariance": "invariance", "redundancy": "redundancy, weighted", "mixed": "mixed samples"}
    )
    if "redundancy, weighted" in terms:
        xs, redundancy = terms["redundancy, weighted"]
        terms["redundancy, weighted"] = xs, [weight * value for value in redundancy]
    measure = (
        "minus the log-determinant of their correlations"
        if run.settings.get("redundancy") == "log_determinant"
        else "correlation between dimensions"
    )
    section_figures = [
        Figure(
            f"Loss after each epoch, from {losses[0]:.4g} to {losses[-1]:.4g}"
            + (f" ({compared})." if compared else "."),
            figures.line_plot({"loss": (epochs, losses)}, levels, y="loss"),
        ),
        Figure(
            "Terms of the loss: invariance (difference between the views), redundancy "
            f"({measure}, times its weight of {weight:g})"
            + (", loss of mixed samples." if "mixed samples" in terms else "."),
            figures.line_plot(terms, y="term of the loss", logarithmic=True),
        ),
    ]
    accuracies = run.columns({"knn_accuracy": "k-NN", "linear_accuracy": "linear"})
    if accuracies:
        baselines = [
            (f"{ENCODER_LABELS[name]}, k-NN", accuracy)
            for name in BASELINES
            if (accuracy := run.knn_accuracy(name)) is not None
        ]
        section_figures.append(
            Figure(
                "Accuracy during training, on samples of at most {:,} training and {:,} held-out "
                "images. Dashed lines: baselines on all images.".format(*schedule.MONITOR_IMAGES),
                figures.line_plot(accuracies, baselines, y="accuracy", limits=(0, 1)),
            )
        )
    rates = {"rate": run.column("learning_rate")}
    section_figures.append(
        Figure(
            "Learning rate at the end of each epoch.", figures.line_plot(rates, y="learning rate")
        )
    )
    return Section(
        "Training curves",
        ""
        if run.loss_floor is None
        else "The loss cannot fall below its floor, which depends only on batch size, embedding "
        "dimensions and redundancy weight. Judge training by the distance to the floor, not by "
        "the loss.",
        figures=section_figures,
    )


def provenance_section(run: RunFiles) -> Section:
    """Returns the table of data, versions, machine and environment."""
    result, start = run.result or {}, run.start
    facts = {
        "dataset": run.dataset,
        "images": run.images,
        "unreadable images skipped": run.skipped_images,
        "images replaced during training": result.get("replaced_images"),
        "non-finite steps": result.get("nonfinite_steps"),
        "images per second": result.get("images_per_second"),
        "replicas": result.get("replicas"),
        "started": start.get("started"),
        **{f"{name} version": value for name, value in start.get("versions", {}).items()},
        **{f"machine: {name}": value for name, value in start.get("machine", {}).items()},
        **{f"environment: {name}": value for name, value in start.get("environment", {}).items()},
    }
    return Section("Data, versions and machine", table=_facts("item", facts))


def _facts(head: str, facts: dict[str, Any]) -> Table:
    rows = [[name, format_setting(value)] for name, value in facts.items() if value is not None]
    return Table([head, "value"], rows)

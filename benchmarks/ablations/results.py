"""Trains and scores one row of the ablations; formats the table of all rows."""

import time

import keras
import numpy as np

from ablations.rows import ABLATIONS, PAPER_BASELINE
from keras_bt import evaluation
from keras_bt.model.view_placement import better_placement

METRICS = ("knn_accuracy", "linear_accuracy")


def train_and_score(ablation, recipe, source, seed):
    """Trains a row on one device and scores its encoder on held-out images.

    Args:
        ablation: `Ablation`.
        recipe: `Recipe` of the baseline.
        source: `data.Source` with labels.
        seed: Seed of weights, order and views.

    Returns:
        {"knn_accuracy", "linear_accuracy", "loss", "seconds"}: floats. The loss is that of the
        last epoch, the seconds those of training. If the loss or a weight is not finite, all but
        the seconds are None.

    Raises:
        ValueError: If the row does not fit the recipe or the images.
    """
    recipe = ablation.apply(recipe)
    source = source.framed(recipe.framing)
    keras.utils.set_random_seed(seed)
    model = ablation.build_model(recipe, seed)
    steps = source.train.count // recipe.batch_size
    images = recipe.epochs * source.train.count
    model.compile(
        recipe.build_optimizer(steps, recipe.epochs * steps),
        ablation.build_loss(recipe),
        view_placement=better_placement(images, recipe.side_of_views**2),
    )
    batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, seed)
    start = time.perf_counter()
    losses = model.fit(
        batches,
        epochs=recipe.epochs,
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=0,
    ).history["loss"]
    result = {"seconds": round(time.perf_counter() - start, 1)}
    if not all(np.isfinite(each).all() for each in (losses, *model.encoder.get_weights())):
        return {**dict.fromkeys((*METRICS, "loss")), **result}
    scores = evaluation.score(model.encoder, source, recipe.image_size)
    return {**{name: scores[name] for name in METRICS}, "loss": losses[-1], **result}


def table(results):
    """Returns a Markdown table of the accuracies of all rows in %, beside those of the paper.

    Args:
        results: Dicts {"row", "seed", "knn_accuracy", "linear_accuracy"}.

    Returns:
        Means over seeds, with the standard deviation if there are several seeds. Differences are
        to the mean of the baseline.

    Example:
        >>> metrics = {"seed": 0, "knn_accuracy": 0.5, "linear_accuracy": 0.6}
        >>> print(table([{"row": "baseline", **metrics}, {"row": "predictor", **metrics}]))
        | row | k-NN | | linear | | paper | |
        |---|---|---|---|---|---|---|
        | baseline | 50.0 | | 60.0 | | 71.4 | |
        | predictor | 50.0 | +0.0 | 60.0 | +0.0 | 70.2 | -1.2 |
    """
    lines = ["| row | k-NN | | linear | | paper | |", "|---|---|---|---|---|---|---|"]
    baseline = [row for row in results if row["row"] == "baseline"]
    for name, ablation in ABLATIONS.items():
        measured = [row for row in results if row["row"] == name]
        if not measured:
            continue
        cells = [name]
        for metric in METRICS:
            percents = _percents(measured, metric)
            cells.append(_mean_and_deviation(percents))
            cells.append(_difference(name, percents, _percents(baseline, metric)))
        paper = ablation.paper
        if paper is None:
            cells += ["", ""]
        else:
            cells += [f"{paper:.1f}", _difference(name, [paper], [PAPER_BASELINE])]
        lines.append(" ".join(f"| {cell}" if cell else "|" for cell in cells) + " |")
    return "\n".join(lines)


def _percents(results, metric):
    """Returns a metric of each result in %; NaN if training was not finite."""
    return [np.nan if row[metric] is None else 100 * row[metric] for row in results]


def _mean_and_deviation(percents):
    """Returns the text of a cell: mean, and standard deviation over several seeds."""
    if not np.isfinite(percents).all():
        return "not finite"
    deviation = f" ± {np.std(percents, ddof=1):.1f}" if len(percents) > 1 else ""
    return f"{np.mean(percents):.1f}{deviation}"


def _difference(name, percents, baseline):
    """Returns the text of a cell: difference to the baseline, or nothing."""
    if name == "baseline" or not baseline or not np.isfinite([*percents, *baseline]).all():
        return ""
    return f"{np.mean(percents) - np.mean(baseline):+.1f}"

"""What a row of the ablations reaches, and all of them side by side."""

import time

import keras
import numpy as np

from ablations.rows import PAPER_BASELINE, rows
from keras_bt import evaluation
from keras_bt.model.view_placement import better_placement

FIGURES = ("knn_accuracy", "linear_accuracy")


def train_and_score(ablation, recipe, source, seed):
    """Trains a row on one device, from a recipe, and scores its encoder on held-out images.

    Args:
        ablation: `Ablation`.
        recipe: `Recipe` of the baseline.
        source: `data.Source` with labels.
        seed: Int. Of weights, order and views.

    Returns:
        {"knn_accuracy", "linear_accuracy", "loss", "seconds"}: floats, the last two of
        training; all but the seconds None where training did not stay finite.

    Raises:
        ValueError: If the row does not go with recipe or images.
    """
    recipe = ablation.applied_to(recipe)
    keras.utils.set_random_seed(seed)
    model = ablation.build_model(recipe, seed)
    steps = source.train.count // recipe.batch_size
    images = recipe.epochs * source.train.count
    model.compile(
        recipe.build_optimizer(steps, recipe.epochs * steps),
        ablation.build_loss(recipe),
        view_placement=better_placement(images, recipe.image_size**2),
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
        return {**dict.fromkeys((*FIGURES, "loss")), **result}
    scores = evaluation.score(model.encoder, source, recipe.image_size)
    return {**{name: scores[name] for name in FIGURES}, "loss": losses[-1], **result}


def table(results):
    """A Markdown table like the paper's of what rows reached, in %.

    Args:
        results: List of dicts {"row", "seed", "knn_accuracy", "linear_accuracy"}.

    Returns:
        String. Means over seeds, with the standard deviation of several; differences are to
        the mean of the baseline.

    Example:
        >>> figures = {"seed": 0, "knn_accuracy": 0.5, "linear_accuracy": 0.6}
        >>> print(table([{"row": "baseline", **figures}, {"row": "predictor", **figures}]))
        | row | k-NN | | linear | | paper | |
        |---|---|---|---|---|---|---|
        | baseline | 50.0 | | 60.0 | | 71.4 | |
        | predictor | 50.0 | +0.0 | 60.0 | +0.0 | 70.2 | -1.2 |
    """
    lines = ["| row | k-NN | | linear | | paper | |", "|---|---|---|---|---|---|---|"]
    baseline = [row for row in results if row["row"] == "baseline"]
    for name in rows:
        of_row = [row for row in results if row["row"] == name]
        if not of_row:
            continue
        cells = [name]
        for figure in FIGURES:
            percents, reached = _percents(of_row, figure), _percents(baseline, figure)
            cells += [_mean_and_spread(percents), _difference(name, percents, reached)]
        paper = rows[name].paper
        if paper is None:
            cells += ["", ""]
        else:
            cells += [f"{paper:.1f}", _difference(name, [paper], [PAPER_BASELINE])]
        lines.append(" ".join(f"| {cell}" if cell else "|" for cell in cells) + " |")
    return "\n".join(lines)


def _percents(results, figure):
    return [np.nan if row[figure] is None else 100 * row[figure] for row in results]


def _mean_and_spread(percents):
    if not np.isfinite(percents).all():
        return "not finite"
    spread = f" ± {np.std(percents, ddof=1):.1f}" if len(percents) > 1 else ""
    return f"{np.mean(percents):.1f}{spread}"


def _difference(name, percents, baseline):
    if name == "baseline" or not baseline or not np.isfinite([*percents, *baseline]).all():
        return ""
    return f"{np.mean(percents) - np.mean(baseline):+.1f}"

"""The first sentence of a result: whether the encoder beats its baselines beyond noise."""

from collections.abc import Mapping, Sequence

from keras_bt.evaluation import Advantage

FEW_IMAGES = 200
BASELINES = {"untrained": "the untrained network", "pixels": "raw pixels"}
METRICS = {"knn_accuracy": "by k-NN", "linear_accuracy": "by a linear probe"}


def verdict(
    advantages: Mapping[str, Mapping[str, Sequence[float]]], held_out: int, images: int
) -> str | None:
    """Says whether an encoder is better than the untrained network and raw pixels.

    Args:
        advantages: {baseline: {metric: (difference, low, high)}}, see `Advantage`.
        held_out: Number of images that were classified.
        images: Number of images trained on.

    Returns:
        One or more sentences; None if nothing is known, as without labels.

    Example:
        >>> advantages = {"untrained": {"knn_accuracy": (0.2, 0.1, 0.3)}}
        >>> advantages |= {"pixels": {"knn_accuracy": (-0.01, -0.05, 0.03)}}
        >>> for sentence in verdict(advantages, held_out=400, images=2000).split(". "):
        ...     print(sentence)
        NOT better than raw pixels by k-NN (-1.0 points, 95 % interval -5.0 to +3.0), beyond ...
        Better than the untrained network by k-NN.
    """
    found = [
        (f"{name} {METRICS[metric]}", Advantage(*advantages[baseline][metric]))
        for baseline, name in BASELINES.items()
        for metric in advantages.get(baseline, {})
    ]
    if not found:
        return None
    noise = f"beyond the noise of {held_out:,} held-out images"
    better = [name for name, each in found if each.low > 0]
    others = [
        f"{name} ({100 * each.difference:+.1f} points, 95 % interval {100 * each.low:+.1f} to "
        f"{100 * each.high:+.1f})"
        for name, each in found
        if each.low <= 0
    ]
    sentences = []
    if others:
        sentences.append(f"NOT better than {_listed(others)}, {noise}.")
    if len(better) == len(BASELINES) * len(METRICS):
        better = [f"{' and '.join(BASELINES.values())}, {' and '.join(METRICS.values())}"]
    if better:
        sentences.append(f"Better than {_listed(better)}{'' if others else f', {noise}'}.")
    if images < FEW_IMAGES:
        sentences.append(
            f"Only {images} images were trained on: most of what they show is chance, so judge "
            "the encoder by its nearest neighbors too."
        )
    return " ".join(sentences)


def _listed(parts: Sequence[str]) -> str:
    """The parts with commas, and "and" before the last."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if parts[1:] else parts[0]

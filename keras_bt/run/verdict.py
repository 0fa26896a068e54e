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
        NOT better than raw pixels by k-NN (-1.0 points; 95 % interval -5.0 to +3.0)
        Better than the untrained network by k-NN, beyond the noise of 400 held-out images.
    """
    found = [
        (f"{name} {METRICS[metric]}", Advantage(*advantages[baseline][metric]))
        for baseline, name in BASELINES.items()
        for metric in advantages.get(baseline, {})
    ]
    if not found:
        return None
    better = [name for name, each in found if each.low > 0]
    sentences = [
        f"{'WORSE' if each.high < 0 else 'NOT better'} than {name} ({100 * each.difference:+.1f} "
        f"points; 95 % interval {100 * each.low:+.1f} to {100 * each.high:+.1f})."
        for name, each in found
        if each.low <= 0
    ]
    if better:
        listed = f"{', '.join(better[:-1])} and {better[-1]}" if better[1:] else better[0]
        if len(better) == len(BASELINES) * len(METRICS):
            listed = f"{' and '.join(BASELINES.values())}, {' and '.join(METRICS.values())}"
        sentences.append(f"Better than {listed}, beyond the noise of {held_out:,} held-out images.")
    if images < FEW_IMAGES:
        sentences.append(
            f"Only {images} images were trained on: most of what they show is chance, so judge "
            "the encoder by its nearest neighbors too."
        )
    return " ".join(sentences)

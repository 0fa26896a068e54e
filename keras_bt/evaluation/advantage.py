"""Whether an encoder is better than a baseline, beyond the noise of the held-out images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 2000


class Advantage(NamedTuple):
    """The accuracy of an encoder minus that of a baseline.

    Args:
        difference: In [-1, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.

    Example:
        >>> Advantage(0.02, -0.01, 0.05).in_words
        'neither better nor worse beyond noise'
    """

    difference: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        """Better, worse, or neither beyond the noise of so many images."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "neither better nor worse beyond noise"


def advantage(hits: ArrayLike, baseline_hits: ArrayLike, seed: int = 0) -> Advantage:
    """Returns the advantage of an encoder over a baseline, with a 95 % interval by bootstrap.

    The same held-out images are drawn for both, with replacement, 2,000 times.

    Args:
        hits: Bool array [images]: which held-out images the encoder classifies correctly.
        baseline_hits: Bool array [images]: the same images by the baseline.
        seed: Of the draws.

    Raises:
        ValueError: If the arrays have other shapes, or are empty.

    Example:
        >>> found = advantage([True] * 90 + [False] * 10, [True] * 60 + [False] * 40)
        >>> round(found.difference, 2), found.in_words
        (0.3, 'better')
    """
    shapes = np.shape(hits), np.shape(baseline_hits)
    if len(shapes[0]) != 1 or shapes[0] == (0,) or shapes[0] != shapes[1]:
        raise ValueError(
            "hits and baseline_hits must be arrays [images] of the same images, got shapes "
            f"{shapes[0]} and {shapes[1]}."
        )
    gains = np.subtract(hits, baseline_hits, dtype="int64")
    # An image gains 1, 0 or -1, so drawing images is drawing counts of the three.
    shares = [np.mean(gains == gain) for gain in (1, 0, -1)]
    counts = np.random.default_rng(seed).multinomial(gains.size, shares, DRAWS)
    means = (counts[:, 0] - counts[:, 2]) / gains.size
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return Advantage(float(np.mean(gains)), low, high)

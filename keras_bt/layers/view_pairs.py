"""Pairs of views: the published ones, and any two with independent draws."""

from typing import Any

from keras_bt.layers.views import BarlowTwinsView, ImageSize


def paper_views(image_size: ImageSize, **overrides: Any) -> tuple[BarlowTwinsView, BarlowTwinsView]:
    """The published pair: view A always blurs, view B blurs rarely and sometimes solarizes.

    Args:
        image_size: Size or (height, width), in pixels.
        **overrides: Arguments of `BarlowTwinsView` for both views, except `seed`: from it each
            view gets a seed of its own.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> view_a, view_b = paper_views(224)
        >>> view_a.blur_rate, view_b.blur_rate, view_b.solarize_rate
        (1.0, 0.1, 0.2)

    Source: facebookresearch/barlowtwins main.py@8e8d284, class Transform.
    """
    only_a, only_b = {"blur_rate": 1.0}, {"blur_rate": 0.1, "solarize_rate": 0.2}
    return two_views(image_size, only_a, only_b, **overrides)


def small_image_views(
    image_size: ImageSize, **overrides: Any
) -> tuple[BarlowTwinsView, BarlowTwinsView]:
    """The usual pair for images of 32 pixels: the paper's pair without blur.

    Args:
        image_size: Size or (height, width), in pixels.
        **overrides: Arguments of `BarlowTwinsView` for both views, except `seed`: from it each
            view gets a seed of its own.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> view_a, view_b = small_image_views(32)
        >>> view_a.blur_rate, view_a.solarize_rate, view_b.solarize_rate
        (0.0, 0.0, 0.2)

    Source: vturrisi/solo-learn scripts/pretrain/cifar/barlow.yaml@9187ea3.
    """
    only_a, only_b = {"blur_rate": 0.0}, {"blur_rate": 0.0, "solarize_rate": 0.2}
    return two_views(image_size, only_a, only_b, **overrides)


def two_views(
    image_size: ImageSize,
    only_a: dict[str, Any],
    only_b: dict[str, Any],
    seed: int | None = None,
    **both: Any,
) -> tuple[BarlowTwinsView, BarlowTwinsView]:
    """A pair of views with independent draws.

    Args:
        image_size: Size or (height, width), in pixels.
        only_a: Arguments of `BarlowTwinsView` for view A.
        only_b: Arguments of `BarlowTwinsView` for view B.
        seed: Seed of the pair. The seeds of the views follow from it.
        **both: Arguments for both views. They override `only_a` and `only_b`.

    Returns:
        (view_a, view_b), two `BarlowTwinsView` layers.

    Example:
        >>> [view.seed for view in two_views(32, {}, {}, seed=3)]
        [6, 7]
    """
    seed_a, seed_b = (None, None) if seed is None else (2 * seed, 2 * seed + 1)
    return (
        BarlowTwinsView(image_size, **{"name": "view_a", "seed": seed_a, **only_a, **both}),
        BarlowTwinsView(image_size, **{"name": "view_b", "seed": seed_b, **only_b, **both}),
    )

"""Settings for runs with little compute: minutes to hours on a few processor cores.

Published settings train on tens of millions of images. A run that cannot train on as many learns
more with a small network, small batches and the log-determinant.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_bt.functional.loss import REDUNDANCY_WEIGHTS


class Network(NamedTuple):
    """An encoder of conv4's kind to choose from.

    Args:
        width: Channels of its stem.
        cost: Time of a step, divided by that of the smallest.
        least_passes: Images that a training must pass through it, to be better than a smaller
            network in the same time.
    """

    width: int
    cost: float
    least_passes: float


# Measured on CIFAR-10 and photographs: RESULTS.md, "Networks".
# Where the wider one overtakes is extrapolated: at 600 processor-seconds it is still behind.
NETWORKS = (Network(32, cost=1.0, least_passes=0.0), Network(64, cost=3.0, least_passes=5e5))
# A ResNet-18 of width 64, a hundred epochs of CIFAR-10. Not measured: it takes two cores days.
PUBLISHED_COST, PUBLISHED_PASSES = 10.0, 5e6
RESNET_WIDTH = 16
BATCH_SIZE, DIM = 128, 256
WARM_UP_SHARE = 0.1


def published_settings_fit(passes: float) -> bool:
    """Whether a run is long enough for the published settings.

    Args:
        passes: Images that the run could pass through the smallest network.

    Example:
        >>> published_settings_fit(1e6), published_settings_fit(1e9)
        (False, True)
    """
    return passes / PUBLISHED_COST >= PUBLISHED_PASSES


def choose_network(passes: float) -> Network:
    """The largest network that gets enough passes.

    Args:
        passes: See `published_settings_fit`.

    Example:
        >>> choose_network(passes=3e5).width
        32
    """
    return [each for each in NETWORKS if passes / each.cost >= each.least_passes][-1]


def view_side(image_size: int) -> int | None:
    """Side of the views in a short run, in pixels; None for that of the images.

    Args:
        image_size: Side of the encoder's images, in pixels.

    Example:
        >>> view_side(32), view_side(64), view_side(96), view_side(8)
        (24, None, 64, None)
    """
    if image_size > 64:
        return 64
    return image_size * 3 // 4 if 24 <= image_size <= 32 else None


def batch_size_for(count: int) -> int:
    """Images per step in a short run: at most half of all, a power of two.

    Args:
        count: Number of images, at least 2.

    Example:
        >>> batch_size_for(50), batch_size_for(100), batch_size_for(3000)
        (16, 32, 128)
    """
    return min(BATCH_SIZE, max(2, 2 ** ((count // 2).bit_length() - 1)))


def settings_for(
    count: int, image_size: int, passes: float, given: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """The fields of a recipe for a short run.

    Args:
        count: Number of images, at least 2.
        image_size: Side of the encoder's images, in pixels.
        passes: See `published_settings_fit`.
        given: Fields that the user has set, with their values. They are left out, and with a loss
            or an optimizer of the user's own the settings that belong to it.

    Returns:
        From each field to (value, reason).

    Example:
        >>> fields = settings_for(count=3000, image_size=64, passes=2e5, given={"width": 16})
        >>> fields["encoder"][0], fields["projector_dims"][0], "width" in fields
        ('conv4', (512, 256), False)
    """
    network, batch_size = choose_network(passes), given.get("batch_size", batch_size_for(count))
    dim = min(DIM, 2 * batch_size)
    side, reason = view_side(image_size), "smaller views train faster, and as well"
    fields: dict[str, tuple[Any, str]] = {
        "encoder": ("conv4", "learns more than a ResNet in a short run (RESULTS.md, Networks)"),
        "width": (
            RESNET_WIDTH if given.get("encoder", "conv4") != "conv4" else network.width,
            "the widest that gets enough images in this time (RESULTS.md, Networks)",
        ),
        "stem": (
            "small" if image_size <= 32 else "imagenet",
            "up to 32 pixels 3x3 without pooling; for larger images that takes too long",
        ),
        "view_size": (side, reason if side else "as image_size"),
        "batch_size": (
            batch_size,
            "128: smaller batches, and so more steps, learn more in a short run; at most half of "
            "the images",
        ),
        "precision": ("auto", "bfloat16 where it is faster"),
        "warmup_epochs": (WARM_UP_SHARE * passes / network.cost / count, "a tenth of the run"),
    }
    if not {"redundancy", "redundancy_weight", "redundancy_target", "optimizer"} & set(given):
        fields |= {
            "redundancy": (
                "log_determinant",
                "learns faster at first than the paper's squares (RESULTS.md, The first steps)",
            ),
            "redundancy_weight": (REDUNDANCY_WEIGHTS["log_determinant"], "of a log-determinant"),
            "projector_dims": ((2 * dim, dim), "256, as many as both views of a batch at most"),
            "optimizer": ("adamw", "learns faster than LARS in a short run"),
            "learning_rate": (0.016, "for a batch of 256; the better of two for short runs"),
            "weight_decay": (1e-4, "not tuned"),
        }
    return {field: value for field, value in fields.items() if field not in given}

"""The rows of the paper's ablations, and two of later papers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ablations import altered
from keras_bt.config.recipe import Recipe
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A row: what differs from a recipe.

    Args:
        changes: What it changes, in words.
        fields: Function from the recipe to the fields it gets in place of its own.
        loss: Function from `redundancy_weight` and `redundancy_target` to a loss.
        model: `BarlowTwins` or a subclass of it.
        paper: The paper's top-1 of a linear classifier on ImageNet after 300 epochs, in %.
        source: Where the paper has it.

    Example:
        >>> from keras_bt.config.named import recipes
        >>> rows["batch_size_x2"].applied_to(recipes["digits"]).batch_size
        256
    """

    changes: str
    fields: Callable[[Recipe], Mapping] = lambda recipe: {}
    loss: Callable[..., BarlowTwinsLoss] = BarlowTwinsLoss
    model: type[BarlowTwins] = BarlowTwins
    paper: float | None = None
    source: str = ""

    def applied_to(self, recipe):
        """The recipe of this row, from that of the baseline."""
        return recipe.override(**self.fields(recipe))

    def alters(self, recipe):
        """Whether a run of this row differs from one of that recipe."""
        same = self.loss is BarlowTwinsLoss and self.model is BarlowTwins
        return not same or self.applied_to(recipe) != recipe

    def build_model(self, recipe, seed):
        """The model of this row, from the recipe of this row."""
        plain = recipe.build_model(seed)
        parts = plain.encoder, plain.projector, plain.views
        return self.model(*parts, plain.micro_batches, plain.mixed_sample_weight)

    def build_loss(self, recipe):
        """The loss of this row, from the recipe of this row."""
        return self.loss(
            redundancy_weight=recipe.redundancy_weight, redundancy_target=recipe.redundancy_target
        )


def _set(**fields):
    return lambda recipe: fields


def _times(field, factor):
    """A number, or each of several, times a factor."""

    def scaled(recipe):
        value = getattr(recipe, field)
        if isinstance(value, tuple):
            return {field: tuple(int(each * factor) for each in value)}
        return {field: type(value)(value * factor)}

    return scaled


def _layers(count):
    return lambda recipe: {"projector_dims": count * recipe.projector_dims[-1:]}


PAPER_BASELINE = 71.4
_NO_GRAYSCALE = {"grayscale_rate": 0.0}
_NO_COLOR = {**_NO_GRAYSCALE, "jitter_rate": 0.0}
_CROP_AND_BLUR = {**_NO_COLOR, "flip_rate": 0.0, "solarize_rates": (0.0, 0.0)}
_CROP = {**_CROP_AND_BLUR, "blur_rates": (0.0, 0.0)}
_BATCH_SIZES = {0.25: 71.4, 0.5: 71.7, 2: 70.7}  # of 2048, with the best learning rate for each

rows: Mapping[str, Ablation] = MappingProxyType(
    {
        "baseline": Ablation("nothing", paper=PAPER_BASELINE, source="table 5"),
        "invariance_only": Ablation(
            "no redundancy term", _set(redundancy_weight=0.0), paper=57.3, source="table 5"
        ),
        "redundancy_only": Ablation(
            "no invariance term", loss=altered.RedundancyOnly, paper=0.1, source="table 5"
        ),
        "feature_normalized": Ablation(
            "embeddings also normalized along features",
            loss=altered.FeatureNormalized,
            paper=69.8,
            source="table 5",
        ),
        "no_batch_norm": Ablation(
            "no batch norm in the projector",
            model=altered.WithoutBatchNorm,
            paper=71.2,
            source="table 5",
        ),
        "cross_covariance": Ablation(
            "no batch norm in the projector, embeddings not scaled",
            loss=altered.CrossCovariance,
            model=altered.WithoutBatchNorm,
            paper=53.4,
            source="table 5",
        ),
        "uncentered": Ablation(
            "C of embeddings that are not centered",
            loss=functools.partial(BarlowTwinsLoss, centered=False),
        ),
        "stop_gradient": Ablation(
            "no gradient through view B", model=altered.StopGradient, paper=70.5, source="table 6"
        ),
        "predictor": Ablation(
            "a predictor for view A", model=altered.WithPredictor, paper=70.2, source="table 6"
        ),
        "predictor_and_stop_gradient": Ablation(
            "both", model=altered.WithPredictorAndStopGradient, paper=61.3, source="table 6"
        ),
        **{
            f"batch_size_x{factor:g}": Ablation(
                f"batch size times {factor:g}, learning rate in proportion",
                _times("batch_size", factor),
                paper=paper,
                source="figure 2",
            )
            for factor, paper in _BATCH_SIZES.items()
        },
        "no_grayscale": Ablation("views without gray", _set(**_NO_GRAYSCALE), source="figure 3"),
        "no_color": Ablation(
            "views without gray and color jitter", _set(**_NO_COLOR), source="figure 3"
        ),
        "crop_and_blur": Ablation(
            "views of crop and blur alone", _set(**_CROP_AND_BLUR), source="figure 3"
        ),
        "crop": Ablation("views of crop alone", _set(**_CROP), source="figure 3"),
        **{
            f"projector_width_x{factor:g}": Ablation(
                f"projector dims times {factor:g}",
                _times("projector_dims", factor),
                source="figure 4",
            )
            for factor in (0.25, 0.5, 2)
        },
        **{
            f"projector_layers_{count}": Ablation(
                f"projector layers: {count}, all as wide as the last",
                _layers(count),
                source="section 4",
            )
            for count in (1, 2, 3)
        },
        **{
            f"redundancy_weight_x{factor:g}": Ablation(
                f"redundancy weight times {factor:g}",
                _times("redundancy_weight", factor),
                source="figure 5",
            )
            for factor in (0.25, 0.5, 2, 4)
        },
        "redundancy_target_-1": Ablation(
            "C's off-diagonal drawn to -1, arXiv 2104.13712", _set(redundancy_target=-1.0)
        ),
        "mixed_samples": Ablation(
            "mixed samples of weight 4, arXiv 2312.02151", _set(mixed_sample_weight=4.0)
        ),
    }
)
main_rows = (
    "baseline",
    "invariance_only",
    "redundancy_only",
    "cross_covariance",
    "no_batch_norm",
    "stop_gradient",
    "predictor",
    "uncentered",
)

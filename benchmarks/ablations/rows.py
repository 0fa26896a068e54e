"""The ablations by name: those of the paper, and two of later papers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ablations import variants
from keras_bt.config.recipe import Recipe
from keras_bt.model.barlow_twins import BarlowTwins
from keras_bt.model.losses import BarlowTwinsLoss


@dataclasses.dataclass(frozen=True)
class Ablation:
    """The changes that one row of the table makes to a recipe.

    Args:
        changes: The change in words.
        fields: From the recipe to the fields that change.
        loss: From `redundancy_weight`, `redundancy_target` and `redundancy` to a loss.
        model: `BarlowTwins` or a subclass.
        paper: Top-1 accuracy of a linear classifier in the paper, in %: ImageNet, 300 epochs.
        source: Table, figure or section of the paper.

    Example:
        >>> from keras_bt.config.named import recipes
        >>> ABLATIONS["batch_size_x2"].apply(recipes["digits"]).batch_size
        256
    """

    changes: str
    fields: Callable[[Recipe], Mapping] = lambda recipe: {}
    loss: Callable[..., BarlowTwinsLoss] = BarlowTwinsLoss
    model: type[BarlowTwins] = BarlowTwins
    paper: float | None = None
    source: str = ""

    def apply(self, recipe):
        """Returns the recipe of this row, from the recipe of the baseline."""
        return recipe.override(**self.fields(recipe))

    def changes_run(self, recipe):
        """Returns whether a run of this row differs from a run of the recipe."""
        plain = self.loss is BarlowTwinsLoss and self.model is BarlowTwins
        return not plain or self.apply(recipe) != recipe

    def build_model(self, recipe, seed):
        """Returns the model of this row, from the recipe of this row."""
        model = recipe.build_model(seed)
        if self.model is BarlowTwins:
            return model
        return self.model(model.encoder, model.projector, model.views, model.micro_batches)

    def build_loss(self, recipe):
        """Returns the loss of this row, from the recipe of this row."""
        return self.loss(
            redundancy_weight=recipe.redundancy_weight,
            redundancy_target=recipe.redundancy_target,
            redundancy=recipe.redundancy,
        )


def _set(**fields):
    """Returns `Ablation.fields` that sets fields to fixed values."""
    return lambda recipe: fields


def _times(field, factor):
    """Returns `Ablation.fields` that multiplies a number, or each of several numbers."""

    def scaled(recipe):
        value = getattr(recipe, field)
        if isinstance(value, tuple):
            return {field: tuple(int(each * factor) for each in value)}
        return {field: type(value)(value * factor)}

    return scaled


def _layers(count):
    """Returns `Ablation.fields` for a projector of `count` equal layers."""
    return lambda recipe: {"projector_dims": count * recipe.projector_dims[-1:]}


PAPER_BASELINE = 71.4
_NO_GRAYSCALE = {"grayscale_rate": 0.0}
_NO_COLOR = {**_NO_GRAYSCALE, "jitter_rate": 0.0}
_CROP_AND_BLUR = {**_NO_COLOR, "flip_rate": 0.0, "solarize_rates": (0.0, 0.0)}
_CROP = {**_CROP_AND_BLUR, "blur_rates": (0.0, 0.0)}
_BATCH_SIZES = {0.25: 71.4, 0.5: 71.7, 2: 70.7}  # of 2048; each with its best learning rate

ABLATIONS: Mapping[str, Ablation] = MappingProxyType(
    {
        "baseline": Ablation("nothing", paper=PAPER_BASELINE, source="table 5"),
        "invariance_only": Ablation(
            "no redundancy term", _set(redundancy_weight=0.0), paper=57.3, source="table 5"
        ),
        "redundancy_only": Ablation(
            "no invariance term", loss=variants.RedundancyOnly, paper=0.1, source="table 5"
        ),
        "feature_normalized": Ablation(
            "embeddings also normalized along features",
            loss=variants.FeatureNormalized,
            paper=69.8,
            source="table 5",
        ),
        "no_batch_norm": Ablation(
            "no batch norm in the projector",
            model=variants.WithoutBatchNorm,
            paper=71.2,
            source="table 5",
        ),
        "cross_covariance": Ablation(
            "no batch norm in the projector, embeddings not scaled",
            loss=variants.CrossCovariance,
            model=variants.WithoutBatchNorm,
            paper=53.4,
            source="table 5",
        ),
        "uncentered": Ablation(
            "C of embeddings that are not centered",
            loss=functools.partial(BarlowTwinsLoss, centered=False),
        ),
        "stop_gradient": Ablation(
            "no gradient through view B", model=variants.StopGradient, paper=70.5, source="table 6"
        ),
        "predictor": Ablation(
            "a predictor for view A", model=variants.WithPredictor, paper=70.2, source="table 6"
        ),
        "predictor_and_stop_gradient": Ablation(
            "a predictor for view A, no gradient through view B",
            model=variants.WithPredictorAndStopGradient,
            paper=61.3,
            source="table 6",
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
        "no_grayscale": Ablation(
            "views without grayscale", _set(**_NO_GRAYSCALE), source="figure 3"
        ),
        "no_color": Ablation(
            "views without grayscale and color jitter", _set(**_NO_COLOR), source="figure 3"
        ),
        "crop_and_blur": Ablation(
            "views with crop and blur only", _set(**_CROP_AND_BLUR), source="figure 3"
        ),
        "crop": Ablation("views with crop only", _set(**_CROP), source="figure 3"),
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
            "off-diagonal of C pulled to -1, arXiv 2104.13712", _set(redundancy_target=-1.0)
        ),
        "log_determinant": Ablation(
            "minus the log-determinant of the correlations, of weight 1",
            _set(redundancy="log_determinant"),
        ),
        "mixed_samples": Ablation(
            "mixed samples of weight 4, arXiv 2312.02151", _set(mixed_sample_weight=4.0)
        ),
    }
)
MAIN = (
    "baseline",
    "invariance_only",
    "redundancy_only",
    "cross_covariance",
    "no_batch_norm",
    "stop_gradient",
    "predictor",
    "uncentered",
)

"""The paper's ablations at any scale: what each changes, how it is trained, and their table."""

from ablations.results import table, train_and_score
from ablations.rows import ABLATIONS, MAIN, Ablation

__all__ = ["ABLATIONS", "MAIN", "Ablation", "table", "train_and_score"]

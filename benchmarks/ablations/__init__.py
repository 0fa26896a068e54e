"""The paper's ablations at any scale: what they change, what they reach, and a table of it."""

from ablations.results import table, train_and_score
from ablations.rows import Ablation, main_rows, rows

__all__ = ["Ablation", "main_rows", "rows", "table", "train_and_score"]

"""The result of a run in a few lines for a terminal."""

from pathlib import Path
from typing import Any

from keras_bt.evaluation import ENCODER_LABELS, METRIC_LABELS


def summarize(result: dict[str, Any]) -> str:
    """The result of a run as lines for a terminal.

    Args:
        result: The result of `Pretraining.run`.

    Example:
        >>> metrics = {"knn_accuracy": 0.975, "linear_accuracy": 0.983, "few_label_accuracy": None}
        >>> result = {"trained": metrics, "untrained": metrics, "pixels": metrics, "seconds": 90.0}
        >>> result |= {"images": 1437, "dataset": "digits", "loss": 9.5, "loss_floor": 1.32}
        >>> result |= {"encoder_dir": "runs/digits/encoder", "health": None}
        >>> result |= {"verdict": "NOT better than all baselines: ..."}
        >>> print(summarize(result))
        NOT better than all baselines: ...
        1.5 minutes on 1,437 images of digits; loss 9.5, its floor 1.32
                            k-NN      linear  few labels
        this encoder      97.5 %      98.3 %
        untrained         97.5 %      98.3 %
        raw pixels        97.5 %      98.3 %
        encoder: runs/digits/encoder
        report:  runs/digits/report.html
    """
    floor = result["loss_floor"]
    lines = [result["verdict"]] if result.get("verdict") else []
    lines.append(
        f"{result['seconds'] / 60:.1f} minutes on {result['images']:,} images of "
        f"{result['dataset']}; loss {result['loss']:.4g}"
        + (f", its floor {floor:.4g}" if floor is not None else "")
    )
    if result["trained"]["knn_accuracy"] is not None:
        lines.append(" " * 12 + "".join(f"{name:>12}" for name in METRIC_LABELS.values()))
        for row, name in ENCODER_LABELS.items():
            lines.append(f"{name:<12}" + "".join(_cell(result[row][key]) for key in METRIC_LABELS))
    lines += (result.get("health") or {}).get("findings", [])
    lines += [
        f"encoder: {result['encoder_dir']}",
        f"report:  {Path(result['encoder_dir']).with_name('report.html')}",
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{100 * value:10.1f} %"

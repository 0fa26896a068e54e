"""The section of RESULTS.md on a few minutes at the defaults, from results/minutes.jsonl."""

from collections import Counter

from tables import mean, origin, rows, table

METRICS = {"knn_accuracy": "k-NN", "linear_accuracy": "linear"}
BASELINES = {"untrained": "untrained", "pixels": "pixels"}
HEAD = ["images", "runs", "whole command", "training", *METRICS.values(), "beyond noise"]


def minutes():
    """Returns the section, or nothing without rows."""
    measured = rows("minutes")
    if not measured:
        return ""
    asked, cases = f"{measured[0]['minutes']:g}", {}
    for row in measured:
        cases.setdefault(row["case"], []).append(row)
    lines = [line_of(case, seeds) for case, seeds in cases.items()]
    commands = "\n".join(f"- {origin(seeds[0])}" for seeds in cases.values())
    return f"""## {asked} minutes at the defaults

`keras-bt pretrain --minutes={asked}` on one core, and no other setting. "Whole command" is
the time from the command to its end, fastest to slowest. Accuracies are means over runs: trained /
untrained / raw pixels, on the held-out images. "Beyond noise" counts the runs whose difference to a
baseline has a 95 % interval (bootstrap over the held-out images) above 0 ("better"), below 0
("worse") or around 0; comparisons that are not named are better in all runs.

{table(HEAD, lines)}

{commands}
"""


def line_of(case, seeds):
    """Returns the cells of a case."""
    seconds = sorted(row["total_seconds"] for row in seeds)
    accuracies = [
        " / ".join(
            f"{sum(row[of][metric] for row in seeds) / len(seeds):.3f}"
            for of in ("trained", *BASELINES)
        )
        for metric in METRICS
    ]
    return [
        case,
        len(seeds),
        f"{seconds[0]:.0f}-{seconds[-1]:.0f} s",
        f"{mean('training_seconds', seeds) / 60:.1f} min",
        *accuracies,
        beyond_noise(seeds),
    ]


def beyond_noise(seeds):
    """Returns in how many runs the encoder is better or worse, where it is not better in all."""
    parts = []
    for baseline, name in BASELINES.items():
        for metric, metric_name in METRICS.items():
            intervals = [row["advantage"][baseline][metric][1:] for row in seeds]
            found = Counter(
                "better" if low > 0 else "worse" if high < 0 else "neither"
                for low, high in intervals
            )
            if found["better"] < len(seeds):
                counts = ", ".join(f"{count} {word}" for word, count in sorted(found.items()))
                parts.append(f"{name}, {metric_name}: {counts}")
    return "; ".join(parts) or "better in all"

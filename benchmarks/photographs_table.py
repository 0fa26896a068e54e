"""The section of RESULTS.md on photographs, from results/photographs.jsonl."""

import math

from encoder_tables import mean_row, minutes_line
from tables import mean, origin, rows, table, versions_of

HEAD = ["seed", "contestant", "trained for", "epochs", "images/s", "k-NN", "linear"]
METRICS = ("knn_accuracy", "linear_accuracy")


def photographs():
    """Returns the section on keras_bt and LightlyTrain; empty without rows."""
    measured = rows("photographs")
    cases = dict.fromkeys((row["images"], row["image_size"]) for row in measured)
    parts = [
        case_section([row for row in measured if (row["images"], row["image_size"]) == case])
        for case in sorted(cases)
    ]
    return "\n".join(["## Photographs\n", *parts]) if parts else ""


def case_section(measured):
    """Returns the section on one folder at one size."""
    first = measured[0]
    by_contestant = {}
    for row in sorted(measured, key=lambda row: (row["contestant"], row["seed"])):
        by_contestant.setdefault(row["contestant"], []).append(row)
    means = [mean_row(seeds) for seeds in by_contestant.values()]
    baselines = [row["baselines"] for row in measured if row["baselines"]]
    lines = [
        *(minutes_line(row) for seeds in by_contestant.values() for row in seeds),
        *map(minutes_line, means),
        *(
            ["", name, "", "", "", *(f"{mean(metric, scores):.4f}" for metric in METRICS)]
            for name in (baselines[0] if baselines else ())
            for scores in [[of_seed[name] for of_seed in baselines]]
        ),
    ]
    half = 196.0 * max(
        math.sqrt(each["knn_accuracy"] * (1.0 - each["knn_accuracy"]) / first["test_images"])
        for each in means
    )
    commands = "\n".join(f"- {name}: {origin(seeds[0])}" for name, seeds in by_contestant.items())
    return f"""### {first["images"]}, {first["image_size"]} pixels, {first["minutes"]:g} minutes

{first["test_images"]} held-out images: 95 % intervals are ± {half:.1f} percentage points for one
encoder. Protocol: {first["protocol"]}. Versions: {versions_of(measured)}.

{table(HEAD, lines)}

The untrained network and raw pixels: means over seeds.

Commands for the first seed:

{commands}
"""

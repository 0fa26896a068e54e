"""What encoders reach: the parts of RESULTS.md from ledger.jsonl and ten_minutes.jsonl."""

import json
import statistics

from tables import origin, rows, table, versions_of

FIGURES = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "ten labels a class",
}
PUBLISHED = """Published figures are of far larger networks and budgets: they say where the method
leads, not what to expect of these rows. ImageNet, ResNet-50, 1,000 epochs, 224 pixels: linear
73.2, fine-tuned on 1 % of the labels 55.0, on 10 % 69.7; from scratch on the same 25.4 and 56.4
(top-1 in %, the paper's tables 1 and 2). CIFAR-10, ResNet-18 of width 64, 1,000 epochs, 32 pixels:
linear 92.1 online, 91.6 offline (solo-learn); 200 epochs: k-NN 84.2, the best of all epochs
(lightly). Here: ResNet-18 of width 16, a sixteenth of the weights, 85 epochs of views of 24 pixels,
on two cores of a CPU."""


def of_ledger(figure):
    """The rows of the ledger that hold a figure of that name."""
    return [row for row in rows("ledger") if figure in row["figures"]]


def runs():
    """Runs of pretrain.py, beside raw pixels and the untrained network."""
    measured = of_ledger("trained")
    lines = [
        [
            f"`{row['command'].removeprefix('python examples/pretrain.py ')}`",
            f"{row['minutes']} min",
            title,
            *(f"{row['figures'][of][figure]:.3f}" for of in ("trained", "untrained", "pixels")),
            row["commit"],
        ]
        for row in measured
        for figure, title in FIGURES.items()
    ]
    head = ["flags", "trained for", "figure", "trained", "untrained", "raw pixels", "commit"]
    return f"""## Runs

`python examples/pretrain.py` with these flags; {each_once(measured, "machine")}.
Protocol: {each_once(measured, "protocol")}.

{table(head, lines)}
"""


def each_once(measured, name):
    """What the rows have under a name; where it is not the same, of which commits."""
    commits = {}
    for row in measured:
        commits.setdefault(row[name], []).append(row["commit"])
    if len(commits) == 1:
        return next(iter(commits))
    return "; ".join(f"{of} ({', '.join(dict.fromkeys(by))})" for of, by in commits.items())


def ablations():
    """The paper's ablations at small scale."""
    by_settings = {}
    for row in of_ledger("ablation"):
        settings = {"validation": False, **row["figures"]["settings"]}  # older rows have it always
        settings = json.dumps(settings, sort_keys=True)
        by_settings.setdefault((row["command"].split(" --rows")[0], settings), []).append(row)
    return "\n".join(ablation(measured) for measured in by_settings.values())


def ablation(measured):
    """A table of rows that were trained with the same settings."""
    from keras_bt.ablations import table as ablation_table

    results = [
        {"row": row["figures"]["ablation"], "seed": row["seed"], **row["figures"]}
        for row in measured
    ]
    seeds = ", ".join(str(row["seed"]) for row in results if row["row"] == results[0]["row"])
    settings, minutes = results[0]["settings"], sum(row["minutes"] for row in measured)
    commands = "\n".join(f"- {text}" for text in dict.fromkeys(map(origin, measured)))
    return f"""## Ablations

One thing changed at a time, {settings["dataset"]} at {settings["image_size"]} pixels, ResNet-18
of width {settings["width"]}, {settings["epochs"]} epochs; {minutes:.0f} minutes of training in all.
Mean and standard deviation over seeds ({seeds} of the first row), in %; a row without the latter
is of one. Beside it the paper's: linear top-1 on ImageNet, ResNet-50, 300 epochs. Differences
are to the first row.
Protocol: {measured[0]["protocol"]}.

{ablation_table(results)}

{commands}
"""


def ten_minutes():
    """Whose encoder is better after so many minutes, if that was measured."""
    measured = sorted(rows("ten_minutes"), key=lambda row: (row["seed"], row["contestant"]))
    if not measured:
        return ""
    first, of = measured[0], {}
    for row in measured:
        of.setdefault(row["contestant"], []).append(row)
    means = {name: mean_of(seeds) for name, seeds in of.items()}
    head = ["seed", "contestant", "trained for", "epochs", "images/s", "k-NN", "linear"]
    commands = "\n".join(f"- {name}: {origin(seeds[0])}" for name, seeds in of.items())
    return f"""## Ten minutes on CIFAR-10

Whose encoder is better after {first["minutes"]:g} minutes?
Protocol: {first["protocol"]}.
Scale: ResNet-18 of width {first["width"]}, where published ones have 64, and a few epochs, where
published runs have 200 to 1000: this says what the minutes buy, not who ends higher. keras_bt
trains its recipe with the flags below, lightly with the settings of its own benchmark on CIFAR-10,
in float32 as it ships; those are for 200 epochs. Both fix their steps beforehand, from the speed
they measure; how long those then took stands in the table. {versions_of(measured)}.

{table(head, map(minutes_line, [*measured, *means.values()]))}

{points_ahead(means)}To repeat the first seed:

{commands}
"""


def mean_of(measured):
    """The mean row of a contestant's seeds."""
    figures = ("seconds", "epochs", "images_per_second", "knn_accuracy", "linear_accuracy")
    means = {name: statistics.mean(row[name] for row in measured) for name in figures}
    return {"seed": "mean", "contestant": measured[0]["contestant"], **means}


def minutes_line(row):
    """A training of some minutes."""
    return [
        row["seed"],
        row["contestant"],
        f"{row['seconds'] / 60:.2f} min",
        f"{row['epochs']:.2f}",
        f"{row['images_per_second']:.0f}",
        f"{row['knn_accuracy']:.4f}",
        f"{row['linear_accuracy']:.4f}",
    ]


def points_ahead(means):
    """By how much keras_bt's mean accuracies exceed lightly's; nothing where one is missing."""
    if len(means) < 2:
        return ""
    ahead = [
        f"{FIGURES[name]} {100 * (means['keras_bt'][name] - means['lightly'][name]):+.2f} points"
        for name in ("knn_accuracy", "linear_accuracy")
    ]
    return f"keras_bt's means less lightly's: {', '.join(ahead)} of 100. "


def protocols():
    """What linear_eval.py and finetune.py measured on encoders of runs above."""
    measured = [row for row in rows("ledger") if isinstance(row["protocol"], dict)]
    if not measured:
        return ""
    lines = [
        [f"`{row['command'].removeprefix('python ')}`", *line, row["commit"]]
        for row in measured
        for line in evaluation_lines(row["figures"])
    ]
    head = ["command", "data set", "labels", "figure", "accuracy", "commit"]
    said = dict.fromkeys(note for row in measured for note in notes_of(row))
    notes = "\n".join(f"- {note}" for note in said)
    return f"""## Encoders evaluated

{PUBLISHED}

{table(head, lines)}

{notes}
"""


def evaluation_lines(figures):
    """What a row says, a figure a line."""
    data_set = figures["dataset"]
    for part in figures.get("fractions", []):
        labels = f"{100 * part['fraction']:g} %, {part['images']}"
        tuned = "from scratch" if figures["from_scratch"] else "fine-tuned"
        yield [data_set, labels, f"{tuned}, top-1", f"{part['top1']:.3f}"]
        if part["linear_accuracy"] is not None:
            yield [data_set, labels, "linear probe, frozen", f"{part['linear_accuracy']:.3f}"]
    if "linear_sgd" in figures:
        sgd = figures["linear_sgd"]
        name = f"linear by SGD, {sgd['epochs']} epochs, top-1"
        yield [data_set, "all", name, f"{sgd['top1']:.3f}"]
    for figure, title in FIGURES.items():
        if figure in figures:
            yield [data_set, "all", title, f"{figures[figure]:.3f}"]


def notes_of(row):
    """The protocols of a row."""
    return [f"{name}: {text}" for name, text in row["protocol"].items()]

"""Accuracies of encoders: the sections of RESULTS.md from ledger.jsonl and ten_minutes.jsonl."""

import json
import math
import statistics

from tables import origin, rows, table, versions_of

METRICS = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "ten labels a class",
}
PUBLISHED = """Published accuracies (top-1, in %) come from much larger networks and budgets.
They show what the method can reach, not what to expect of the rows below.

- ImageNet, ResNet-50, 1,000 epochs, 224 pixels: linear 73.2; fine-tuned on 1 % of the labels 55.0,
  on 10 % 69.7; from scratch on the same labels 25.4 and 56.4 (tables 1 and 2 of the paper).
- CIFAR-10, ResNet-18 of width 64, 32 pixels: after 1,000 epochs linear 92.1 online and 91.6 offline
  (solo-learn); in 200 epochs k-NN 84.2, the best of all epochs (lightly).
- The rows below: ResNet-18 of width 16, which has a sixteenth of the weights; 85 epochs with views
  of 24 pixels, on two CPU cores."""
TEST_IMAGES = 10_000  # of CIFAR-10
PRETRAIN = ("keras-bt pretrain ", "python examples/pretrain.py ")  # today's and the former command


def ledger_rows(key):
    """Returns the rows of the ledger whose metrics have a key."""
    return [row for row in rows("ledger") if key in row["figures"]]


def runs():
    """Returns the section on pretraining runs, beside raw pixels and the untrained network."""
    measured = ledger_rows("trained")
    lines = [
        [
            f"`{flags_of(row)}`",
            f"{row['minutes']} min",
            *(" / ".join(accuracies_of(row, metric)) for metric in METRICS),
            row["commit"],
        ]
        for row in measured
    ]
    head = ["flags", "trained for", *METRICS.values(), "commit"]
    return f"""## Runs

Runs of `keras-bt pretrain` with these flags. Accuracies: trained / the same network untrained /
raw pixels.

{each_once("Machine", measured)}
{each_once("Protocol", measured)}

{table(head, lines)}
"""


def accuracies_of(row, metric):
    """Returns the accuracy of the trained encoder and of both baselines."""
    return [f"{row['figures'][of][metric]:.3f}" for of in ("trained", "untrained", "pixels")]


def flags_of(row):
    """Returns the flags in the command of a pretraining run."""
    command = row["command"]
    for prefix in PRETRAIN:
        command = command.removeprefix(prefix)
    return command


def each_once(title, measured):
    """Returns a list of the different values under a title; several values with their commits."""
    commits = {}
    for row in measured:
        commits.setdefault(row[title.lower()], []).append(row["commit"])
    if len(commits) == 1:
        return f"- {title}: {next(iter(commits))}."
    return "\n".join(
        f"- {title} ({', '.join(dict.fromkeys(found))}): {value}."
        for value, found in commits.items()
    )


def ablations():
    """Returns the sections on the paper's ablations at small scale, one for all equal settings."""
    by_settings = {}
    for row in ledger_rows("ablation"):
        # Older rows have "validation" even if it is false.
        settings = {"validation": False, **row["figures"]["settings"]}
        settings = json.dumps(settings, sort_keys=True)
        by_settings.setdefault((row["command"].split(" --rows")[0], settings), []).append(row)
    return "\n".join(ablation(measured) for measured in by_settings.values())


def ablation(measured):
    """Returns the section on rows that were trained with the same settings."""
    from ablations import table as ablation_table  # imports TensorFlow

    results = [
        {"row": row["figures"]["ablation"], "seed": row["seed"], **row["figures"]}
        for row in measured
    ]
    seeds = ", ".join(str(row["seed"]) for row in results if row["row"] == results[0]["row"])
    settings, minutes = results[0]["settings"], sum(row["minutes"] for row in measured)
    commands = "\n".join(f"- {text}" for text in dict.fromkeys(map(origin, measured)))
    return f"""## Ablations

Each row changes one thing: {settings["dataset"]} at {settings["image_size"]} pixels, ResNet-18 of
width {settings["width"]}, {settings["epochs"]} epochs; {minutes:.0f} minutes of training in total.
Accuracies are in %: mean and standard deviation over seeds ({seeds} in the first row). A row
without a standard deviation has one seed. The column "paper" has the paper's linear top-1 accuracy
on ImageNet (ResNet-50, 300 epochs). Differences are to the first row.

Protocol: {measured[0]["protocol"]}.

{ablation_table(results)}

`python benchmarks/ablate.py` trains these rows. The recorded commands, some of its predecessor:

{commands}
"""


def ten_minutes():
    """Returns the section on keras_bt and lightly after equal times; empty without rows."""
    measured = [{**row, "contestant": name_of(row)} for row in rows("ten_minutes")]
    if not measured:
        return ""
    by_contestant = {}
    for row in sorted(measured, key=lambda row: (row["contestant"], row["seed"])):
        by_contestant.setdefault(row["contestant"], []).append(row)
    means = {name: mean_row(seeds) for name, seeds in by_contestant.items()}
    lines = [
        row
        for name, seeds in by_contestant.items()
        for row in (seeds if len(seeds) == 1 else [*seeds, means[name]])
    ]
    head = ["seed", "contestant", "trained for", "epochs", "images/s", "k-NN", "linear"]
    firsts = {name: seeds[0] for name, seeds in by_contestant.items()}
    commands = "\n".join(f"- {name}: {origin(row)}" for name, row in firsts.items())
    names = {row["protocol"]: name for name, row in reversed(firsts.items())}
    protocols = "\n".join(f"- Protocol of {name}: {text}." for text, name in names.items())
    return f"""## Ten minutes on CIFAR-10

Which encoder is better after {measured[0]["minutes"]:g} minutes, keras_bt's or lightly's?

{protocols}
- Networks: keras_bt chooses its own for the time; lightly trains a ResNet-18 of width 16, and so
  does keras_bt where a width is named. Published networks have width 64.
- Scale: a few epochs, while published runs have 200 to 1,000. The table shows what the minutes buy,
  not which library ends higher.
- Settings: keras_bt trains its recipe with the flags below. lightly trains with the settings of its
  own benchmark on CIFAR-10, which are for 200 epochs, in float32 as released. It measures its speed
  first and then fixes its number of steps.
- Intervals: {TEST_IMAGES:,} test images; those of 95 % are ± {widest(means):.1f} percentage points
  for one encoder.
- Versions: {versions_of(measured)}.

{table(head, map(minutes_line, lines))}

{points_ahead(means)}Commands for the first seed:

{commands}
"""


def name_of(row):
    """Returns the contestant of a row, and the width of keras_bt's network if it was given."""
    is_given = row["contestant"] == "keras_bt" and row["width"]
    return f"keras_bt, width {row['width']}" if is_given else row["contestant"]


def widest(means):
    """Returns half of the widest 95 % interval of the accuracies, in percentage points."""
    accuracies = [
        row[name] for row in means.values() for name in ("knn_accuracy", "linear_accuracy")
    ]
    return 196.0 * max(math.sqrt(each * (1.0 - each) / TEST_IMAGES) for each in accuracies)


def mean_row(measured):
    """Returns a row with the means over the seeds of a contestant."""
    metrics = ("seconds", "epochs", "images_per_second", "knn_accuracy", "linear_accuracy")
    means = {name: statistics.mean(row[name] for row in measured) for name in metrics}
    return {"seed": "mean", "contestant": measured[0]["contestant"], **means}


def minutes_line(row):
    """Returns the cells of a row in the table of equal times."""
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
    """Returns how far the means are above lightly's; nothing if it is missing, or alone."""
    theirs = means.get("lightly")
    if theirs is None or len(means) < 2:
        return ""
    ahead = [
        f"{name}: {METRICS[metric]} {100 * (row[metric] - theirs[metric]):+.2f}"
        for name, row in means.items()
        if name != "lightly"
        for metric in ("knn_accuracy", "linear_accuracy")
    ]
    return f"Means minus lightly's, in percentage points: {'; '.join(ahead)}.\n\n"


def protocols():
    """Returns the section on evaluations of encoders by the published protocols."""
    measured = [row for row in rows("ledger") if isinstance(row["protocol"], dict)]
    if not measured:
        return ""
    lines = [
        [
            f"`{row['command'].removeprefix('python ')}`",
            row["figures"]["dataset"],
            "; ".join(evaluations(row["figures"])),
            row["commit"],
        ]
        for row in measured
    ]
    head = ["command", "data set", "accuracies", "commit"]
    unique = dict.fromkeys(note for row in measured for note in notes_of(row))
    notes = "\n".join(f"- {note}" for note in unique)
    return f"""## Encoders evaluated

{PUBLISHED}

Commands are as recorded: `examples/linear_eval.py` is now `keras-bt evaluate`, and
`examples/finetune.py` is now `keras-bt finetune`, with the same flags.

{table(head, lines)}

Protocols:

{notes}
"""


def evaluations(metrics):
    """Yields the metrics of an evaluation in words."""
    for part in metrics.get("fractions", []):
        tuned = "from scratch" if metrics["from_scratch"] else "fine-tuned"
        probe = part["linear_accuracy"]
        beside = "" if probe is None else f", linear probe, frozen {probe:.3f}"
        labels = f"{100 * part['fraction']:g} % of the labels ({part['images']:,})"
        yield f"{labels}: {tuned} {part['top1']:.3f}{beside}"
    if "linear_sgd" in metrics:
        sgd = metrics["linear_sgd"]
        yield f"linear by SGD, {sgd['epochs']} epochs {sgd['top1']:.3f}"
    known = {name: title for name, title in METRICS.items() if name in metrics}
    if known:
        yield ", ".join(f"{title} {metrics[name]:.3f}" for name, title in known.items())


def notes_of(row):
    """Returns the protocols of a row in words."""
    return [f"{name}: {text}" for name, text in row["protocol"].items()]

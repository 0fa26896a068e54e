"""Writes RESULTS.md from the rows in results/.

python benchmarks/report.py
"""

from encoder_tables import ablations, protocols, runs, ten_minutes
from tables import ROOT, origin, rows, table, versions_of

RACES = {
    "loss": (
        "Loss and gradient",
        "Forward and backward of given embeddings; PyTorch runs the formula of the official code.",
    ),
    "views": (
        "Two views of a batch",
        "Of uint8 images in memory, with the published distortions. keras-cv crops bilinear and "
        "without antialias, kornia bicubic without. Loaders and `tf.data` compute ahead, on the "
        "same cores.",
    ),
    "step": (
        "Training step without views",
        "ResNet-18 for 32 pixels, projector 2048-2048-2048, a fixed pair of batches. keras_bt "
        "does all that `fit` does in a recipe. Convolutions and dense layers, most of a step, are "
        "oneDNN's kernels in both frameworks: what can be saved is what lies between them. A few "
        "percent either way are noise.",
    ),
    "end_to_end": (
        "Whole trainings on CIFAR-10",
        "ResNet-18 of width 16, batches of 256, a projector of three layers; images in memory. "
        "lightly as in its example, keras_bt as the recipe with LARS. The arithmetic of the "
        "networks bounds both, as in the step above, and keras_bt's training takes no longer "
        "than that: its views are a hundredth of the time. A loader's take cores from the step.",
    ),
    "memory": (
        "Memory at the most",
        "By how much a new process grows by its first call, tracing included.",
    ),
    "startup": (
        "Start of a process",
        "From its start until it has imported, or trained a step; files were read before.",
    ),
}


def collectives():
    """What the two forms of the loss cost across replicas."""
    measured = rows("collectives")
    lines = [
        [
            row["replicas"],
            row["batch"],
            row["dim"],
            row["form"] + (" (auto)" if row["auto"] else ""),
            row["megabytes_by_formula"],
            row["megabytes_sent"],
            f"{row['milliseconds']} ({row['fastest']}-{row['slowest']})",
        ]
        for row in measured
    ]
    head = ["replicas", "batch", "dim", "form", "MB by formula", "MB sent", "ms (fastest-slowest)"]
    return f"""## What replicas send each other for the loss

In each step, by each replica, for loss and gradient. By formula, in rings of float32:
matrix 8 (k - 1) / k dim^2 bytes, Gram 8 (k - 1) / k batch dim. Sent: what the loopback device
counted, protocol included. Time: median of seven steps. Replicas are processes of one thread
each, in the rows of four more than there are cores: times compare the forms, and say nothing
of speed-up.
{origin(measured[0])}.

{table(head, lines)}
"""


def formats():
    """Sizes and times of an encoder in each of the formats it leaves in."""
    measured = rows("formats")
    if not measured:
        return ""
    lines = [
        [
            row["encoder"],
            row["format"],
            row["megabytes"],
            row["export_seconds"],
            row["load_seconds"],
            *(row["milliseconds"][batch] for batch in ("1", "32")),
        ]
        for row in measured
    ]
    head = ["encoder", "format", "MB", "export s", "load s", "ms, batch 1", "ms, batch 32"]
    return f"""## Formats of an exported encoder

Each in its own runtime on all cores, in processes that take turns; medians of three. Export
includes its checks. {versions_of(measured)}.
{origin(measured[0])}.

{table(head, lines)}
"""


def races():
    """What is measured beside others, or against itself, in one run; what there is of it."""
    parts = [race(name) for name in RACES if rows(name)]
    if not parts:
        return ""
    return "\n".join(
        [
            """## Speed and memory

Contestants of a case take turns in one run, each in a process of its own. Fastest and slowest are
rounds. "Times the first": how much more a contestant takes than the first of its case, by the
median of rounds. "Aim": what was wanted before it was measured.
""",
            *parts,
        ]
    )


def race(name):
    """A race: how it was measured, and its table."""
    measured = rows(name)
    title, text = RACES[name]
    note = {"step": share_of_the_rest, "startup": seconds_more}.get(name, lambda measured: "")
    beside = versions_of(measured)
    return f"""### {title}

{text}{note(measured)}
{origin(measured[0])}{beside and f"; {beside}"}.

{race_table(measured)}
"""


def share_of_the_rest(measured):
    """How much of a whole step is not encoder and projector."""
    shares = [
        f"{1 - row['ratio']:.1%} ({row['case']})"
        for row in measured
        if row["contestant"] == "keras_bt, encoder and projector" and row.get("ratio")
    ]
    return f" Of the whole step all but those two takes {', '.join(shares)}." if shares else ""


def seconds_more(measured):
    """What is added to the first."""
    first, *others = measured
    added = [
        f"{row['contestant']} {row['median'] - first['median']:.2f} s"
        for row in others
        if "median" in row and "median" in first
    ]
    return f" More than the first: {', '.join(added)}." if added else ""


def race_table(measured):
    """Contestants of a race, a case after the other; the first of each is what they race."""
    head = ["case", "contestant", "median (fastest-slowest)", "images/s", "times the first", "aim"]
    return table(head, map(race_line, measured))


def race_line(row):
    """A contestant of a case."""
    aim = f"at least {row['wanted']:g}" if row["wanted"] else ""
    if "not_measured" in row:
        return [row["case"], row["contestant"], f"not measured: {row['not_measured']}", "", "", aim]
    scale, unit = (1e3, "ms") if row["unit"] == "s" and row["median"] < 1 else (1, row["unit"])
    median, fastest, slowest = (scale * row[key] for key in ("median", "fastest", "slowest"))
    return [
        row["case"],
        row["contestant"],
        f"{median:.4g} {unit} ({fastest:.4g}-{slowest:.4g})",
        f"{row['images'] / row['median']:.4g}" if row["images"] else "",
        f"{row['ratio']:.3g}" if row["ratio"] else "",
        aim,
    ]


def page():
    """The whole page."""
    title = "# Results\n\nWritten by `python benchmarks/report.py` from the rows in `results/`.\n"
    return "\n".join(
        filter(
            None,
            [
                title,
                runs(),
                protocols(),
                ten_minutes(),
                ablations(),
                races(),
                collectives(),
                formats(),
            ],
        )
    )


if __name__ == "__main__":
    (ROOT / "RESULTS.md").write_text(page(), "utf-8")

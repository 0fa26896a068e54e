"""Writes RESULTS.md, its figures and the tables of README.md and docs/ from results/.

python benchmarks/report.py
"""

import first_steps_table
import networks_table
from accelerator_table import accelerator
from encoder_tables import ablations, protocols, runs, ten_minutes
from minutes_table import minutes
from page_tables import PAGES, with_tables
from photographs_table import photographs
from screening_table import screening
from tables import ROOT, origin, rows, table, versions_of

RACES = {
    "loss": (
        "Loss and gradient",
        "Forward and backward for fixed embeddings. PyTorch runs the formula of the official code.",
    ),
    "views": (
        "Two views of a batch",
        "The published augmentations of uint8 images in memory. keras-cv crops bilinearly, kornia "
        "bicubically, both without antialiasing. Loaders and `tf.data` compute ahead on the same "
        "cores.",
    ),
    "step": (
        "Training step without views",
        "ResNet-18 for 32 pixels, projector 2048-2048-2048, a fixed pair of batches. keras_bt "
        "runs the whole step of `fit` in a recipe. Convolutions and dense layers take most of a "
        "step. Both frameworks run them with oneDNN's kernels, so only the rest can differ. "
        "Differences of a few percent are noise.",
    ),
    "end_to_end": (
        "Whole trainings on CIFAR-10",
        "ResNet-18 of width 16, batches of 256, a projector of three layers, images in memory. "
        "lightly trains as in its example, keras_bt with its recipe and LARS. The arithmetic of "
        "the networks limits both, as in the step above. Views take a hundredth of keras_bt's "
        "time. The workers of lightly's loader use cores that its step needs.",
    ),
    "photos": (
        "Photographs of 12 megapixels",
        "JPEG files into batches. keras_bt gives the whole photos, squashed, from which a step "
        'cuts its views; "cropped" adds a crop of each. torchvision gives a crop of each. keras_bt '
        "reduces the files in its first epoch, which the time includes, and reads the reduced "
        "images from then on. torchvision's ImageFolder decodes the files in each epoch. A time is "
        "that of an epoch.",
    ),
    "memory": (
        "Peak memory",
        "Growth of a new process during its first call, which includes tracing.",
    ),
    "startup": (
        "Start of a process",
        "Time from the start of a process to the end of its imports or of its first step. All "
        "files are in the disk cache.",
    ),
}


def collectives():
    """Returns the section on the cost of both forms of the loss across replicas."""
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
    return f"""## Bytes between replicas for the loss

Bytes that each replica sends per step, for loss and gradient. "By formula" is for k replicas that
sum float32 in a ring: 8 (k - 1) / k dim^2 bytes in the matrix form, 8 (k - 1) / k batch dim in the
Gram form. "Sent" is counted by the loopback device, with the overhead of its protocol. Times are
medians of seven steps. Replicas are processes of one thread each on two cores. The times compare
the two forms; they do not show a speed-up.

{origin(measured[0])}.

{table(head, lines)}
"""


def formats():
    """Returns the section on size and speed of an exported encoder in each format."""
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

Each format runs in its own runtime on all cores, in new processes, one after the other. Times are
medians of three rounds. Export times include the checks.

{origin(measured[0])}; {versions_of(measured)}.

{table(head, lines)}
"""


def races():
    """Returns the section on all races that have rows."""
    parts = [race(name) for name in RACES if rows(name)]
    if not parts:
        return ""
    return "\n".join(
        [
            """## Speed and memory

The contestants of a case take turns, each in a process of its own. Fastest and slowest are single
rounds. "Relative" is the time or memory divided by that of the first contestant, as the median over
rounds. "Aim" is the goal for "relative", set before measuring.
""",
            *parts,
        ]
    )


def race(name):
    """Returns the subsection on a race: how it was measured, and its table."""
    measured = rows(name)
    title, text = RACES[name]
    note = {"step": share_outside_networks, "startup": seconds_beyond_first}.get(
        name, lambda measured: ""
    )
    versions = versions_of(measured)
    return f"""### {title}

{text}{note(measured)}

{origin(measured[0])}{versions and f"; {versions}"}.

{race_table(measured)}
"""


def share_outside_networks(measured):
    """Returns a sentence on the share of a step that is not encoder and projector."""
    shares = [
        f"{1 - row['ratio']:.1%} ({row['case']})"
        for row in measured
        if row["contestant"] == "keras_bt, encoder and projector" and row.get("ratio")
    ]
    return f" Share of a step outside encoder and projector: {', '.join(shares)}." if shares else ""


def seconds_beyond_first(measured):
    """Returns a sentence on the seconds beyond those of the first contestant."""
    first, *others = measured
    added = [
        f'"{row["contestant"]}" {row["median"] - first["median"]:.2f}'
        for row in others
        if "median" in row and "median" in first
    ]
    return f" Seconds beyond the first: {', '.join(added)}." if added else ""


def race_table(measured):
    """Returns the table of a race, one case after the other."""
    head = ["case", "contestant", "median (fastest-slowest)", "images/s", "relative", "aim"]
    return table(head, map(race_line, measured))


def race_line(row):
    """Returns the cells of a contestant in a case."""
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
    """Returns the whole page."""
    title = "# Results\n\nWritten by `python benchmarks/report.py` from the rows in `results/`.\n"
    return "\n".join(
        filter(
            None,
            [
                title,
                runs(),
                protocols(),
                ten_minutes(),
                first_steps_table.first_steps(),
                networks_table.networks(),
                screening(),
                photographs(),
                minutes(),
                ablations(),
                races(),
                accelerator(),
                collectives(),
                formats(),
            ],
        )
    )


if __name__ == "__main__":
    (ROOT / "RESULTS.md").write_text(page(), "utf-8")
    first_steps_table.draw()
    networks_table.draw()
    for name in PAGES:
        (ROOT / name).write_text(with_tables((ROOT / name).read_text("utf-8")), "utf-8")

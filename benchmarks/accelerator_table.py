"""The section of RESULTS.md from results/accelerator.jsonl."""

from tables import origin, rows, table, versions_of

TEXT = """Training steps in `fit` on a batch in memory, views alone, training on JPEG files,
replicas beside one device, and peak memory. Times are medians over steps of three seconds. The
first step includes tracing and compiling. The peak is that of later steps, less what was in use
before the model was made."""
NAMES = {
    "step": "step",
    "views": "views alone",
    "files": "from files",
    "mirrored": "replicas",
    "memory": "memory",
}


def accelerator():
    """Returns the section, or nothing without rows."""
    measured = rows("accelerator")
    if not measured:
        return ""
    parts = [f"## Accelerator\n\n{TEXT}\n"]
    for device in dict.fromkeys(row["device"] for row in measured):
        found = [row for row in measured if row["device"] == device]
        parts.append(f"{origin(found[0])}; {versions_of(found)}.\n\n{table_of(found)}\n")
    return "\n".join(parts)


def table_of(measured):
    """Returns the table of rows, and a line on what was left."""
    head = ["what", "network", "batch", "settings", "ms", "images/s", "first step, s", "MB", "note"]
    lines = [line_of(row) for row in measured if row["kind"] != "left"]
    left = sum(len(row["left"]) for row in measured if row["kind"] == "left")
    return table(head, lines) + (f"\n\nNot measured for lack of time: {left}." if left else "")


def line_of(row):
    """Returns the cells of a row."""
    settings = [str(row[name]) for name in ("precision", "placement") if name in row]
    settings += ["XLA"] if row.get("jit_compile") else []
    settings += [f"{row['micro_batches']} parts"] if "micro_batches" in row else []
    return [
        NAMES[row["kind"]],
        row["case"],
        row["batch"],
        ", ".join(settings),
        f"{1e3 * row['median']:.4g}" if "median" in row else "",
        *(number(row.get(name)) for name in ("images_per_second", "first_step_seconds")),
        number(row.get("peak_megabytes")),
        note_of(row),
    ]


def note_of(row):
    """Returns what a row has to say besides its numbers."""
    if "not_measured" in row:
        return "out of memory" if row.get("out_of_memory") else f"failed: {row['not_measured']}"
    if row["kind"] == "files":
        verdict = "keeps up" if row["keeps_up"] else "does not keep up"
        return (
            f"input {verdict}: {number(row['read_images_per_second'])} images/s read, "
            f"{number(row['step_images_per_second'])} trained from memory"
        )
    if row["kind"] == "mirrored":
        return (
            f"{row['on']}, {'equal' if row['equal'] else 'DIFFERENT'}: relative "
            f"difference {number(row['loss_difference'])} of the loss, "
            f"{number(row['weight_difference'])} of the weights; "
            f"{number(row['images_per_second_on_one'])} images/s on one"
        )
    return "" if row.get("finite", True) else "the loss was not finite"


def number(value):
    """Returns a number with at least three significant digits, or nothing for None."""
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

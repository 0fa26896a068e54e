"""The section of RESULTS.md on networks, and its figure, from results/networks.jsonl."""

from panels import Panel, draw_panels
from tables import rows, table

FIGURE = "docs/networks.svg"
TEXT = """What an encoder learns with given processor time: the same settings, other networks. The
time is that of all cores in the steps, float32, one seed. k-NN and linear are on training images
held out from training; "leave one out" is k-NN of each training image among the others (at most
8,000), whose 95 % interval is the narrowest: ± 1.8 points on `clothing`, ± 1.1 on CIFAR-10. The
rules for short runs (`keras_bt/config/short_runs.py`) follow these rows."""
CHOICES = """### What the rules choose

For the machine above, and for machines ten and a hundred times as fast. The training gets about
85 % of the minutes. Rows from a million images on are extrapolated, or follow published runs."""
SPEEDS, TRAINING_SHARE = (700, 7_000, 70_000), 0.85
HEAD = [
    "network",
    "image",
    "view",
    "seconds",
    "images trained on",
    "leave one out",
    "k-NN",
    "linear",
]


def networks():
    """Returns the section, or nothing without rows."""
    measured = rows("networks")
    if not measured:
        return ""
    parts = [f"## Networks\n\n{TEXT}\n\n![accuracy by processor time]({FIGURE})\n"]
    for images in dict.fromkeys(row["images"] for row in measured):
        of_images = [row for row in measured if row["images"] == images]
        first = of_images[0]
        commands = dict.fromkeys(row["command"] for row in of_images)
        parts.append(
            f"### {images}\n\n{table(HEAD, map(line_of, sorted(of_images, key=order)))}\n\n"
            f"{first['date']}, commit {first['commit']}, {first['machine']}:\n\n"
            + "\n".join(f"- `{command}`" for command in commands)
            + "\n"
        )
    head = ["images a second through conv4, width 32", "minutes", "network", "images trained on"]
    parts.append(f"{CHOICES}\n\n{table(head, choices())}\n")
    return "\n".join(parts)


def choices():
    """Returns lines with the network that the rules choose, by speed and minutes."""
    from keras_bt.config import short_runs

    lines = []
    for speed in SPEEDS:
        for minutes in (2, 8, 60):
            passes = 60 * TRAINING_SHARE * minutes * speed
            if short_runs.published_settings_fit(passes):
                network, cost = "ResNet-18, width 64, published settings", short_runs.PUBLISHED_COST
            else:
                width, cost, _ = short_runs.choose_network(passes)
                network = f"conv4, width {width}"
            lines.append([f"{speed:,}", minutes, network, f"{passes / cost:,.0f}"])
    return lines


def name_of(row):
    """Returns the name of a network."""
    return f"{row['settings']['encoder']}, width {row['settings']['width']}"


def sides(row):
    """Returns the sides of images and views."""
    settings = row["settings"]
    return settings["image_size"], settings["view_size"] or settings["image_size"]


def order(row):
    """Returns the place of a row in the table."""
    return (*sides(row), row["settings"]["encoder"], row["settings"]["width"], row["asked_seconds"])


def line_of(row):
    """Returns the cells of a row."""
    accuracies = (row[f"{name}_accuracy"] for name in ("leave_one_out", "knn", "linear"))
    return [
        name_of(row),
        *sides(row),
        f"{row['asked_seconds']:,.0f}",
        f"{row['steps'] * row['settings']['batch_size']:,}",
        *(f"{accuracy:.3f}" for accuracy in accuracies),
    ]


def draw():
    """Draws the accuracies of all networks by processor time."""
    measured, panels = sorted(rows("networks"), key=order), []
    seconds = sorted({row["asked_seconds"] for row in measured})
    for images, side in dict.fromkeys((row["images"], sides(row)[0]) for row in measured):
        lines = {}
        for row in measured:
            if (row["images"], sides(row)[0]) == (images, side):
                label = f"{name_of(row)}, views of {sides(row)[1]}"
                point = row["asked_seconds"], row["leave_one_out_accuracy"]
                lines.setdefault(label, []).append(point)
        title = f"{images}, {side} pixels"
        panels.append(Panel(title, "processor-seconds", "leave one out", seconds, lines))
    draw_panels(FIGURE, panels, width=4.2)

"""The section of RESULTS.md, and its figure, from results/first_steps.jsonl."""

import statistics

from panels import Panel, draw_panels
from tables import rows, table

FIGURE = "docs/first_steps.svg"
TEXT = """k-NN accuracy on training images that are held out from training, after the first steps:
mean ± standard deviation over the seeds.
The learning rate falls over the last number of steps, so the accuracies before it are those of a
longer run. The rank at the end is the effective rank of the embeddings of the training images.
"Squares" is the paper's redundancy, the log-determinant that of
`BarlowTwinsLoss(redundancy="log_determinant")`. They differ in the width of the embedding too, and
on CIFAR-10 in the learning rate, the better of two that were tried for the log-determinant.

Why the squares start slowly: let l be the eigenvalues of the embedding's correlation matrix. They
sum to the number of dimensions; without redundancy each is 1. The squares off its diagonal sum to
the sum of (l - 1)^2, and minus its log-determinant is the sum of -log l. As the sum of l is fixed,
the squares push an eigenvalue by 2 (1 - l), the log-determinant by 1 / l - 1. A young embedding has
a few large eigenvalues and many near 0: its effective rank is far below its dimensions. The squares
push hardest on the large ones, and on one near 0 by no more than 2. The log-determinant pushes on
one of 0.01 by 99 and hardly on the large ones: it makes room for what the embedding lacks. Ranks in
the tables show it."""


def first_steps():
    """Returns the section, or nothing without rows."""
    measured = rows("first_steps")
    if not measured:
        return ""
    parts = [f"## The first steps\n\n{TEXT}\n\n![k-NN accuracy by steps]({FIGURE})\n"]
    for images in dict.fromkeys(row["images"] for row in measured):
        of_images = [row for row in measured if row["images"] == images]
        parts.append(
            f"### {images}\n\n{table_of(of_images)}\n\n"
            + "\n".join(
                f"- {label}: `{found[0]['command']}`, {found[0]['date']}, commit "
                f"{found[0]['commit']}, {found[0]['machine']}"
                for label, found in by_label(of_images).items()
            )
            + "\n"
        )
    return "\n".join(parts)


def by_label(measured):
    """Returns {label: its rows}."""
    return {
        label: [row for row in measured if row["label"] == label]
        for label in dict.fromkeys(row["label"] for row in measured)
    }


def of_steps(found, metric):
    """Returns {step: values of a metric, one for each seed}."""
    values = {}
    for row in found:
        for score in row["scores"]:
            values.setdefault(score["step"], []).append(score[metric])
    return dict(sorted(values.items()))


def means(found, metric):
    """Returns {step: mean of a metric over the seeds}."""
    return {step: statistics.mean(each) for step, each in of_steps(found, metric).items()}


def cell(accuracies):
    """Returns the mean over the seeds and, of several, the standard deviation."""
    spread = f" ± {statistics.stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
    return f"{statistics.mean(accuracies):.3f}{spread}"


def table_of(measured):
    """Returns the table of one set of images."""
    steps = sorted({score["step"] for row in measured for score in row["scores"]})
    lines = []
    for label, found in by_label(measured).items():
        accuracies, ranks = of_steps(found, "knn_accuracy"), means(found, "embedding_rank")
        last = max(accuracies)
        lines.append(
            [
                label,
                len(found),
                *(cell(accuracies[step]) if step in accuracies else "" for step in steps),
                f"{ranks[last]:.0f} of {found[0]['settings']['projector_dims'][-1]}",
            ]
        )
    head = ["settings", "seeds", *(f"{step:,} steps" for step in steps), "rank at the end"]
    return table(head, lines)


def draw():
    """Draws the accuracies of all settings by steps."""
    measured, panels = rows("first_steps"), []
    for images in dict.fromkeys(row["images"] for row in measured):
        lines = {
            label: list(means(found, "knn_accuracy").items())
            for label, found in by_label([r for r in measured if r["images"] == images]).items()
        }
        ticks = [step for step, _ in list(lines.values())[-1]]
        panels.append(Panel(images, "steps", "k-NN accuracy", ticks, lines))
    draw_panels(FIGURE, panels, width=4.5)

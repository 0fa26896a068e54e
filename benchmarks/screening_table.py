"""The section of RESULTS.md on experiments of one seed, from results/screening.jsonl."""

from tables import dates, rows, table

TEXT = """Settings that were tried to find those of short runs, one seed each: what was kept, and
what was killed. k-NN and linear are on images held out from training (of CIFAR-10's training
images; `validation` of `clothing`); "leave one out" is k-NN of each training image among the others
(at most 8,000). Differences below two points may be noise. The script was not kept, and other
processes ran beside it, so that equal seconds are not always equal steps: these rows chose what the
other sections measure again with `benchmarks/first_steps.py` and `benchmarks/networks.py`."""
ACCURACIES = ("leave_one_out_accuracy", "knn_accuracy", "linear_accuracy")
HEAD = ["change", "leave one out", "k-NN", "linear", "verdict"]


def screening():
    """Returns the section, or nothing without rows."""
    measured = rows("screening")
    if not measured:
        return ""
    parts = [f"## Experiments\n\n{TEXT}\n"]
    for group in dict.fromkeys(row["group"] for row in measured):
        of_group = [row for row in measured if row["group"] == group]
        parts.append(
            f"### {group}\n\n{table(HEAD, map(line_of, of_group))}\n\n"
            f"{dates(of_group)}, {of_group[0]['machine']}.\n"
        )
    return "\n".join(parts)


def line_of(row):
    """Returns the cells of a row."""
    accuracies = (f"{row[name]:.3f}" if name in row else "" for name in ACCURACIES)
    return [row["change"], *accuracies, row["verdict"]]

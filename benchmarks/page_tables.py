"""Result tables and figures of README.md and docs/, from the rows in results/."""

import math
import re

from encoder_tables import METRICS
from tables import dates, matching, mean, newest_of_seeds, rows, table

PAGES = ("README.md", "docs/results.md")
LONG_RUN = "--recipe=cifar10 --width=16 --precision=mixed_bfloat16 --view_size=24 --epochs=85"
RUNS = {"--recipe=digits": "360 held-out images", LONG_RUN: "10,000 held-out images"}
FASHION_RUN = "--recipe=fashion_mnist --epochs=2 --width=16"
ABLATIONS = "--recipe=cifar10 --image_size=16 --width=16 --precision=mixed_bfloat16 --epochs=2"

# Evaluations of the long run's encoder.
FROZEN_ON_FASHION = "--encoder=runs/long/encoder --dataset=fashion_mnist --image_size=32"
CIFAR10 = "--encoder=runs/long/encoder --dataset=cifar10 --fractions="
TUNED_ON_FEW = f"{CIFAR10}0.01,0.1 --crop_area=0.3,1"
TUNED_AT_PUBLISHED_RATE = f"{CIFAR10}1.0 --epochs=5 --crop_area=0.3,1"
TUNED_ON_ALL = f"{CIFAR10}1.0 --epochs=10 --encoder_learning_rate=0.05 --crop_area=0.3,1"
FROM_SCRATCH = (
    "--model=runs/long/model.keras --from_scratch --dataset=cifar10 --image_size=32 "
    "--fractions=0.01,0.1 --crop_area=0.3,1"
)

FORMULA = "PyTorch, official formula"
TORCHVISION, KERAS_CV = "torchvision, PIL, 2 workers", "keras-cv, tf.data"
KORNIA = "kornia, a batch at once"
PYTORCH, LIGHTLY = "PyTorch, SGD, channels last", "lightly, 2 workers, channels last"
LOSS = "loss and gradient, 8,192 dimensions"
STEP, TRAINING = "training step, ResNet-18 of width", "training on CIFAR-10, width 16, projector"
# What, benchmark, case, contestants beside the first one, which is keras_bt.
LOSS_OF_A_BATCH = (f"{LOSS}, batch 256, ms", "loss", "batch 256, dim 8192", [FORMULA])
WHOLE_TRAINING = (f"{TRAINING} 2,048, images/s", "end_to_end", "projector 2048", [LIGHTLY])
SPEED = (
    LOSS_OF_A_BATCH,
    ("batch 1,024", "loss", "batch 1024, dim 8192", [FORMULA]),
    ("two views of 32 px, images/s", "views", "32 px, batch 256, no blur", [TORCHVISION, KORNIA]),
    ("of 96 px", "views", "96 px, batch 64", [TORCHVISION, KERAS_CV, KORNIA]),
    ("of 224 px", "views", "224 of 256 px, batch 32", [TORCHVISION, KERAS_CV, KORNIA]),
    (f"{STEP} 16, images/s", "step", "width 16, batch 256", [PYTORCH]),
    ("of width 64", "step", "width 64, batch 64", [PYTORCH]),
    WHOLE_TRAINING,
    ("projector 8,192", "end_to_end", "projector 8192", [LIGHTLY]),
)
FRONT_PAGE = (
    LOSS_OF_A_BATCH,
    ("two views of 32 px, images/s", "views", "32 px, batch 256, no blur", [TORCHVISION]),
    WHOLE_TRAINING,
)


def with_tables(text):
    """Returns a page with each table written between its two comments."""
    return re.sub(
        r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)",
        lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def passages():
    """Returns the passages of the pages that have figures, in their words and on one line."""
    return [*accuracies_in_prose(), *costs_in_prose()]


def accuracies_in_prose():
    """Returns the passages with accuracies and the times of training."""
    ours = matching("ten_minutes", contestant="keras_bt", width=None)
    theirs = matching("ten_minutes", contestant="lightly")
    alike = matching("ten_minutes", contestant="keras_bt", width=16)
    both, invariance, redundancy = map(ablated, ("baseline", "invariance_only", "redundancy_only"))
    published = evaluated(TUNED_AT_PUBLISHED_RATE)
    pixels = evaluated(FASHION_RUN)["pixels"]
    digits, long_run = newest_of_seeds("--recipe=digits"), newest_of_seeds(LONG_RUN)
    return [
        f"digits on {dates(digits)}, the others on {dates(long_run)}",
        f"The encoder of these {long_run[0]['minutes']:.0f} minutes",
        f"(at the published rate of {published['encoder_learning_rate']:g}, five epochs end at "
        f"{published['fractions'][0]['top1']:.3f})",
        f"no better than raw pixels ({pixels['linear_accuracy']:.3f} from 10,000 images)",
        f"k-NN {both:.3f} with both terms, {invariance:.3f} with invariance alone, "
        f"{redundancy:.3f} with redundancy alone",
        f"{seeds_in_words(ours)}, test images: keras_bt reaches k-NN "
        f"**{mean('knn_accuracy', ours):.3f}** after {mean('epochs', ours):.1f} epochs of the "
        f"network that it chooses, {mean('knn_accuracy', alike):.3f} after "
        f"{mean('epochs', alike):.1f} of lightly's network; lightly "
        f"{mean('knn_accuracy', theirs):.3f} after {mean('epochs', theirs):.1f}.",
    ]


def costs_in_prose():
    """Returns the passages with speed, memory and traffic."""
    races = [row for name in ("loss", "views", "step", "end_to_end") for row in rows(name)]
    bfloat16 = mean("ratio", matching("step", contestant="keras_bt, LARS, bfloat16"))
    parts, whole = (
        matching("memory", contestant=name)[-1]["median"] / 1e3
        for name in ("8 micro batches", "1 micro batch")
    )
    gram, matrix = (
        matching("collectives", replicas=4, batch=256, dim=8192, form=form)[-1]
        for form in ("gram", "matrix")
    )
    return [
        f"AMD EPYC with AVX-512, {dates(races)},",
        f"A step takes about {bfloat16:.1f} of the time on CPUs with AVX512_BF16",
        f"needs {parts:.2f} GB instead of {whole:.1f} GB",
        f"each sends {gram['megabytes_sent']:.0f} MB a step instead of "
        f"{matrix['megabytes_sent']:.0f}, in {gram['milliseconds'] / 1e3:.2f} s instead of "
        f"{matrix['milliseconds'] / 1e3:.1f}.",
    ]


def summary():
    """Returns the table of the front page: accuracies and speeds beside other libraries."""
    lines = [*photograph_lines(), *ten_minute_lines(), *long_run_lines()]
    for what, ours, others, ratio in speed_lines(FRONT_PAGE):
        lines.append([what, f"**{ours}**", f"{others} ({ratio} times)"])
    return table(["what", "keras_bt", "compared with"], lines)


def photograph_lines():
    """Yields a line of photographs: keras_bt, LightlyTrain, and the baselines."""
    case = {"images": "clothing", "image_size": 64, "minutes": 8.0}
    ours, theirs = (
        matching("photographs", contestant=name, **case) for name in ("keras_bt", "lightly_train")
    )
    untrained, pixels = (
        mean("knn_accuracy", [row["baselines"][name] for row in ours])
        for name in ("untrained", "pixels")
    )
    yield [
        f"k-NN on photographs, ten classes, {case['image_size']} px, after {case['minutes']:g} "
        f"minutes, {seeds_in_words(ours)}",
        with_interval(mean("knn_accuracy", ours), ours[0]["test_images"]),
        f"LightlyTrain {mean('knn_accuracy', theirs):.3f} / untrained {untrained:.3f} / raw pixels "
        f"{pixels:.3f}",
    ]


def ten_minute_lines():
    """Yields a line of CIFAR-10 after ten minutes: keras_bt and lightly."""
    ours = matching("ten_minutes", contestant="keras_bt", width=None)
    theirs = matching("ten_minutes", contestant="lightly")
    (run,) = newest_of_seeds(LONG_RUN)
    yield [
        f"k-NN on CIFAR-10 after {ours[0]['minutes']:g} minutes, {seeds_in_words(ours)}",
        with_interval(mean("knn_accuracy", ours), 10_000),
        f"lightly {mean('knn_accuracy', theirs):.3f} / raw pixels "
        f"{run['figures']['pixels']['knn_accuracy']:.3f}",
    ]


def long_run_lines():
    """Yields a line of CIFAR-10 after the longest run."""
    (run,) = newest_of_seeds(LONG_RUN)
    trained, untrained, pixels = (
        run["figures"][of]["knn_accuracy"] for of in ("trained", "untrained", "pixels")
    )
    yield [
        f"k-NN on CIFAR-10 after {run['minutes']:.0f} minutes, one seed",
        with_interval(trained, 10_000),
        f"untrained {untrained:.3f} / raw pixels {pixels:.3f}",
    ]


def seeds_in_words(measured):
    """Returns how many seeds a mean is of."""
    return f"mean of {len(measured)} seeds" if len(measured) > 1 else "one seed"


def with_interval(accuracy, images):
    """Returns an accuracy in bold with half its 95 % interval, the noise of so many images."""
    half = 1.96 * math.sqrt(accuracy * (1.0 - accuracy) / images)
    return f"**{accuracy:.3f}** ± {half:.3f}"


def runs():
    """Returns the table of pretraining runs, beside the untrained network and raw pixels."""
    lines = []
    for flags, images in RUNS.items():
        measured = newest_of_seeds(flags)
        minutes = sorted({f"{row['minutes']:.1f}" for row in measured}, key=float)
        seeds = ", ".join(str(row["seed"]) for row in measured)
        title = f"`{flags}`, {images}, " + (
            f"mean of seeds {seeds}; {minutes[0]} to {minutes[-1]} minutes of training"
            if len(measured) > 1
            else f"seed {seeds}; {minutes[0]} minutes"
        )
        for metric, name in METRICS.items():
            accuracies = [
                mean(metric, [row["figures"][of] for row in measured])
                for of in ("trained", "untrained", "pixels")
            ]
            lines.append([title, name, *best_in_bold(accuracies)])
            title = ""
    return table(["run", "metric", "trained", "untrained", "raw pixels"], lines)


def labels():
    """Returns the table of the long run's encoder by number of labels."""
    lines = []
    scratch = [part["top1"] for part in evaluated(FROM_SCRATCH)["fractions"]]
    few, (every,) = (evaluated(flags)["fractions"] for flags in (TUNED_ON_FEW, TUNED_ON_ALL))
    for part, without in zip([*few, every], [*scratch, None], strict=True):
        title = f"{100 * part['fraction']:g} % ({part['images']:,})"
        lines.append([title, part["top1"], part["linear_accuracy"], without])
    lines[0][0] = f"CIFAR-10, {lines[0][0]}"
    rate = evaluated(TUNED_ON_ALL)["encoder_learning_rate"]
    lines[-1][0] += f", {every['epochs']} epochs, the encoder's rate {rate:g}"
    fashion = evaluated(FROZEN_ON_FASHION)
    title = f"Fashion-MNIST, all {fashion['train_images']:,}"
    lines.append([title, None, fashion["linear_accuracy"], None])
    head = [
        "labels",
        "fine-tuned",
        "linear probe of the frozen encoder",
        "the same network from scratch",
    ]
    return table(head, [[title, *best_in_bold(cells)] for title, *cells in lines])


def speed():
    """Returns the table of speeds beside other libraries."""
    return table(["what", "keras_bt", "others", "ratio"], speed_lines(SPEED))


def speed_lines(cases):
    """Yields keras_bt's speed, that of others, and the ratios, for each case."""
    for what, benchmark, case, contestants in cases:
        first = matching(benchmark, case=case)[0]
        others = [
            matching(benchmark, case=case, contestant=contestant)[-1] for contestant in contestants
        ]
        libraries = [row["contestant"].partition(",")[0] for row in others]
        yield [
            what,
            speed_of(first),
            ", ".join(map(" ".join, zip(libraries, map(speed_of, others), strict=True))),
            ", ".join(three_digits(row["ratio"]) for row in others if row.get("ratio")),
        ]


def speed_of(row):
    """Returns images/s, or milliseconds if no images are counted."""
    if "median" not in row:
        return "not measured"
    if row["images"]:
        return three_digits(row["images"] / row["median"])
    return f"{1e3 * row['median']:,.0f}"


def three_digits(value):
    """Returns a number with three significant digits."""
    decimals = 2 - math.floor(math.log10(value))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def best_in_bold(accuracies):
    """Returns cells of accuracies, the highest of several in bold; None is an empty cell."""
    known = [value for value in accuracies if value is not None]
    cells = ["" if value is None else f"{value:.3f}" for value in accuracies]
    return [
        f"**{cell}**" if len(known) > 1 and value == max(known) else cell
        for cell, value in zip(cells, accuracies, strict=True)
    ]


def evaluated(flags):
    """Returns the figures of the newest row of a command that has one seed."""
    return newest_of_seeds(flags)[-1]["figures"]


def ablated(name):
    """Returns the mean k-NN accuracy of a row of the ablations."""
    measured = newest_of_seeds(ABLATIONS, ablation=name)
    return mean("knn_accuracy", [row["figures"] for row in measured])


TABLES = {"summary": summary, "runs": runs, "labels": labels, "speed": speed}

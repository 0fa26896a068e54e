"""Draws the figures of docs/how_to/when_it_goes_wrong.md: a sound training of digits, broken ones.

    python docs/findings.py

Each takes seconds. The script fails if `EmbeddingHealth` does not find a problem by its name, or
finds one in the sound training.
"""

from pathlib import Path

import keras_bt  # isort: split

import keras
import matplotlib

from keras_bt import data
from keras_bt.evaluation import untrained_copy

matplotlib.use("Agg")
from matplotlib import pyplot

FOLDER = Path(__file__).with_name("findings")
EPOCHS, BATCH, DIM = 25, 128, 128
DIGITS = data.digits()
SOUND, BROKEN = "#1b7f5c", "#c0392b"


def train(rate=4e-3, weight=1.0, crop_area=(0.5, 1.0), projector=None):
    """Returns the history of a training, and the findings of `EmbeddingHealth`."""
    keras.utils.set_random_seed(0)
    encoder = keras_bt.conv4((8, 8, 3), width=16)
    projector = projector or keras_bt.projector(encoder.output_shape[-1], (256, DIM))
    views = keras_bt.small_image_views(8, crop_area=crop_area, flip_rate=0.0, hue=0.0, seed=0)
    model = keras_bt.BarlowTwins(encoder, projector, views)
    loss = keras_bt.BarlowTwinsLoss(weight, redundancy="log_determinant")
    steps = DIGITS.train.count // BATCH
    model.compile(keras_bt.AdamW(keras_bt.warmup_cosine(rate, 20, EPOCHS * steps)), loss)
    train, test = (images.batches(256, size=8) for images in (DIGITS.train, DIGITS.test))
    knn = keras_bt.KNNMonitor(train, test)
    health = keras_bt.EmbeddingHealth(DIGITS.test.batches(256, size=8), BATCH)
    knn.set_model(model)
    health.untrained_accuracy = knn.compute_baseline(untrained_copy(encoder))
    batches = DIGITS.train.shuffled_batches(BATCH, size=8, seed=0)
    history = model.fit(
        batches, epochs=EPOCHS, steps_per_epoch=steps, callbacks=[knn, health], verbose=0
    )
    lines = {**history.history}
    lines["loss"] = [value / health.untrained_loss for value in lines["loss"]]
    return lines, [finding.name for finding in health.findings]


def with_relu_at_the_end():
    """Returns a projector whose dimensions can become constant."""
    first, last = keras.layers.Dense(256, activation="relu"), keras.layers.Dense(DIM, "relu")
    return keras.Sequential([keras.Input((128,)), first, last])


CASES = {  # finding: what is wrong, the metric that shows it, and its name
    "complete collapse": (
        lambda: train(rate=0.5, projector=with_relu_at_the_end()),
        ("embedding_spread", "spread of the embedding"),
    ),
    "dimensional collapse": (
        lambda: train(weight=0.0),
        ("mean_off_diagonal", "mean correlation of two dimensions"),
    ),
    "dead dimensions": (
        lambda: train(rate=0.02, projector=with_relu_at_the_end()),
        ("dead_dimensions", "dimensions that are constant"),
    ),
    "views not matched": (
        lambda: train(crop_area=(0.01, 0.05)),
        ("mean_diagonal", "mean correlation of the views"),
    ),
    "not learning": (lambda: train(rate=1e-7), ("knn_accuracy", "k-NN accuracy")),
    "diverged": (lambda: train(rate=3.0), ("knn_accuracy", "k-NN accuracy")),
    "worse than untrained": (
        lambda: train(weight=0.0, crop_area=(0.001, 0.01)),
        ("knn_accuracy", "k-NN accuracy"),
    ),
}


def draw(name, sound, broken, metric, label):
    """Writes the figure of a finding: loss and a metric over the epochs."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 2.6))
    epochs = range(1, EPOCHS + 1)
    for lines, title, color in ((sound, "sound", SOUND), (broken, name, BROKEN)):
        left.plot(epochs, lines["loss"], color=color, label=title)
        right.plot(epochs, lines[metric], color=color, label=title)
    left.set(xlabel="epoch", ylabel="loss / loss of the first step", yscale="log")
    right.set(xlabel="epoch", ylabel=label)
    left.legend(frameon=False, fontsize="small")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(FOLDER / f"{name.replace(' ', '_')}.svg", metadata={"Date": None})
    pyplot.close(figure)


def main():
    """Trains and draws all."""
    matplotlib.rcParams["svg.hashsalt"] = "keras_bt"
    FOLDER.mkdir(exist_ok=True)
    sound, findings = train()
    if findings:
        raise SystemExit(f"findings: the sound training has {findings}")
    for name, (train_broken, (metric, label)) in CASES.items():
        broken, findings = train_broken()
        print(f"{name}: found {findings}", flush=True)
        if name not in findings:
            raise SystemExit(f"findings: {name} was not found")
        draw(name, sound, broken, metric, label)


if __name__ == "__main__":
    main()

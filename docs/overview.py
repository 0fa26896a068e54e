"""Draws docs/overview.png from a run: its views, its cross-correlation matrices, its features.

keras-bt pretrain --recipe=digits --workdir=runs/digits
python docs/overview.py runs/digits
"""

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot
from sklearn.manifold import TSNE

FILE = Path(__file__).with_name("overview.png")
SHOWN_IMAGES, DOTS_PER_INCH = 4, 150
INK = "#1f2933"


def draw(run):
    """Returns the figure of a run."""
    figure = pyplot.figure(figsize=(11, 2.9), facecolor="white")
    views, matrices, features = figure.subfigures(1, 3, width_ratios=[1.0, 2.75, 1.2])
    draw_views(views, np.load(run / "views.npz"))
    draw_matrices(matrices, run)
    draw_map(features, np.load(run / "map.npz"))
    return figure


def draw_views(figure, arrays):
    """Draws images beside their two views."""
    figure.suptitle("two views of each image", color=INK, fontsize=11)
    axes = figure.subplots(SHOWN_IMAGES, 3, gridspec_kw={"wspace": 0.1, "hspace": 0.1})
    titles = {"images": "image", "view_a": "view A", "view_b": "view B"}
    for (name, title), column in zip(titles.items(), axes.T, strict=True):
        column[0].set_title(title, color=INK, fontsize=9)
        for image, axis in zip(arrays[name], column, strict=False):
            axis.imshow(image, interpolation="bicubic")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    figure.subplots_adjust(left=0.06, right=0.94, bottom=0.03, top=0.8)


def draw_matrices(figure, run):
    """Draws the cross-correlation matrix before training, after a quarter of it, and after it."""
    figure.suptitle("their cross-correlation becomes the identity", color=INK, fontsize=11)
    files = sorted((run / "snapshots").glob("*.npz"))
    epochs = json.loads((run / "result.json").read_text())["epochs"]
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.08})
    for file, axis in zip((files[0], files[1], files[-1]), axes, strict=True):
        shown = axis.imshow(np.load(file)["c"], cmap="RdBu_r", vmin=-1, vmax=1)
        share = int(file.stem) / int(files[-1].stem)
        after = f"after {share * epochs:.0f} epochs" if share else "before training"
        axis.set(xticks=[], yticks=[])
        axis.set_title(after, color=INK, fontsize=9)
    figure.subplots_adjust(left=0.02, right=0.9, bottom=0.03, top=0.8)
    bar = figure.add_axes((0.92, 0.08, 0.012, 0.68))
    figure.colorbar(shown, cax=bar, ticks=[-1, 0, 1])
    bar.tick_params(labelsize=8)


def draw_map(figure, arrays):
    """Draws the features of held-out images in two dimensions, each as its class."""
    figure.suptitle("and similar images lie together", color=INK, fontsize=11)
    axis = figure.subplots()
    features = arrays["representations"]
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    points = TSNE(init="pca", random_state=0, metric="cosine").fit_transform(features)
    colors = pyplot.get_cmap("tab10")(arrays["labels"])
    for point, color, label in zip(points, colors, arrays["labels"], strict=True):
        name = arrays["class_names"][label]
        axis.text(*point, name, color=color, fontsize=7, ha="center", va="center", weight="bold")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * (high - low)
    axis.set(xlim=(low[0] - margin[0], high[0] + margin[0]))
    axis.set(ylim=(low[1] - margin[1], high[1] + margin[1]), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.03, top=0.88)


if __name__ == "__main__":
    draw(Path(sys.argv[1])).savefig(FILE, dpi=DOTS_PER_INCH)

"""The sections of a run's page that show images."""

import logging

import numpy as np

from keras_bt._support.errors import first_line
from keras_bt.report import figures
from keras_bt.report.content import Figure, Section, Table
from keras_bt.report.pictures import picture, thumbnail_map

PICTURE_SIDE, TILE_SIDE = 128, 96  # pixels
UMAP_FROM_IMAGES = 50


def views(run):
    """A few images, and what the views made of them."""
    if run.views is None:
        return None
    columns = {"images": "image", "view_a": "view A", "view_b": "view B"}
    rows = [
        [
            (picture(run.views[key][number], PICTURE_SIDE), f"{name}, {number + 1}")
            for key, name in columns.items()
        ]
        for number in range(len(run.views["images"]))
    ]
    return Section(
        "What went in",
        "Images, and what view A and view B made of each in one step. The two views of an image "
        "should still look like the same thing, and no detail should give them away.",
        pictures=Table(list(columns.values()), rows),
    )


def alike(run):
    """Maps of the representations, neighbours, and what the probe confuses."""
    if run.map is None:
        return None
    labels = run.map.get("labels")
    classes = [str(name) for name in run.map.get("class_names", ())]
    drawn = []
    for name, points in _maps(run.map["representations"]).items():
        about = f"{name} of the representations of {len(points)} images"
        pictured = thumbnail_map(points, run.map["thumbnails"], labels, len(classes))
        drawn += [
            Figure(f"{about}.", figures.scatter(points, labels, classes)),
            Figure(f"{about}, with some of the images in their places.", uri=pictured),
        ]
    if "confusion" in run.map:
        svg = figures.confusion(run.map["confusion"], classes)
        drawn.append(Figure("What the linear probe takes held-out images of each class for.", svg))
    return Section(
        "What it sees as alike",
        "Images that mean the same should lie together, and be each other's neighbours.",
        figures=drawn,
        pictures=_neighbours(run.map, labels, classes),
    )


def _maps(representations):
    """Points [images, 2] of each kind of map, by its name."""
    if len(representations) < 3 or representations.shape[1] < 2:
        return {}
    centered = representations - representations.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    maps = {"Principal axes": centered @ axes[:2].T}
    if len(representations) >= UMAP_FROM_IMAGES:
        try:
            import umap

            maps["UMAP"] = umap.UMAP(random_state=0, n_jobs=1).fit_transform(representations)
        except ImportError:
            pass  # a map more for those who have it
        except Exception as error:  # of numba and its compilers among others
            logging.getLogger("keras_bt").warning("UMAP drew no map: %s", first_line(error))
    return maps


def _neighbours(arrays, labels, classes):
    rows = []
    for numbers in arrays["neighbours"]:
        row = []
        for place, number in enumerate(numbers):
            told = [f"neighbour {place}" if place else "image"]
            told += [str(arrays["names"][number])] if len(arrays["names"]) else []
            told += [classes[labels[number]]] if labels is not None else []
            row.append((picture(arrays["thumbnails"][number], TILE_SIDE), ", ".join(told)))
        rows.append(row)
    return Table(["image", "its nearest"][: len(rows[0])], rows)

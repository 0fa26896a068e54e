"""The sections of a page that show images: views, maps, neighbors, confusion matrix."""

import logging
from collections.abc import Sequence

import numpy as np

from keras_bt._support.errors import first_line
from keras_bt.report import figures
from keras_bt.report.content import Figure, Section, Table
from keras_bt.report.image_uris import image_uri, thumbnail_map_uri
from keras_bt.report.run_files import RunFiles

VIEW_SIDE, NEIGHBOR_SIDE = 128, 96  # pixels
MIN_UMAP_IMAGES = 50


def views_section(run: RunFiles) -> Section | None:
    """Returns a few images, each with two views of it."""
    if run.view_arrays is None:
        return None
    columns = {"images": "image", "view_a": "view A", "view_b": "view B"}
    rows = [
        [
            (image_uri(run.view_arrays[key][number], VIEW_SIDE), f"{name}, {number + 1}")
            for key, name in columns.items()
        ]
        for number in range(len(run.view_arrays["images"]))
    ]
    return Section(
        "Images and their views",
        "Each row has a training image with view A and view B of one step. Both views should still "
        "show the same object, but no single detail should be enough to match them.",
        images=Table(list(columns.values()), rows),
    )


def similarity_section(run: RunFiles) -> Section | None:
    """Returns maps of the representations, the confusion matrix and nearest neighbors."""
    arrays = run.map_arrays
    if arrays is None:
        return None
    labels = arrays.get("labels")
    classes = [str(name) for name in arrays.get("class_names", ())]
    section_figures = []
    for name, points in _maps(arrays["representations"]).items():
        caption = f"{name} of the representations of {len(points)} images"
        uri = thumbnail_map_uri(points, arrays["thumbnails"], labels, len(classes))
        section_figures += [
            Figure(f"{caption}.", figures.scatter_plot(points, labels, classes)),
            Figure(f"{caption}. Some images are drawn at their positions.", uri=uri),
        ]
    if "confusion" in arrays:
        svg = figures.confusion_matrix(arrays["confusion"], classes)
        caption = (
            "Confusion matrix of the linear probe on the held-out images. "
            "Each row adds up to 100 %."
        )
        section_figures.append(Figure(caption, svg))
    return Section(
        "Similar images",
        "Images of the same content should be close together on the map and be nearest neighbors.",
        figures=section_figures,
        images=_neighbors(arrays, labels, classes),
    )


def _maps(representations: np.ndarray) -> dict[str, np.ndarray]:
    """Projects representations to points [images, 2], by the name of the method."""
    if len(representations) < 3 or representations.shape[1] < 2:
        return {}
    centered = representations - representations.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    maps = {"Principal axes": centered @ axes[:2].T}
    if len(representations) >= MIN_UMAP_IMAGES:
        try:
            import umap

            maps["UMAP"] = umap.UMAP(random_state=0, n_jobs=1).fit_transform(representations)
        except ImportError:
            pass  # UMAP is optional
        except Exception as error:  # numba and its compilers raise many types
            logging.getLogger("keras_bt").warning("UMAP failed: %s", first_line(error))
    return maps


def _neighbors(
    arrays: dict[str, np.ndarray], labels: np.ndarray | None, classes: Sequence[str]
) -> Table:
    """Returns rows of a query and its neighbors, described by file name and class."""
    rows = []
    for numbers in arrays["neighbours"]:
        row = []
        for rank, number in enumerate(numbers):
            words = [f"neighbor {rank}" if rank else "image"]
            words += [str(arrays["names"][number])] if len(arrays["names"]) else []
            words += [classes[labels[number]]] if labels is not None else []
            row.append((image_uri(arrays["thumbnails"][number], NEIGHBOR_SIDE), ", ".join(words)))
        rows.append(row)
    return Table(["image", "nearest neighbors"][: len(rows[0])], rows)

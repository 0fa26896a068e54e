"""Figures of a report: names do not lie over each other."""

import itertools

import pytest

from keras_bt.report import figures

EPOCHS = [1, 2, 3]


@pytest.mark.parametrize("heights", [(0.3, 0.31, 0.32), (0.97, 0.98, 0.99), (0.0, 0.5, 0.0)])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_names_of_levels_and_lines_do_not_overlap(heights, logarithmic):
    names = ("untrained", "raw pixels", "floor")
    levels = list(zip(names, heights, strict=True))
    if logarithmic:
        levels = [(name, height + 0.01) for name, height in levels]
    lines = {"k-NN": (EPOCHS, [0.3, 0.4, 0.5]), "linear": (EPOCHS, [0.3, 0.6, 0.98])}
    figure = figures.line_plot.__wrapped__(lines, levels, y="accuracy", logarithmic=logarithmic)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in [*axes.texts, *axes.get_legend().get_texts()]]
    assert len(boxes) == 5
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    plot, page = axes.get_window_extent(), figure.bbox
    for box in boxes:
        assert not plot.overlaps(box)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and box.y1 <= page.y1

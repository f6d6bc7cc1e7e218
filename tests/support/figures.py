"""Checks of drawn figures."""

import itertools

from matplotlib.artist import Artist
from matplotlib.figure import Figure


def shown_texts(figure: Figure) -> list:
    """Return all texts of a figure that has been drawn, without ticks beyond the limits."""
    texts = [*figure.texts]
    for part in (figure, *figure.subfigs):
        texts += [*part.texts, *(text for legend in part.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in filter(Artist.get_visible, (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
            texts += [label for place, label in labels if low <= place <= high]
    return [text for text in dict.fromkeys(texts) if text.get_text() and text.get_visible()]


def assert_readable(figure: Figure) -> None:
    """Assert that no text leaves the figure and that none overlaps another."""
    boxes = {text: text.get_window_extent() for text in shown_texts(figure)}
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 + 1 and box.y1 - 1 <= figure.bbox.y1, text
    for (one, box), (other, beside) in itertools.combinations(boxes.items(), 2):
        # A line is as high as its letters need; extents count the room for accents too.
        shared = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        if box.x0 < beside.x1 and beside.x0 < box.x1:
            assert shared < 0.2 * min(box.height, beside.height), (one, other)

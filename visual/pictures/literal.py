"""Text of a figure as it is: names, ids and units are no formulas, and whatever is in them can be drawn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter

from pointae.printable import printable

FIRST = "\u2060"
"""An invisible letter that :func:`legend_name` begins with and :func:`literal_text` takes away."""


def legend_name(text: str) -> str:
    """A name as the label of a line: legends leave out labels that begin with ``_``."""
    return FIRST + text if text.startswith("_") else text


@contextmanager
def literal_text(figure: Figure) -> Iterator[None]:
    """Within, the figure is drawn with every text as it is: ``$x_{$`` too, and without a word of missing glyphs.

    Only the numbers along logarithmic axes, which matplotlib writes itself, are formulas.
    """
    axes = figure.findobj(Axis)
    for axis in axes:
        formatter: Any = axis.get_major_formatter()
        if isinstance(formatter, FuncFormatter):  # names along the axis
            formatter.func = partial(_named, formatter.func)
        axis.get_ticklabels()  # they are made now, not while drawing
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(_lines(text.get_text()))
    for axis in axes:
        if isinstance(axis.get_major_formatter(), LogFormatter):
            for text in axis.get_ticklabels(which="both"):
                text.set_parse_math(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def _named(names: Callable[..., str], *place: Any) -> str:
    return _lines(names(*place))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.removeprefix(FIRST).split("\n")))

"""What curves and charts share, and bars that compare methods; the numbers lie beside each as CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure

from pointae.errors import DataError
from pointae.runs import write_table
from visual.colours import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from visual.pictures.events import save_picture
from visual.plots.theme import LIGHT, Theme

PLOT_STYLE = LIGHT.style
"""matplotlib settings of every curve and chart on light paper."""
LINE_COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, SKY)
LINE_KINDS: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", "-.", ":")


def line_look(number: int) -> dict[str, Any]:
    """Colour and kind of line ``number``: six colours, then again with another kind of line."""
    kind = LINE_KINDS[number // len(LINE_COLOURS) % len(LINE_KINDS)]
    return {"color": LINE_COLOURS[number % len(LINE_COLOURS)], "linestyle": kind}


def plot_comparison(rows: Sequence[Mapping[str, Any]], out: str | Path, theme: Theme = LIGHT) -> Path:
    """Bars of the noise that each method removes at 97 % signal kept, best on top.

    Args:
        rows: one method each: ``name`` and ``noise_removed_at_97``, a share in [0, 1]; optionally
            ``kind``: a ``network`` is coloured apart from baselines; a ``bound`` is hollow, and a line
            at its end shows what is left to gain. Written beside the picture as CSV.
        out: of the PNG.
        theme: of the paper.

    Raises:
        DataError: no rows.
        StorageError: the picture cannot be written.
    """
    if not rows:
        raise DataError("there is nothing to compare: no rows")
    out = Path(out)
    ranked = sorted(rows, key=lambda row: -share if math.isfinite(share := _share_of(row)) else math.inf)
    with matplotlib.rc_context(theme.style):
        figure = Figure(figsize=(7.4, 1.3 + 0.5 * len(ranked)), layout="constrained")
        axes = figure.add_subplot()
        for place, row in enumerate(ranked):
            share = 100 * _share_of(row)
            axes.barh(place, share, height=0.62, **_bar(str(row.get("kind")), theme))
            if row.get("kind") == "bound" and math.isfinite(share):
                axes.axvline(share, color=theme.ink, linestyle="--", linewidth=1)
            text = f"{share:.1f} %" if math.isfinite(share) else "undefined"
            beside = 1 + (share if math.isfinite(share) else 0)
            # Paper behind the number: the bound's line may cross it.
            axes.text(beside, place, text, va="center", bbox={"color": theme.paper, "pad": 1})
        axes.set_yticks(range(len(ranked)), [str(row["name"]) for row in ranked])
        axes.invert_yaxis()
        axes.set_xlim(0, 112)
        axes.set_xticks(range(0, 101, 20))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("noise removed at 97 % signal kept [%]")
    save_picture(figure, out)
    write_table(theme.table_beside(out), ranked)
    return out


def _bar(kind: str, theme: Theme) -> dict[str, Any]:
    if kind == "bound":
        return {"facecolor": theme.paper, "edgecolor": theme.ink}
    return {"color": VERMILLION if kind == "network" else BLUE}


def _share_of(row: Mapping[str, Any]) -> float:
    value = row["noise_removed_at_97"]
    return math.nan if value is None else float(value)

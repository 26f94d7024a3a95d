"""The picture of a sweep: parallel coordinates, importances, and scores in the order of the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from visual.colours import BLUE, GREY, VERMILLION
from visual.pictures.events import save_picture
from visual.plots.theme import LIGHT

Row = Mapping[str, Any]
FEW = 6
"""Different values up to which an axis has a place for each."""
# The yellow end of viridis is lost on white paper.
_SCALE = LinearSegmentedColormap.from_list("scores", matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 64)))


@dataclass(frozen=True)
class Coordinate:
    """An axis of parallel coordinates.

    Args:
        name: of the key, or ``"score"``.
        places: of each trial along it.
        ends: lowest and highest place.
        marks: where a value is written, and how.
    """

    name: str
    places: Sequence[float]
    ends: tuple[float, float]
    marks: Sequence[tuple[float, str]]


def draw_sweep(
    rows: Sequence[Row], keys: Sequence[str], logarithmic: Sequence[str], importances: Mapping[str, float],
    score: str, path: Path, title: str,
) -> Path:  # fmt: skip
    """Draw a sweep; its numbers are those of ``ranking.csv`` and ``importances.csv`` beside it.

    Args:
        rows: of the ranking: ``trial``, ``state``, ``score`` and a column a searched key.
        keys: the searched keys.
        logarithmic: those of them that have a logarithmic axis.
        importances: share of each key, largest first.
        score: what the score is, in words.
        path: of the PNG file.
        title: of the picture.

    Raises:
        StorageError: it cannot be written.
    """
    with matplotlib.rc_context(LIGHT.style):
        figure = Figure(figsize=(11.5, 8.2), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=(1.35, 1))
        top, bottom = parts
        left, right = bottom.subplots(1, 2, width_ratios=(1.1, 1))
        _parallel(top.add_subplot(), coordinates(rows, keys, logarithmic))
        _importances(left, importances)
        _scores(right, rows)
        figure.suptitle(f"{title}; score: {score}, lower is better", fontsize=12, fontweight="bold")
    return save_picture(figure, path)


def coordinates(rows: Sequence[Row], keys: Sequence[str], logarithmic: Sequence[str]) -> list[Coordinate]:
    """The score and every searched key of the trials that were trained to the end; empty where there are none."""
    done = [row for row in rows if row["state"] == "complete"]
    if not done:
        return []
    axes = [_of_numbers("score", [float(row["score"]) for row in done])]
    for key in keys:
        values = [row[key] for row in done]
        many = len(set(values)) > FEW and all(isinstance(value, (int, float)) for value in values)
        if not many:
            axes.append(_of_choices(key, values))
        elif key in logarithmic:
            axes.append(_of_powers(key, values))
        else:
            axes.append(_of_numbers(key, values))
    return axes


def best_so_far(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """Finished trials in their order, and the best score up to each."""
    done = sorted((row["trial"], float(row["score"])) for row in rows if row["state"] == "complete")
    return [trial for trial, _ in done], [min(score for _, score in done[: i + 1]) for i in range(len(done))]


def _of_choices(name: str, values: Sequence[Any]) -> Coordinate:
    different = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in different]
    return Coordinate(name, [different.index(value) for value in values], (-0.2, len(texts) - 0.8),
                      list(enumerate(texts)))  # fmt: skip


def _of_numbers(name: str, values: Sequence[float]) -> Coordinate:
    low, high = min(values), max(values)
    if low == high:
        return Coordinate(name, values, (low - 0.5, high + 0.5), [(low, f"{low:.4g}")])
    marks = [(float(tick), f"{tick:.4g}") for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    return Coordinate(name, values, (low, high), marks)


def _of_powers(name: str, values: Sequence[float]) -> Coordinate:
    powers = [log10(value) for value in values]
    low, high = min(powers), max(powers)
    decades = range(floor(low), ceil(high) + 1)
    ticks = [log10(digit) + decade for decade in decades for digit in (1, 2, 5)]
    return Coordinate(name, powers, (low, high), [(tick, f"{10**tick:.1g}") for tick in ticks if low <= tick <= high])


def _parallel(axes: Any, drawn: Sequence[Coordinate]) -> None:
    axes.set_axis_off()
    if not drawn:
        axes.text(0.5, 0.5, "no trial was trained to its end", ha="center", va="center")
        return
    scores = drawn[0].places
    colours = ScalarMappable(Normalize(*drawn[0].ends), _SCALE).to_rgba(np.asarray(scores))
    heights = [[(place - axis.ends[0]) / (axis.ends[1] - axis.ends[0]) for place in axis.places] for axis in drawn]
    for trial in sorted(range(len(scores)), key=lambda trial: -scores[trial]):  # the best lies on top
        axes.plot([column[trial] for column in heights], color=tuple(colours[trial]), linewidth=1.6, alpha=0.9)
    paper = {"color": LIGHT.paper, "alpha": 0.75, "pad": 0.6}
    for place, axis in enumerate(drawn):
        axes.plot([place, place], [0, 1], color=LIGHT.ink, linewidth=1)
        axes.text(place, 1.04, axis.name.replace(".", ".\n"), ha="center", va="bottom", fontsize=9)
        for value, text in axis.marks:
            height = (value - axis.ends[0]) / (axis.ends[1] - axis.ends[0])
            axes.plot([place - 0.02, place], [height, height], color=LIGHT.ink, linewidth=1)
            axes.text(place - 0.035, height, text, ha="right", va="center", fontsize=8, bbox=paper)
    axes.set_xlim(-0.35, len(drawn) - 0.9)
    axes.set_ylim(-0.02, 1.3)


def _importances(axes: Any, importances: Mapping[str, float]) -> None:
    axes.set_title("importance of each parameter", fontsize=10)
    if not importances:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "too few trials to tell", ha="center", va="center")
        return
    shares = [100 * share for share in importances.values()]
    bars = axes.barh(range(len(shares)), shares, height=0.62, color=BLUE)
    axes.bar_label(bars, fmt="%.0f %%", padding=3)
    axes.set_yticks(range(len(shares)), list(importances))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.set_xlabel("share of the score's variance [%]")


def _scores(axes: Any, rows: Sequence[Row]) -> None:
    for state, look in (
        ("complete", {"color": BLUE}), ("pruned", {"facecolors": "none", "edgecolors": GREY}),
    ):  # fmt: skip
        own = [row for row in rows if row["state"] == state and row["score"] != ""]
        if own:
            axes.scatter([row["trial"] for row in own], [float(row["score"]) for row in own], label=state, **look)
    axes.step(*best_so_far(rows), where="post", color=VERMILLION, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("score")
    axes.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

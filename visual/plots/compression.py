"""Pictures of what comes back from codes of different sizes: quality against compression, and patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.storage import write_table
from visual.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from visual.pictures.events import save_picture
from visual.plots.charts import PLOT_STYLE

Row = Mapping[str, Any]

_LOOKS = {
    "point_set": ("points", VERMILLION, "o", -15),
    "dense": ("volume", BLUE, "s", 7),
    "image": ("image", GREEN, "^", 7),
    "autoregressive": ("hits one by one", ORANGE, "D", 7),
}
"""Of each decoder: what it makes, its colour and marker, and how far above them the size of the code is written."""
_REFERENCE_LOOKS: tuple[tuple[str, Any], ...] = ((GREY, ":"), (PURPLE, "-."), (BLACK, "--"))
_PANELS = {
    "chamfer_space_macro": ("Chamfer distance in space [mm]", 1.0),
    "chamfer_time_macro": ("Chamfer distance in time [ns]", 1.0),
    "coverage": ("true hits near a generated one [%]", 100.0),
    "purity": ("generated hits near a true one [%]", 100.0),
}
"""Of each panel the figure, its axis and the factor to its unit; distances have a log axis."""


def plot_compression(rows: Sequence[Row], out: str | Path) -> Path:
    """Distance, coverage and purity against the compression ratio: a line a decoder, a dashed line a reference.

    Args:
        rows: of :func:`pointae.analysis.compression.compression_table`; written beside the picture as CSV.
        out: of the PNG.

    Raises:
        DataError: no row of a network.
        StorageError: the picture cannot be written.
    """
    out = Path(out)
    networks = [row for row in rows if row["kind"] == "network"]
    if not networks:
        raise DataError("there is nothing to draw: no rows of a network")
    looks = _reference_looks(rows)
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(11, 7.6), layout="constrained")
        for axes, (key, (label, factor)) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
            for row in rows:
                if row["name"] in looks:
                    colour, line = looks[row["name"]]
                    axes.axhline(factor * row[key], color=colour, linestyle=line, linewidth=1.3)
            for decoder in _LOOKS:
                _curve(axes, [row for row in networks if row["decoder"] == decoder], key, factor)
            axes.set_xscale("log")
            axes.margins(x=0.12)
            _sparse_ticks(axes.xaxis, "x")
            axes.set_xlabel("compression: bytes of hits / bytes of code")
            axes.set_ylabel(label)
            if factor == 1.0:
                axes.set_yscale("log")
                _sparse_ticks(axes.yaxis, "")
            else:
                axes.set_ylim(0, 103)
        figure.legend(handles=_legend(networks, looks), loc="outside upper center", ncols=3)
    save_picture(figure, out)
    write_table(out.with_suffix(".csv"), rows)
    return out


def plot_patterns(patterns: Mapping[str, HitBatch], out: str | Path) -> Path:
    """Events side by side: as measured, in full, and as each run makes them, in (t, x) and below in (x, y).

    Args:
        patterns: of :func:`pointae.analysis.compression.example_patterns`: hits of the same events by name.
        out: of the PNG.

    Raises:
        StorageError: the picture cannot be written.
    """
    truth = patterns["full pattern"]
    planes = [(event, plane) for event in range(truth.batch_size) for plane in ((2, 0), (0, 1))]
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(1 + 2.6 * len(patterns), 2.4 * len(planes)), layout="constrained")
        grid = figure.subplots(len(planes), len(patterns), squeeze=False, sharex="row", sharey="row")
        for row, (event, plane) in zip(grid, planes, strict=True):
            across, up = (truth.geometry.axes[i] for i in plane)
            row[0].set_ylabel(f"event {event}\n{up.name} [{up.unit}]")
            for axes, (name, hits) in zip(row, patterns.items(), strict=True):
                own = hits.events([event])
                if name != "measured":
                    _scatter(axes, truth.events([event]), plane, SKY, 3)
                if name == "measured" and own.signal is not None:
                    _scatter(axes, own.select(~own.signal), plane, GREY, 2)
                    _scatter(axes, own.select(own.signal), plane, VERMILLION, 9)
                elif name != "full pattern":
                    _scatter(axes, own, plane, VERMILLION, 2)
                axes.set_xlabel(f"{across.name} [{across.unit}]")
        for axes, name in zip(grid[0], patterns, strict=True):
            axes.set_title(name)
    return save_picture(figure, Path(out))


def _scatter(axes: Any, hits: HitBatch, plane: tuple[int, int], colour: str, area: float) -> None:
    across, up = (hits.pos[:, i].numpy() for i in plane)
    axes.scatter(across, up, s=area, c=colour, linewidths=0)


def _curve(axes: Any, rows: Sequence[Row], key: str, factor: float) -> None:
    """A decoder's line through its codes, each point labelled with the code's size."""
    if not rows:
        return
    _, colour, marker, above = _LOOKS[rows[0]["decoder"]]
    ranked = sorted(rows, key=lambda row: row["compression_ratio"])
    x, y = [row["compression_ratio"] for row in ranked], [factor * row[key] for row in ranked]
    axes.plot(x, y, color=colour, marker=marker, markersize=5.5)
    for row, place, height in zip(ranked, x, y, strict=True):
        # White behind the number: a reference's line may cross it.
        axes.annotate(
            str(row["code_size"]), (place, height), (0, above), textcoords="offset points", ha="center", color=colour,
            bbox={"color": "white", "pad": 0.5},
        )  # fmt: skip


def _reference_looks(rows: Sequence[Row]) -> dict[str, tuple[str, Any]]:
    names = [row["name"] for row in rows if row["kind"] == "reference"]
    return dict(zip(names, _REFERENCE_LOOKS, strict=False))


def _legend(networks: Sequence[Row], looks: Mapping[str, tuple[str, Any]]) -> list[Line2D]:
    drawn = dict.fromkeys(row["decoder"] for row in networks)
    return [
        *(
            Line2D([], [], color=colour, marker=marker, label=f"{what}; numbers in the code")
            for what, colour, marker, _ in (_LOOKS[decoder] for decoder in drawn)
        ),
        *(Line2D([], [], color=colour, linestyle=line, label=name) for name, (colour, line) in looks.items()),
    ]


def _sparse_ticks(axis: Any, unit: str) -> None:
    """Ticks at 1, 2 and 5 of each decade of a log axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axis.set_minor_formatter(NullFormatter())

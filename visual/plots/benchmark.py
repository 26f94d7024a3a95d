"""Pictures of a benchmark, each beside the CSV of its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pointae.benchmark.results import Row, Table
from pointae.benchmark.sweeps import FULL_GRID, SMALL_GRID, crossing
from visual.colours import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION
from visual.pictures.events import save_picture
from visual.plots.charts import PLOT_STYLE

_COLOURS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY)
_MARKERS = "os^vDPX"
_STAGES = {"map": ORANGE, "network": BLUE, "recover": GREEN}
"""Stages of a pipeline that follow one another, and their colours; ``map`` is taken out of ``network``."""


def draw_benchmark(tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """A PNG for each table that has a picture, called as its CSV.

    Args:
        tables: by name, of :mod:`pointae.benchmark`.
        folder: of the pictures.

    Raises:
        StorageError: a picture cannot be written.
    """
    drawn = []
    for name, draw in _PICTURES.items():
        if name in tables and tables[name].rows:
            with matplotlib.rc_context(PLOT_STYLE):
                figure = draw(tables[name])
            save_picture(figure, folder / f"{name}.png")
            drawn.append(folder / f"{name}.png")
    return drawn


def _networks(table: Table) -> Figure:
    """Forward pass and training step of every network, a mark for each number of events at once."""
    rows = [row for row in table.rows if row["hits"] == 230 and row["grid"] == table.rows[0]["grid"]]
    names = list(dict.fromkeys(row["name"] for row in rows))[::-1]
    batches = sorted({row["batch"] for row in rows})
    figure = Figure(figsize=(11, 1.8 + 0.36 * len(names)), layout="constrained")
    figure.suptitle(f"{table.title}; events of 230 hits on {rows[0]['grid']}")
    for axes, (key, told) in zip(
        figure.subplots(1, 2, sharey=True),
        {"forward_us": "forward pass", "step_us": "training step"}.items(),
        strict=True,
    ):
        for batch, colour, marker in zip(batches, _COLOURS, _MARKERS, strict=False):
            own = [row for row in rows if row["batch"] == batch and key in row]
            axes.plot([row[key] for row in own], [names.index(row["name"]) for row in own], marker, color=colour)
        axes.set_xlabel(f"{told} [µs an event]")
        _logarithmic(axes.xaxis, axes.set_xscale)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(axis="y", visible=True)
    marks = [Line2D([], [], color=c, marker=m, linestyle="", label=f"{b:,}")
             for b, c, m in zip(batches, _COLOURS, _MARKERS, strict=False)]  # fmt: skip
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), title="events at once")
    return figure


def _pipelines(table: Table) -> Figure:
    """Bars of the stages, one after the other, and the whole as a line at its measured length."""
    rows = list(table.rows)[::-1]
    figure = Figure(figsize=(9, 1.8 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        start = 0.0
        for stage, colour in _STAGES.items():
            length = row[f"{stage}_us"]
            if stage == "network":
                length = max(0.0, length - row["map_us"])
            axes.barh(place, length, left=start, color=colour, height=0.6)
            start += length
        axes.plot([row["together_us"]] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2)
        told, end = f"{row['events_per_second']:,.0f} events/s", max(start, row["together_us"])
        axes.annotate(told, (end, place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [f"{row['name']}, {row['batch']} at once" for row in rows])
    axes.set_xlabel("µs an event")
    axes.margins(x=0.22)
    axes.set_xlim(left=0)
    figure.suptitle(table.title)
    marks = [Line2D([], [], color=colour, marker="s", linestyle="", markersize=9, label=stage)
             for stage, colour in _STAGES.items()]  # fmt: skip
    marks.append(Line2D([], [], color=INK, linewidth=2, label="all in one go, measured"))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))
    return figure


def _time_bins(table: Table) -> Figure:
    return _curves(table, "time_bins", "forward_us", "time bins", "forward [µs an event]")


def _hits(table: Table) -> Figure:
    return _curves(table, "hits", "us_per_hit", "hits an event", "forward [µs a hit]")


def _curves(table: Table, x: str, y: str, x_label: str, y_label: str) -> Figure:
    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    _lines(axes, table.rows, x, y)
    lowest, highest = axes.get_ylim()
    if highest / lowest < 10:  # cost that hardly moves should look so
        middle = (lowest * highest) ** 0.5
        axes.set_ylim(middle / 10**0.5, middle * 10**0.5)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(table.title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _occupancy(table: Table) -> Figure:
    """The full grid, sparse alone, beside the small grid with the dense engine and where it begins to win."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(table.title)
    panels = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(row["name"] for row in table.rows))
    for axes, grid in zip(panels, (FULL_GRID, SMALL_GRID), strict=True):
        told = " x ".join(map(str, grid))
        _lines(axes, [row for row in table.rows if row["grid"] == told], "occupancy", "forward_ms", names)
        axes.set_xlabel("share of the cells that are occupied")
        axes.set_title(told, fontsize=11)
    panels[0].set_ylabel("forward [ms an event]")
    share = crossing(table.rows)
    if share is not None:
        panels[1].axvline(share, color=INK, linestyle="--", linewidth=1)
        panels[1].annotate(f"dense wins above {share:.2g}", (share, 0.02), xycoords=("data", "axes fraction"),
                           xytext=(-5, 0), textcoords="offset points", ha="right")  # fmt: skip
    handles = [
        Line2D([], [], color=c, marker=m, label=name) for name, c, m in zip(names, _COLOURS, _MARKERS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="engine")
    return figure


def _lines(axes: Any, rows: Sequence[Row], x: str, y: str, names: Sequence[str] = ()) -> None:
    """A line for each name, on logarithmic axes."""
    for name, colour, marker in zip(
        names or list(dict.fromkeys(r["name"] for r in rows)), _COLOURS, _MARKERS, strict=False
    ):
        own = [row for row in rows if row["name"] == name]
        axes.plot([row[x] for row in own], [row[y] for row in own], color=colour, marker=marker, label=name)
    _logarithmic(axes.xaxis, axes.set_xscale)
    _logarithmic(axes.yaxis, axes.set_yscale)


def _logarithmic(axis: Any, set_scale: Callable[[str], object]) -> None:
    set_scale("log")
    lowest, highest = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1,) if highest > 1e3 * lowest else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


_PICTURES: dict[str, Callable[[Table], Figure]] = {
    "networks": _networks,
    "pipelines": _pipelines,
    "time_bins": _time_bins,
    "hits": _hits,
    "occupancy": _occupancy,
}

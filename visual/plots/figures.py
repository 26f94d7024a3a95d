"""Pictures of the figures: noise left over the range of events, and quality against speed; CSV beside each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pointae.errors import DataError
from pointae.storage import write_table
from visual.colours import BLACK, BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION
from visual.pictures.events import save_picture
from visual.pictures.literal import legend_name
from visual.plots.charts import PLOT_STYLE

Row = Mapping[str, Any]

_COLOURS, _MARKERS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY), "os^vPX"
_SWEEPS = {
    "signal": "signal hits an event",
    "noise": "noise hits an event",
    "tracks": "tracks, 30 signal hits each",
    "noise_mode": "noise mode (the oracle assumes uniform)",
    "sigma_t_ps": "time resolution [ps]",
}
"""Sweeps in the order they are drawn, and their axis."""
_CUTS: dict[str, tuple[str, Literal["-", "--"]]] = {
    "noise_removed_at_97": ("97 %", "-"),
    "noise_removed_at_99": ("99 %", "--"),
}
_BATCHES = {1: "o", 64: "s", 1024: "^"}
_APART = 0.055
"""Least distance of two labels, in heights of the axes."""


def plot_range(rows: Sequence[Row], out: str | Path, title: str = "") -> Path:
    """A column for each sweep: noise left at 97 % and 99 % of the signal kept, and signal kept at the threshold.

    Args:
        rows: of each sweep, setting and method: ``sweep``, ``setting``, ``name``, ``kind`` (``bound`` is black),
            ``signal_hits_per_event``, and shares in [0, 1] with their ``..._error``: ``noise_removed_at_97``,
            ``noise_removed_at_99`` and, for networks, ``signal_retention``. Written beside the picture as CSV.
        out: of the PNG.
        title: of the picture.

    Raises:
        DataError: no rows.
        StorageError: the picture cannot be written.
    """
    out, looks = Path(out), _looks(rows)
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(16, 7.6), layout="constrained")
        figure.suptitle(title)
        grid = figure.subplots(2, len(_SWEEPS), sharex="col", sharey="row", squeeze=False)
        for column, (sweep, label) in enumerate(_SWEEPS.items()):
            swept = [row for row in rows if row["sweep"] == sweep]
            left, kept = grid[0, column], grid[1, column]
            for number, (name, (colour, marker)) in enumerate(looks.items()):
                own = [row for row in swept if _called(row) == name]
                # Kinds of noise stand side by side: they have no order to draw a line along.
                aside = (number - (len(looks) - 1) / 2) * 0.8 / len(looks) if sweep == "noise_mode" else 0.0
                for key, (_, line) in _CUTS.items():
                    _errorbars(left, own, key, {"color": colour, "marker": marker, "linestyle": line}, aside)
                _errorbars(kept, own, "signal_retention", {"color": colour, "marker": marker}, aside)
            _sweep_axis(kept, sweep, swept)
            kept.set_xlabel(label)
            kept.axhline(97, color=INK, linewidth=0.8, linestyle=":")
        grid[0, 0].set_yscale("log")
        grid[0, 0].set_ylabel("noise hits left [%]")
        grid[0, 0].yaxis.set_major_formatter(FuncFormatter(_plain))
        grid[1, 0].set_ylabel("signal hits kept at the\ndenoiser's own threshold [%]")
        cuts = [
            Line2D([], [], color=INK, marker="o", linestyle=line, label=f"at {text} signal kept", **_fill(line))
            for text, line in _CUTS.values()
        ]
        names = [
            Line2D([], [], color=c, marker=m, markersize=4.5, label=legend_name(name)) for name, (c, m) in looks.items()
        ]
        figure.legend(handles=names + cuts, loc="outside lower center", ncols=min(len(names + cuts), 7))
    save_picture(figure, out)
    write_table(out.with_suffix(".csv"), rows)
    return out


def plot_quality_speed(rows: Sequence[Row], out: str | Path, title: str = "") -> Path:
    """Noise left against events a second: a line for each network through its numbers of events at once.

    Args:
        rows: of networks ``name``, ``batch``, ``events_per_second``, ``device``, ``threads``, and shares in [0, 1]
            ``noise_removed_at_97`` and ``noise_removed_at_99``; of a ``kind`` called ``bound`` the shares alone,
            drawn as a line. Written beside the picture as CSV.
        out: of the PNG.
        title: of the picture.

    Raises:
        DataError: no rows.
        StorageError: the picture cannot be written.
    """
    out, looks = Path(out), _looks(rows)
    networks = [row for row in rows if row["kind"] != "bound"]
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(13, 5.4), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, len(_CUTS), sharey=True)
        for axes, (key, (text, _)) in zip(panels, _CUTS.items(), strict=True):
            axes.set_xscale("log")
            axes.set_yscale("log")
            ends: dict[str, tuple[float, float, str]] = {}
            for name, (colour, _) in looks.items():
                own = [row for row in networks if row["name"] == name]
                ends |= {name: _speeds(axes, own, key, colour)} if own else {}
            for row in (row for row in rows if row["kind"] == "bound"):
                axes.axhline(_left(row, key), color=BLACK, linestyle="--", linewidth=1.2)
                axes.annotate(row["name"], (0.01, _left(row, key)), xycoords=("axes fraction", "data"),
                              xytext=(0, 4), textcoords="offset points")  # fmt: skip
            axes.set_xlabel(f"events a second, {networks[0]['device']}, threads: {networks[0]['threads']}")
            axes.set_title(f"at {text} signal kept", fontsize=11)
            for axis, marked in ((axes.xaxis, (1, 3)), (axes.yaxis, (1, 2, 5))):
                axis.set_major_locator(LogLocator(subs=marked))
                axis.set_major_formatter(FuncFormatter(_plain))
                axis.set_minor_formatter(NullFormatter())
            figure.draw_without_rendering()
            _labels(axes, ends)
        panels[0].set_ylabel("noise hits left [%]")
        sizes = [
            Line2D([], [], color=INK, marker=marker, linestyle="", label=f"{batch:,}")
            for batch, marker in _BATCHES.items()
        ]
        figure.legend(handles=sizes, loc="outside lower center", ncols=len(sizes), title="events at once")
    save_picture(figure, out)
    write_table(out.with_suffix(".csv"), rows)
    return out


def _looks(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method, in order of appearance; the oracle is black."""
    if not any(row["kind"] != "bound" for row in rows):
        raise DataError("there is nothing to draw: no rows of a network")
    names = dict.fromkeys(_called(row) for row in rows if row["kind"] != "bound")
    looks = {n: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, n in enumerate(names)}
    return {**dict.fromkeys((_called(row) for row in rows if row["kind"] == "bound"), (BLACK, "D")), **looks}


def _called(row: Row) -> str:
    # The oracle is one line, whatever it assumes at a point.
    return "oracle" if row["kind"] == "bound" else str(row["name"])


def _errorbars(axes: Any, rows: Sequence[Row], key: str, look: Mapping[str, Any], aside: float) -> None:
    drawn = [row for row in rows if key in row and math.isfinite(row[key])]
    if not drawn:
        return
    x = [_place(row) + aside for row in drawn]
    share = [100 * row[key] if key == "signal_retention" else _left(row, key) for row in drawn]
    error = [100 * row[f"{key}_error"] for row in drawn]
    apart = {"linestyle": ""} if drawn[0]["sweep"] == "noise_mode" else {}
    axes.errorbar(
        x, share, error, **{**look, **apart}, **_fill(look.get("linestyle", "-")), linewidth=1.3, elinewidth=1
    )


def _fill(line: str) -> dict[str, Any]:
    return {"markersize": 4.5, **({"markerfacecolor": "white"} if line == "--" else {})}


_MODES = ("uniform", "tracks", "crossing", "mixture")


def _place(row: Row) -> float:
    """Where a setting is on its axis; signal hits as they really are, for dim tracks have fewer."""
    if row["sweep"] == "noise_mode":
        return _MODES.index(row["setting"])
    return float(row["signal_hits_per_event"] if row["sweep"] == "signal" else row["setting"])


def _sweep_axis(axes: Any, sweep: str, rows: Sequence[Row]) -> None:
    places = sorted({_place(row) for row in rows})
    if sweep == "signal":
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if sweep == "noise":
        axes.set_xscale("symlog", linthresh=10, linscale=0.5)
    if sweep in ("signal", "noise"):
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    if sweep == "noise_mode":
        axes.set_xticks(range(len(_MODES)), _MODES)
        axes.set_xlim(-0.5, len(_MODES) - 0.5)
    elif sweep in ("tracks", "sigma_t_ps"):
        axes.set_xticks(places)


def _left(row: Row, key: str) -> float:
    return 100 * (1 - float(row[key]))


def _speeds(axes: Any, rows: Sequence[Row], key: str, colour: str) -> tuple[float, float, str]:
    """Draw a network's speeds; where its line ends, and its colour."""
    ranked = sorted(rows, key=lambda row: row["events_per_second"])
    axes.plot([row["events_per_second"] for row in ranked], [_left(row, key) for row in ranked], color=colour)
    for row in rows:
        axes.plot(row["events_per_second"], _left(row, key), _BATCHES[row["batch"]], color=colour, markersize=6)
    return ranked[-1]["events_per_second"], _left(ranked[-1], key), colour


def _labels(axes: Any, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Names right of the axes at the height of their points, moved apart where they would touch."""
    to_axes = axes.transAxes.inverted()
    heights = {n: float(to_axes.transform(axes.transData.transform((x, y)))[1]) for n, (x, y, _) in ends.items()}
    names = sorted(heights, key=heights.__getitem__)
    places = [heights[name] for name in names]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + _APART)
    places[-1:] = [min(place, 1.0) for place in places[-1:]]
    for i in reversed(range(len(places) - 1)):
        places[i] = min(places[i], places[i + 1] - _APART)
    for name, place in zip(names, places, strict=True):
        x, y, colour = ends[name]
        axes.annotate(
            name, (x, y), (1.02, place), xycoords="data", textcoords="axes fraction", color=colour, va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip


def _plain(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"

"""How well runs tell signal from noise at every threshold, and what their scores are worth; CSV beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullFormatter

from pointae.errors import DataError
from pointae.storage import write_table
from visual.pictures.events import save_picture
from visual.pictures.literal import legend_name
from visual.plots.charts import line_look
from visual.plots.theme import LIGHT, Theme

Row = Mapping[str, Any]

LEAST_LEFT, LEAST_KEPT = 0.1, 80.0
"""Ends of the axes, in percent: noise left below the one and signal kept below the other are not drawn."""
_ENDS = (50, 20, 10, 5, 2, 1, 0.5, 0.2, LEAST_LEFT)
"""Where the axis of noise left may end: the first that no curve goes beyond."""


def plot_quality(
    curves: Sequence[Row], calibrations: Mapping[str, Sequence[Row]], out: str | Path, theme: Theme = LIGHT
) -> Path:
    """The ROC curve, noise removed against signal kept, and the share of signal against the score.

    Args:
        curves: points of each denoiser: ``name``, ``kind`` (``bound`` is dashed in ink), shares ``signal_kept`` and
            ``noise_removed``. Written beside the picture as CSV.
        calibrations: rows of :func:`~pointae.metrics.calibration` by the denoiser's name; written beside as
            ``..._calibration.csv``.
        out: of the PNG.
        theme: of the paper.

    Raises:
        DataError: no points.
        StorageError: the picture cannot be written.
    """
    out = Path(out)
    looks = _looks(curves, theme)
    with matplotlib.rc_context(theme.style):
        figure = Figure(figsize=(14.5, 4.6), layout="constrained")
        roc, removed, worth = figure.subplots(1, 3)
        for name, look in looks.items():
            own = [row for row in curves if row["name"] == name]
            kept = [100 * row["signal_kept"] for row in own]
            left = [max(100 * (1 - row["noise_removed"]), LEAST_LEFT / 10) for row in own]
            roc.plot(left, kept, **look)
            removed.plot(kept, left, label=legend_name(name), **look)
            if name in calibrations:
                rows = [row for row in calibrations[name] if row["hits"]]
                x, y = ([100 * row[key] for row in rows] for key in ("mean_score", "signal_share"))
                worth.errorbar(x, y, [100 * row["error"] for row in rows], marker="o", markersize=4.5, **look)
        _roc_axes(roc)
        _removed_axes(removed, _end_of(curves))
        (line,) = worth.plot((0, 100), (0, 100), ":", color=theme.ink, linewidth=1.2)
        # Above the panel: inside, a run's curve may lie anywhere.
        worth.legend([line], ["calibrated"], loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        worth.set(
            xlim=(-2, 102), ylim=(-2, 102), xlabel="mean score [%]", ylabel="hits of this score that are signal [%]"
        )
        figure.legend(loc="outside lower center", ncols=min(len(looks), 6))
    save_picture(figure, out)
    write_table(theme.table_beside(out), curves)
    scores = [{"name": name, **row} for name, rows in calibrations.items() for row in rows]
    write_table(theme.table_beside(out, "calibration"), scores)
    return out


def _roc_axes(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set(xlim=(LEAST_LEFT / 10, 100), ylim=(0, 101), xlabel="noise kept [%]", ylabel="signal kept [%]")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _end_of(curves: Sequence[Row]) -> float:
    """Percent of noise left at which the axis ends: there are tasks in which hardly any noise can be removed."""
    left = [100 * (1 - row["noise_removed"]) for row in curves if 100 * row["signal_kept"] >= LEAST_KEPT]
    least = min((share for share in left if share == share), default=LEAST_LEFT)
    return next((end for end in _ENDS if end < least), LEAST_LEFT)


def _removed_axes(axes: Any, end: float) -> None:
    # What is left, on a log axis that runs downwards, told as what was removed: 99 and 99.9 % are far apart.
    axes.set_yscale("log")
    axes.set(xlim=(LEAST_KEPT, 100), ylim=(100, end), xlabel="signal kept [%]", ylabel="noise removed [%]")
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if end < 10 else range(1, 10)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - value:.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for share in (97, 99):
        axes.axvline(share, linestyle=":", linewidth=1, color=matplotlib.rcParams["axes.labelcolor"])


def _looks(curves: Sequence[Row], theme: Theme) -> dict[str, dict[str, Any]]:
    kinds = {str(row["name"]): row["kind"] for row in curves}
    if not kinds:
        raise DataError("there is nothing to draw: no points of curves")
    looks: dict[str, dict[str, Any]] = {}
    others = [name for name, kind in kinds.items() if kind != "bound"]
    for name, kind in kinds.items():
        bound = {"color": theme.ink, "linestyle": "--", "linewidth": 1.3}
        looks[name] = bound if kind == "bound" else line_look(others.index(name))
    return looks

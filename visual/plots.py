"""Curves of a training and charts that compare methods; the numbers lie beside each as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pointae.errors import DataError
from pointae.runs import write_table
from visual.colours import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION
from visual.static_view import FRAME, GRID, save_picture

PLOT_STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FRAME,
    "xtick.color": INK, "ytick.color": INK, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip
"""matplotlib settings of every curve and chart."""
_LOSSES = {"train_loss": ("training", BLUE, "o"), "validation_loss": ("validation", VERMILLION, "s")}
_BARS: dict[str, dict[str, Any]] = {
    "network": {"color": VERMILLION},
    "bound": {"facecolor": "white", "edgecolor": INK},
    "baseline": {"color": BLUE},
}
_SHARES = {
    "noise_removed_at_97": ("noise removed at 97 % signal kept", GREEN, "o"),
    "noise_removed_at_99": ("noise removed at 99 % signal kept", PURPLE, "s"),
    "signal_retention": ("signal kept at the run's threshold", ORANGE, "^"),
}


def plot_training(metrics_csv: str | Path, out: str | Path, loss: str = "loss") -> Path:
    """Loss, and shares of signal kept and noise removed, against the epoch.

    Args:
        metrics_csv: a run's ``metrics.csv``; of the columns ``epoch``, ``train_loss``,
            ``validation_loss``, ``noise_removed_at_97``, ``noise_removed_at_99`` and
            ``signal_retention`` what is there is drawn. Shares are in [0, 1].
        out: of the PNG.
        loss: what the loss is called, for the axis.

    Raises:
        DataError: a file without epochs.
        StorageError: the picture cannot be written.
    """
    columns = _read_columns(Path(metrics_csv))
    panels: list[tuple[str, dict[str, tuple[str, str, str]], float]] = [(loss, _LOSSES, 1.0), ("%", _SHARES, 100.0)]
    panels = [panel for panel in panels if any(name in columns for name in panel[1])]
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(5.6 * max(1, len(panels)), 3.9), layout="constrained")
        for i, (label, curves, factor) in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), i)
            for name in (name for name in curves if name in columns):
                _curve(axes, columns["epoch"], [factor * value for value in columns[name]], curves[name])
            axes.set_xlabel("epoch")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
    return save_picture(figure, Path(out))


def plot_comparison(rows: Sequence[Mapping[str, Any]], out: str | Path) -> Path:
    """Bars of the noise that each method removes at 97 % signal kept, best on top.

    Args:
        rows: one method each: ``name`` and ``noise_removed_at_97``, a share in [0, 1]; optionally
            ``kind``: a ``network`` is coloured apart from baselines; a ``bound`` is hollow, and a line
            at its end shows what is left to gain. Written beside the picture as CSV.
        out: of the PNG.

    Raises:
        DataError: no rows.
        StorageError: the picture cannot be written.
    """
    if not rows:
        raise DataError("there is nothing to compare: no rows")
    out = Path(out)
    ranked = sorted(rows, key=lambda row: -share if math.isfinite(share := _share_of(row)) else math.inf)
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(7.4, 1.3 + 0.5 * len(ranked)), layout="constrained")
        axes = figure.add_subplot()
        for place, row in enumerate(ranked):
            share = 100 * _share_of(row)
            axes.barh(place, share, height=0.62, **_BARS.get(str(row.get("kind")), _BARS["baseline"]))
            if row.get("kind") == "bound" and math.isfinite(share):
                axes.axvline(share, color=INK, linestyle="--", linewidth=1)
            text = f"{share:.1f} %" if math.isfinite(share) else "undefined"
            beside = 1 + (share if math.isfinite(share) else 0)
            # White behind the number: the bound's line may cross it.
            axes.text(beside, place, text, va="center", bbox={"color": "white", "pad": 1})
        axes.set_yticks(range(len(ranked)), [str(row["name"]) for row in ranked])
        axes.invert_yaxis()
        axes.set_xlim(0, 112)
        axes.set_xticks(range(0, 101, 20))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("noise removed at 97 % signal kept [%]")
    save_picture(figure, out)
    write_table(out.with_suffix(".csv"), ranked)
    return out


def _share_of(row: Mapping[str, Any]) -> float:
    value = row["noise_removed_at_97"]
    return math.nan if value is None else float(value)


def _curve(axes: Any, epochs: list[float], values: list[float], look: tuple[str, str, str]) -> None:
    name, colour, marker = look
    # Long trainings as lines alone: markers would run together.
    axes.plot(epochs, values, color=colour, marker=marker if len(epochs) <= 40 else "", markersize=4.5, label=name)


def _read_columns(path: Path) -> dict[str, list[float]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0]:
        raise DataError("holds no epochs to draw", where=path)
    return {name: [_number(row[name]) for row in rows] for name in rows[0] if name in {"epoch", *_LOSSES, *_SHARES}}


def _number(text: str | None) -> float:
    return float(text) if text not in (None, "") else math.nan

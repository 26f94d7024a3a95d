"""Noise removed against signal kept, on a real recording with injected noise; the numbers beside it as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from pointae.errors import DataError
from pointae.storage import write_table
from visual.pictures.events import save_picture
from visual.plots.charts import line_look
from visual.plots.theme import LIGHT, Theme


def plot_recording(rows: Sequence[Mapping[str, Any]], out: str | Path, theme: Theme = LIGHT) -> Path:
    """A line for each method with a band of one standard deviation over its seeds; the limit dashed.

    Args:
        rows: of :func:`~pointae.analysis.recording.judge_recording`. Written beside the picture as CSV.
        out: of the PNG.
        theme: of the paper.

    Raises:
        DataError: no rows.
        StorageError: the picture cannot be written.
    """
    if not rows:
        raise DataError("there is nothing to draw: no rows")
    out = Path(out)
    methods = dict.fromkeys(_method(row) for row in rows)
    number = 0
    with matplotlib.rc_context(theme.style):
        figure = Figure(figsize=(7.6, 4.8), layout="constrained")
        axes = figure.add_subplot()
        for method in methods:
            own = [row for row in rows if _method(row) == method]
            kind, name, given, _ = method
            kept, removed = ([100 * row[key] for row in own] for key in ("signal_kept", "noise_removed"))
            if kind == "bound":
                axes.plot(kept, removed, "--", color=theme.ink, label=name)
                continue
            look = line_look(number)
            number += 1
            axes.plot(kept, removed, label=f"{name}, given {given}", **look)
            error = [100 * (row["noise_removed_error"] or 0.0) for row in own]
            low, high = ([r + sign * e for r, e in zip(removed, error, strict=True)] for sign in (-1, 1))
            axes.fill_between(kept, low, high, color=look["color"], alpha=0.2, linewidth=0)
        axes.set(xlim=(50, 100), ylim=(0, 101), xlabel="signal kept [%]", ylabel="noise removed [%]")
        figure.legend(loc="outside right upper")
    save_picture(figure, out)
    write_table(theme.table_beside(out), rows)
    return out


def _method(row: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return row["kind"], row["name"], row["given"], row["seeds"]

"""The course of a training: losses, figures, kept hits, raw outputs; the numbers lie beside the picture as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pointae.config import Config, LossSettings
from pointae.errors import DataError
from pointae.results import read_metrics, read_outputs
from pointae.runs import RunDirectory
from pointae.storage import write_table
from pointae.terminal import progress
from visual.colours import BLUE, GREY, ORANGE, VERMILLION
from visual.pictures.events import save_picture
from visual.plots.charts import line_look
from visual.plots.theme import LIGHT, Theme

Row = dict[str, Any]

_SHARES = {
    "validation events [%]": {
        "noise_removed_at_97": "noise removed at 97 % signal kept",
        "noise_removed_at_99": "noise removed at 99 % signal kept",
        "roc_auc": "area under the ROC curve",
    },
    "at a score of 0.5 [%]": {
        "signal_retention": "signal kept",
        "noise_removed": "noise removed",
        "purity": "purity of what is kept",
        "f1": "F1",
    },
    "validation robots [%]": {
        "exact_accuracy": "made again exactly",
        "voxel_f1": "F1 of voxels",
        "category_f1": "F1 of their kinds",
        "validity": "made ones that are valid",
    },
    "voxels [%]": {"voxel_precision": "precision", "voxel_recall": "recall"},
    "F1 of voxels by kind [%]": {
        "wheel_f1": "wheels",
        "sensor_f1": "sensors",
        "joint_f1": "joints",
        "caster_f1": "casters",
    },
}
"""Shares that are drawn together, by the label of their axis."""
_COUNTS = ("signal_hits", "noise_hits", "signal_kept", "noise_kept")
_DRAWN = {
    "epoch", "seconds", "train_seconds", "learning_rate", "train_loss", "validation_loss", "threshold_at_97", "events",
    "snr_db_in", "snr_db_out", "robots", "true_voxels", *_COUNTS, *(name for part in _SHARES.values() for name in part),
}  # fmt: skip
"""Columns that have their place, or none; any other is a metric with a panel of its own."""

_LETTERS = 44
"""Of two entries of a legend that have room beside each other."""


@dataclass(frozen=True)
class Course:
    """A training so far.

    Args:
        rows: of ``metrics.csv``, an epoch each.
        outputs: of ``outputs.csv``; empty where the run keeps none.
        loss: what the loss is called.
        threshold: a score; ``None`` where none is known.
        name: of the run.
    """

    rows: list[Row]
    outputs: list[Row]
    loss: str
    threshold: float | None
    name: str = ""

    @classmethod
    def of(cls, run: RunDirectory) -> Course:
        """The course of a run.

        Raises:
            DataError: no epoch has ended.
        """
        rows = read_metrics(run)
        if not rows:
            raise DataError("holds no epochs to draw", where=run.metrics_path)
        outputs = read_outputs(run)
        record = run.record
        # Until the training ends, the run has no threshold of its own.
        own = record.threshold if record.status == "finished" else rows[-1].get("threshold_at_97")
        threshold = float(own) if own is not None and math.isfinite(own) else None
        return cls(rows, outputs, loss_label(run.config()), threshold, run.name)

    def column(self, name: str) -> list[float]:
        """Values of a column, an epoch each; ``nan`` where there are none."""
        return [float(row.get(name, math.nan)) for row in self.rows]

    def has(self, name: str) -> bool:
        """Whether any epoch has a value in that column."""
        return any(math.isfinite(value) for value in self.column(name))

    def seconds(self) -> list[float]:
        """Seconds since the start at the end of each epoch, pauses left out."""
        return list(accumulate(self.column("seconds")))

    def unit(self) -> tuple[str, float]:
        """The unit in which its time is read well, and the unit's seconds."""
        return next(
            (u, s) for u, s in (("h", 3600.0), ("min", 60.0), ("s", 1.0)) if self.seconds()[-1] >= 3 * s or s == 1
        )


def loss_label(config: Config) -> str:
    """What the training's loss is called: its name, or its weighted terms, and what is added to it."""
    parts = [_called(config.train.loss)]
    if config.model.latent.name == "variational":
        parts.append("KL")
    if getattr(config.model.encoder, "proposals", 0):
        parts.append("tracks")
    return " + ".join(parts)


def draw_training(run: RunDirectory, themes: Sequence[Theme] = (LIGHT,)) -> list[Path]:
    """Draw the course of a run into its folder of plots, ``training.png`` and ``training_dark.png``.

    Made to be called after each epoch: the progress bar names the plot that is being drawn.

    Raises:
        DataError: no epoch has ended.
        StorageError: a picture cannot be written.
    """
    course, paths = Course.of(run), []
    with progress("drawing", len(themes)) as advance:
        for theme in themes:
            path = run.plots / theme.file_name("training")
            advance(0, str(path))
            paths.append(plot_training(course, path, theme))
            advance(1, str(path))
    return paths


def plot_training(course: Course, out: str | Path, theme: Theme = LIGHT) -> Path:
    """Panels of what the course holds: losses against epoch and time, figures, hits, raw outputs, learning rate.

    Args:
        course: of a training.
        out: of the PNG; its rows are written beside it as CSV, the raw outputs as ``..._outputs.csv``.
        theme: of the paper.

    Raises:
        StorageError: the picture cannot be written.
    """
    out, panels = Path(out), _panels(course, theme)
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    with matplotlib.rc_context(theme.style):
        figure = Figure(figsize=(4.7 * columns, 3.5 * rows), layout="constrained")
        for place, panel in enumerate(panels, start=1):
            panel(figure.add_subplot(rows, columns, place))
        figure.suptitle(course.name)
    save_picture(figure, out, dpi=100)
    write_table(theme.table_beside(out), course.rows)
    if course.outputs:
        write_table(theme.table_beside(out, "outputs"), course.outputs)
    return out


def _panels(course: Course, theme: Theme) -> list[Callable[[Any], None]]:
    """Functions that each draw one panel, of what there is."""
    epochs, (unit, length) = course.column("epoch"), course.unit()
    times = [second / length for second in course.seconds()]
    parts = [name for name in course.rows[-1] if name.startswith("validation_") and name not in _DRAWN]
    raw, scaled = ([name for name in parts if name.endswith("_scaled") is added] for added in (False, True))
    further = [name for name in course.rows[-1] if name not in {*_DRAWN, *parts} and course.has(name)]
    found: list[tuple[bool, Callable[[Any], None]]] = [
        (True, lambda axes: _losses(axes, course, epochs, "epoch", theme)),
        (course.has("seconds"), lambda axes: _losses(axes, course, times, f"time [{unit}]", theme)),
        *((any(map(course.has, names)), partial(_shares, course, names, text)) for text, names in _SHARES.items()),
        (course.has("signal_kept"), lambda axes: _hits(axes, course, theme)),
        (course.has("snr_db_out"), lambda axes: _snr(axes, course, theme)),
        (bool(course.outputs), lambda axes: _outputs(axes, course, theme)),
        (any(map(course.has, raw)), partial(_terms, course, raw, "terms of the validation loss")),
        (any(map(course.has, scaled)), partial(_terms, course, scaled, "the same, as they are added")),
        *((True, partial(_terms, course, [name], _words(name))) for name in further),
        (course.has("learning_rate"), lambda axes: _rate(axes, course)),
    ]
    return [panel for there, panel in found if there]


def _losses(axes: Any, course: Course, x: Sequence[float], label: str, theme: Theme) -> None:
    values = [value for name in ("train_loss", "validation_loss") for value in course.column(name) if value == value]
    for name, text, colour, marker in (
        ("train_loss", "training", BLUE, "o"), ("validation_loss", "validation", VERMILLION, "s"),
    ):  # fmt: skip
        if course.has(name):
            _curve(axes, x, course.column(name), text, color=colour, marker=marker)
    validation = course.column("validation_loss")
    if course.has("validation_loss"):
        best = int(np.nanargmin(validation))
        axes.plot(x[best], validation[best], "o", color=theme.ink, markersize=10, fillstyle="none", label="best")
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
    if label != "epoch":
        axes.set_xlim(left=0)
    _finish(axes, label, f"loss: {course.loss}")


def _shares(course: Course, names: dict[str, str], label: str, axes: Any) -> None:
    for number, (name, text) in enumerate((n, t) for n, t in names.items() if course.has(n)):
        percent = [100 * value for value in course.column(name)]
        _curve(axes, course.column("epoch"), percent, text, **line_look(number), marker="os^vDPX"[number % 7])
    _finish(axes, "epoch", label)


def _hits(axes: Any, course: Course, theme: Theme) -> None:
    epochs, events = course.column("epoch"), np.array(course.column("events"))
    hits = {name: np.array(course.column(name)) / events for name in _COUNTS}
    kept = hits["signal_kept"] + hits["noise_kept"]
    removed = hits["signal_hits"] + hits["noise_hits"] - kept
    for values, text, look in (
        (removed, "removed", {"color": GREY, "marker": "v"}),
        (kept, "kept", {"color": VERMILLION, "marker": "o"}),
        (hits["signal_kept"], "kept, of them signal", {"color": BLUE, "marker": "^"}),
    ):
        _curve(axes, epochs, values, text, **look)
    axes.plot(epochs, hits["signal_hits"], ":", color=theme.ink, linewidth=1.6, label="true signal")
    axes.set_ylim(bottom=0)
    _finish(axes, "epoch", "hits an event, at a score of 0.5")


def _snr(axes: Any, course: Course, theme: Theme) -> None:
    _curve(axes, course.column("epoch"), course.column("snr_db_out"), "after", color=VERMILLION, marker="o")
    axes.plot(course.column("epoch"), course.column("snr_db_in"), ":", color=theme.ink, linewidth=1.6, label="before")
    _finish(axes, "epoch", "SNR [dB], at a score of 0.5")


def _outputs(axes: Any, course: Course, theme: Theme) -> None:
    edges = [row["low"] for row in course.outputs] + [course.outputs[-1]["high"]]
    for name, colour in (("noise", GREY), ("signal", VERMILLION)):
        counts = [row[name] for row in course.outputs]
        axes.stairs(counts, edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(counts, edges, color=colour, linewidth=1.4, label=name)
    filled = [row for row in course.outputs if row["signal"] + row["noise"]] or course.outputs
    axes.set_xlim(filled[0]["low"] - 0.5, filled[-1]["high"] + 0.5)
    if course.threshold is not None:
        cut = math.log(max(course.threshold, 1e-30) / max(1 - course.threshold, 1e-30))
        axes.axvline(cut, color=theme.ink, linestyle="--", linewidth=1.2, label=f"threshold {course.threshold:.3g}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    _finish(axes, "raw output (logit of the score)", "validation hits", whole=False)


def _rate(axes: Any, course: Course) -> None:
    _curve(axes, course.column("epoch"), course.column("learning_rate"), "", color=ORANGE, marker="o")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    _finish(axes, "epoch", "learning rate at the epoch's end")


def _terms(course: Course, names: Sequence[str], label: str, axes: Any) -> None:
    for number, name in enumerate(names):
        text = _words(name.removeprefix("validation_").removesuffix("_scaled")) if len(names) > 1 else ""
        _curve(
            axes, course.column("epoch"), course.column(name), text, **line_look(number), marker="os^vDPX"[number % 7]
        )
    if all(value > 0 for name in names for value in course.column(name)) and len(names) > 1:
        axes.set_yscale("log")
    _finish(axes, "epoch", label)


def _curve(axes: Any, x: Any, y: Any, label: str, marker: str, **look: Any) -> None:
    # Long trainings as lines alone: markers would run together.
    axes.plot(x, y, marker=marker if len(x) <= 40 else "", markersize=4.5, label=label, **look)


def _finish(axes: Any, x: str, y: str, whole: bool = True) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if whole and x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lengths = sorted(len(text) for text in axes.get_legend_handles_labels()[1] if text and not text.startswith("_"))
    if lengths:
        # Above the panel: curves may lie anywhere inside. No wider than it: panels of other columns would shrink.
        columns = 2 if sum(lengths[-2:]) <= _LETTERS else 1
        axes.legend(
            fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0
        )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _called(loss: LossSettings) -> str:
    if not loss.terms:
        return loss.name
    return " + ".join(f"{term.weight:g} {term.name}" for term in loss.terms)

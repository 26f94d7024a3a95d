"""What runs came to, side by side: figures that their trainings and evaluations kept, ranked, and as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pointae.attempts import Each, strictly
from pointae.file_names import names_of
from pointae.geometry import differences_of
from pointae.record import standing
from pointae.results import check_evaluated, read_judged, read_metrics
from pointae.runs import RunDirectory
from pointae.terminal import TextTable, command_line

Row = dict[str, Any]

RANKED_BY = ("noise_removed_at_97", "exact_accuracy", "validation noise_removed_at_97", "validation exact_accuracy")
"""A run is ranked by the first of these that any run has; higher is better."""
SAME_EVENTS = ("events", "signal_hits", "noise_hits", "robots", "true_voxels")
"""Counts that agree where runs were judged on the same events."""
HEADINGS = {
    "noise_removed_at_97": "noise removed at 97 % signal kept",
    "noise_removed_at_99": "noise removed at 99 % signal kept",
    "signal_retention": "at the threshold: signal kept",
    "noise_removed": "noise removed",
    "noise_kept_per_event": "noise hits left an event",
    "purity": "purity",
    "snr_db_in": "SNR before, dB",
    "snr_db_out": "SNR after, dB",
    "roc_auc": "ROC AUC",
    "exact_accuracy": "exact robots",
    "voxel_f1": "voxel F1",
    "category_f1": "category F1",
    "validity": "valid robots",
    "validation noise_removed_at_97": "at 97 % in validation",
    "validation exact_accuracy": "exact in validation",
    "validation_loss": "validation loss",
    "parameters": "parameters",
    "epochs": "epochs",
    "seconds": "training s",
    "events_per_second": "events/s",
    "robots_per_second": "robots/s",
}
"""Figures in the order of a table's columns, and how these are headed."""
_OF_RUNS = ("validation noise_removed_at_97", "validation exact_accuracy", "validation_loss", "parameters", "epochs",
            "seconds")  # fmt: skip
_OF_DETAIL = ("noise_kept_per_event", "purity", "snr_db_in")
_JUDGED = [name for name in HEADINGS if name not in _OF_RUNS]
_RANKING = [name for name in HEADINGS if name not in _OF_DETAIL]
_BRIEF = [
    "noise_removed_at_97", "noise_removed_at_99", "roc_auc", "exact_accuracy", "voxel_f1", "category_f1",
    "validation noise_removed_at_97", "validation exact_accuracy", "parameters", "seconds",
]  # fmt: skip
_FORMATS = {"snr_db_in": ".1f", "snr_db_out": ".1f", "roc_auc": ".3f", "noise_kept_per_event": ".1f",
            "validation_loss": ".4g"}  # fmt: skip
_COUNTS = ("parameters", "epochs", "seconds", "events_per_second", "robots_per_second")


def compare_runs(runs: Sequence[RunDirectory], each: Each = strictly) -> list[Row]:
    """The figures of runs, the best first.

    Args:
        runs: finished or not, judged or not; what a run has not is left out of its row.
        each: in what each run is read.

    Returns:
        a row a run: ``name`` (of its directory; where two are alike, the path), ``status``, ``network``, ``loss``,
        figures of its evaluation under their own names, those of its best epoch as ``validation ...``, and what it
        took.

    Raises:
        UsageError: a run is named twice.
        CheckpointError: a run's files cannot be read.
    """
    names = names_of([run.path for run in runs])
    rows = []
    for name, run in zip(names, runs, strict=True):
        with each(run.path):
            check_evaluated(run)
            rows.append({"name": name, **_figures_of(run)})
    key = next((name for name in RANKED_BY if any(_known(row.get(name)) for row in rows)), None)
    return sorted(rows, key=lambda row: -row[key] if key and _known(row.get(key)) else math.inf)


def notes_on(rows: Sequence[Row]) -> list[str]:
    """What a reader of a ranking must know: trainings that did not end, runs not judged, or judged on other events."""
    notes = [f"{row['name']}: {told}" for row in rows if (told := standing(row["status"], row["epochs"])) is not None]
    judged = [row for row in rows if any(_known(row.get(name)) for name in RANKED_BY[:2])]
    for row in rows:
        if row not in judged and row["epochs"]:
            notes.append(f"{row['name']} was not judged on test events: {command_line('evaluate', row['path'])}")
    events = {tuple(row.get(name) for name in SAME_EVENTS) for row in judged}
    if len(events) > 1:
        notes.append("The runs were judged on different events: their figures are not of the same task.")
    return notes


def grid_notes(runs: Sequence[RunDirectory]) -> list[str]:
    """What a reader must know of runs whose bins are not those of the first: their figures are not of the same task."""
    grids = [(run, kept.geometry()) for run in runs if (kept := run.record.geometry) is not None]
    notes = []
    for run, grid in grids[1:]:
        found = differences_of(grid, grids[0][1])
        if found:
            told = "; ".join(f"{what} {here} and {there}" for what, here, there in found)
            notes.append(f"{run.path} and {grids[0][0].path} were trained on different grids: {told}")
    return notes


def ranking_table(rows: Sequence[Row], brief: bool = False) -> TextTable:
    """The ranking of :func:`compare_runs` as it is shown; ``brief`` fits a terminal."""
    names = [name for name in (_BRIEF if brief else _RANKING) if any(_known(row.get(name)) for row in rows)]
    texts = ("name",) if brief else ("name", "network")
    return TextTable(
        "runs, the best first",
        ("", *(name.replace("name", "run") for name in texts), *(HEADINGS[name] for name in names)),
        tuple(
            (str(place), *(row[name] for name in texts), *(text_of(name, row.get(name)) for name in names))
            for place, row in enumerate(rows, start=1)
        ),
    )


def judged_table(run: RunDirectory) -> TextTable | None:
    """A run beside the oracle and the baselines, as its evaluation found them; ``None`` before there is one."""
    figures = read_judged(run)
    if not figures:
        return None
    methods = {name: own for name, own in figures.items() if name != "pattern"}
    names = [name for name in _JUDGED if any(_known(own.get(name)) for own in methods.values())]
    first = next(iter(methods.values()))
    title = ", ".join(f"{first[name]:,} {name.replace('_', ' ')}" for name in SAME_EVENTS if first.get(name))
    rows = [(HEADINGS[name], *(text_of(name, own.get(name)) for own in methods.values())) for name in names]
    made = figures.get("pattern") or {}
    rows += [
        (f"generated pattern: {name.replace('_', ' ')}", _number(value), *[""] * (len(methods) - 1))
        for name, value in made.items()
        if _known(value)
    ]
    return TextTable(title, ("", *methods), tuple(rows))


def text_of(name: str, value: Any) -> str:
    """A figure as it is shown: shares in percent, counts whole; nothing where there is none."""
    if not _known(value):
        return ""
    if name in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:{_FORMATS.get(name, '.1%')}}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _figures_of(run: RunDirectory) -> Row:
    config, record = run.config(), run.record
    model = config.model
    epochs = read_metrics(run)
    losses = [(row["validation_loss"], i) for i, row in enumerate(epochs) if _known(row.get("validation_loss"))]
    best = epochs[min(losses)[1]] if losses else {}
    validation = {f"validation {name}": best.get(name) for name in ("noise_removed_at_97", "exact_accuracy")}
    judged = read_judged(run).get("network", {})
    return {
        "path": str(run.path),
        "status": run.status,
        "network": f"{model.encoder.name}, {model.latent.name}, {model.decoder.name}",
        "loss": config.train.loss.name,
        **{name: value for name, value in judged.items() if isinstance(value, (int, float))},
        **validation,
        "validation_loss": best.get("validation_loss"),
        "parameters": record.parameters,
        "epochs": len(epochs),
        "seconds": sum(row["seconds"] for row in epochs if _known(row.get("seconds"))),
    }


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)

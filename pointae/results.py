"""What trainings and evaluations came to, read again from their runs: each table once it is known to be one."""

from __future__ import annotations

import math
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pointae.documents import first_problem
from pointae.errors import CheckpointError, DataError
from pointae.runs import RunDirectory
from pointae.storage import read_json, read_table
from pointae.terminal import command_line

Row = dict[str, Any]

TABLES = {
    "table": (("name", "kind"), ("noise_removed_at_97",)),
    "curves": (("name", "kind"), ("signal_kept", "noise_removed")),
    "calibration": ((), ("hits", "mean_score", "signal_share", "error")),
    "ranked": (("rank",), ("event", "f1")),
}
"""Tables of an evaluation that are read again: columns of words, and of numbers that must be there."""
_OUTPUTS = ("low", "high", "signal", "noise")
_FIGURES = TypeAdapter(dict[str, dict[str, int | float | dict[str, Any] | None]])


def read_metrics(run: RunDirectory) -> list[Row]:
    """The rows of ``metrics.csv``, one an epoch; none before the first epoch ended.

    Raises:
        DataError: it is not as the training wrote it.
    """
    path = run.metrics_path
    rows = read_table(path, needed=("epoch",)) if path.exists() else []
    for number, row in enumerate(rows, start=1):
        if row["epoch"] != number:
            what = f"row {number} is of epoch {row['epoch']:g}; rows are those of epochs 1, 2, ..."
            raise DataError(what, where=path, fix=f"{command_line('train', '--resume', run.path)} writes it anew")
    return rows


def read_outputs(run: RunDirectory) -> list[Row]:
    """The rows of ``outputs.csv``, bins of :func:`~pointae.metrics.output_histogram`; none where the run keeps none.

    Raises:
        DataError: it is not as the training wrote it.
    """
    path = run.outputs_path
    rows = read_table(path, needed=_OUTPUTS) if path.exists() else []
    for number, row in enumerate(rows, start=1):
        if not all(math.isfinite(row[name]) for name in _OUTPUTS) or row["low"] >= row["high"]:
            raise DataError(f"row {number} is no bin of a histogram", where=path, fix="make it anew")
    return rows


def read_evaluated(run: RunDirectory, name: str) -> list[Row]:
    """The rows of one of :data:`TABLES` of an evaluation; none before there is one.

    Raises:
        DataError: it is not as an evaluation wrote it.
    """
    path = run.evaluation_table(name)
    texts, numbers = TABLES[name]
    return read_table(path, texts, (*texts, *numbers)) if path.exists() else []


def check_evaluated(run: RunDirectory) -> None:
    """Read every table of an evaluation.

    Raises:
        DataError: one is not as an evaluation wrote it.
    """
    for name in TABLES:
        read_evaluated(run, name)


def read_judged(run: RunDirectory) -> dict[str, Row]:
    """Figures, and nested settings, by the name of what was judged; empty before an evaluation.

    Raises:
        DataError: they are not as an evaluation wrote them.
    """
    path = run.judged_path
    if not path.exists():
        return {}
    try:
        return _FIGURES.validate_python(read_json(path), strict=True)
    except ValidationError as error:
        problem = f"holds no figures: {first_problem(error)}"
    except CheckpointError as error:
        problem = error.what
    raise DataError(problem, where=path, fix=f"make it anew: {command_line('evaluate', run.path)}")

"""One number for an epoch, and for a trial: how good it is, lower is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointae.config import ScoreSettings
from pointae.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Best:
    """The best epoch of a trial.

    Args:
        epoch: counted from 1.
        score: its :func:`trade_off`.
        loss, f1: of that epoch; ``nan`` where the score does without.
    """

    epoch: int
    score: float
    loss: float
    f1: float


def trade_off(row: Mapping[str, Any], settings: ScoreSettings) -> float:
    """``a loss + (1 - a) (1 - f1)`` of an epoch; what has no weight need not be there.

    Args:
        row: of ``metrics.csv``.
        settings: weight and names of the columns.

    Raises:
        UsageError: a column that the run does not have.
    """
    loss = settings.a * _column(row, settings.loss, "loss") if settings.a > 0 else 0.0
    return loss + ((1 - settings.a) * (1 - _column(row, settings.f1, "f1")) if settings.a < 1 else 0.0)


def best_epoch(rows: Sequence[Mapping[str, Any]], settings: ScoreSettings) -> Best | None:
    """The first epoch with the lowest score; ``None`` where no score is a finite number.

    Raises:
        UsageError: as :func:`trade_off`.
    """
    scores = [trade_off(row, settings) for row in rows]
    finite = [score for score in scores if math.isfinite(score)]
    if not finite:
        return None
    row = rows[scores.index(min(finite))]
    loss, f1 = (float(row.get(name, math.nan)) for name in (settings.loss, settings.f1))
    return Best(int(row["epoch"]), min(finite), loss, f1)


def _column(row: Mapping[str, Any], name: str, role: str) -> float:
    if name not in row:
        error = unknown_name("column of metrics.csv", name, row)
        raise UsageError(error.what, where=f"score.{role}", fix=error.fix)
    return float(row[name])

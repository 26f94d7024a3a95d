"""Which score keeps which share of the signal: fixed on validation events, asked for at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pointae.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

RETENTIONS = (*(percent / 100 for percent in range(90, 100)), 0.995)
"""Shares of signal whose threshold every run keeps."""
FEW = 3
"""Signal hits that should fall below a threshold, for the share above it to be known."""


def thresholds_by_retention(score: Tensor, signal: Tensor, own: float) -> dict[float, float]:
    """The threshold of each of :data:`RETENTIONS` and of ``own``; ascending retention, so falling threshold.

    Args:
        score: (N,) float in [0, 1], of validation hits.
        signal: (N,) bool, truth.
        own: the retention that the config asks for.

    Returns:
        thresholds by retention; empty where there is no signal.
    """
    from pointae.metrics import cut_at_retention  # torch: what is opened is judged before that is loaded

    if not bool(signal.any()):
        return {}
    return {retention: cut_at_retention(score, signal, retention) for retention in sorted({*RETENTIONS, own})}


def weak_basis(signal_hits: int, retention: float) -> str | None:
    """Why the share of signal that a threshold keeps is not known; ``None`` where it is.

    Args:
        signal_hits: of the validation events that the threshold was fixed on.
        retention: share that it should keep.
    """
    if not signal_hits:
        return "there was no signal in validation to fix the threshold on"
    if signal_hits * (1 - retention) < FEW:
        hits = "1 signal hit" if signal_hits == 1 else f"{signal_hits} signal hits"
        return f"the threshold rests on {hits} of validation, too few to know which share of signal it keeps"
    return None


def check_threshold(threshold: float) -> float:
    """The same threshold, if scores can be compared with it.

    Raises:
        UsageError: it is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"the threshold must be between 0 and 1, as scores are, got {threshold:g}")
    return threshold


def threshold_at(thresholds: Mapping[float, float], retention: float) -> float:
    """The threshold that keeps ``retention`` of the signal: exact where one is kept, between two of them linear.

    Args:
        thresholds: by retention, from :func:`thresholds_by_retention`.
        retention: share of signal to keep.

    Raises:
        CheckpointError: no thresholds are kept.
        UsageError: ``retention`` is outside of those kept; nothing is extrapolated.
    """
    if not thresholds:
        raise CheckpointError(
            "keeps no thresholds by retention: it is older than they are, or had no signal to fix them on",
            fix="go on with the run (tools/train.py --resume RUN) or retrain it, or give --threshold instead",
        )
    known = sorted(thresholds)
    if not known[0] <= retention <= known[-1]:
        raise UsageError(
            f"a retention of {retention:g} is not between {known[0]:g} and {known[-1]:g}, where thresholds are kept",
            fix="ask for one in between, or give --threshold",
        )
    return float(np.interp(retention, known, [thresholds[each] for each in known]))

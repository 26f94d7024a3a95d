"""The choice of a filter's settings, on labelled validation events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from pointae.classical.measures import Scale, window_crowding
from pointae.errors import DataError
from pointae.geometry import Axis
from pointae.hits import HitBatch
from pointae.metrics.scores import cut_at_retention, noise_removed_at

TUNING_HITS = 40_000
"""Hits of whole validation events that a search looks at; with more the choice hardly changes."""


NEIGHBOURS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
"""Numbers of neighbours tried."""


def tuning_events(validation: HitBatch) -> HitBatch:
    """The first events of a labelled batch, enough to tune on.

    Raises:
        DataError: the events carry no truth.
    """
    if validation.signal is None:
        raise DataError("a baseline is tuned on labelled events, these carry no 'signal'")
    enough = int((validation.offsets < TUNING_HITS).sum())
    return validation.events(slice(0, enough))


def tune_distance(
    measure: Callable[[HitBatch, Scale, Sequence[int]], np.ndarray], events: HitBatch, retention: float
) -> tuple[int, Scale]:
    """The number of neighbours and the scales of y and t (x stays 1) that remove the most noise.

    A coarse grid over both scales, then the best of its neighbourhood, ever finer.

    Args:
        measure: distances of hits for a scale and some numbers of neighbours, (N, K).
        events: labelled; without signal or without noise the first choice is as good as any.
        retention: share of signal that must stay.
    """
    tried: dict[Scale, tuple[float, int]] = {}

    def removed(scale: Scale) -> float:
        if scale not in tried:
            distances = measure(events, scale, NEIGHBOURS)
            shares = [noise_removed(1 / (1 + column), events, retention) for column in distances.T]
            tried[scale] = max(zip(shares, NEIGHBOURS, strict=True))
        return tried[scale][0]

    grid: list[Scale] = [(1.0, 4.0**y, 4.0**t) for y in range(-1, 3) for t in range(-1, 9)]
    best = max(grid, key=removed)
    for step in (2.0, 2.0, 2**0.5, 2**0.5):
        x, y, t = best
        best = max([best, (x, y, t * step), (x, y, t / step), (x, y * step, t), (x, y / step, t)], key=removed)
    return tried[best][1], best


def tune_window(events: HitBatch, retention: float) -> float:
    """The time window, from one step to half the axis, that removes the most noise."""
    windows = time_windows(events.geometry.t)
    return max(windows, key=lambda window: noise_removed(share_of(window_crowding(events, window)), events, retention))


def time_windows(axis: Axis) -> list[float]:
    """Widths that are tried, in the time axis' unit, from one step to half of it."""
    return np.geomspace(axis.width, max((axis.high - axis.low) / 2, axis.width), 24).tolist()


def noise_removed(score: np.ndarray, events: HitBatch, retention: float) -> float:
    """Share of noise below the cut that keeps ``retention`` of the signal; 0 where undefined."""
    assert events.signal is not None
    removed = noise_removed_at(torch.from_numpy(score), events.signal.cpu(), retention)
    return 0.0 if np.isnan(removed) else removed


def radius_at(distance: np.ndarray, events: HitBatch, retention: float) -> float:
    """The distance within which ``retention`` of the signal lies; 1 where there is no such number."""
    cut = _cut(1 / (1 + distance), events, retention)
    return 1 / cut - 1 if 0 < cut < 1 else 1.0


def level_at(crowding: np.ndarray, events: HitBatch, retention: float) -> float:
    """The crowding that ``retention`` of the signal has; 1 where there is no such number."""
    cut = _cut(share_of(crowding), events, retention)
    return cut / (1 - cut) if 0 < cut < 1 else 1.0


def _cut(score: np.ndarray, events: HitBatch, retention: float) -> float:
    assert events.signal is not None
    return cut_at_retention(torch.from_numpy(score), events.signal.cpu(), retention)


def share_of(count: np.ndarray) -> np.ndarray:
    """n / (1 + n): a count as a share in [0, 1), in the same order."""
    return count / (1 + count)

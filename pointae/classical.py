"""Classical noise filters: the honest baselines in the table of the networks.

Each gives every hit a score in [0, 1], higher = more like signal, 0 where nothing speaks for the
hit, so that the cuts and metrics of a network apply. Each is tuned on labelled validation events,
for the most noise removed at a given signal retention; 0.5 is the cut that keeps that retention
there.

Example:
    >>> baseline = BASELINES["knn_density"](retention=0.97).fit(validation)
    >>> hits = hits.replace(score=baseline.score(hits))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.metrics.nearest import nearest_in_event
from pointae.metrics.per_hit import cut_at_retention, noise_removed_at

TUNING_HITS = 40_000
"""Hits of whole validation events that a search looks at; with more the choice hardly changes."""

Scale = tuple[float, float, float]


class Baseline(Protocol):
    """A filter that can be tuned and can score hits."""

    retention: float

    def fit(self, validation: HitBatch) -> Baseline:
        """Tune on labelled events; returns itself."""

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 in [0, 1], higher = more like signal."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""


@dataclass
class KnnDensity:
    """Density of hits around a hit: the distance d to its k-th nearest neighbour in the event.

    The score is ``r / (r + d)``, of the same order as -d; d in unit positions (edges of the
    detector at -1 and 1) times a scale for each axis.

    Args:
        retention: share of signal that must stay, for the tuning.
        neighbours: k; tuned.
        scale: of (x, y, t); tuned.
        radius: r, the distance of the tuned cut.
    """

    retention: float = 0.97
    neighbours: int = 3
    scale: Scale = (1.0, 1.0, 1.0)
    radius: float = 1.0

    def fit(self, validation: HitBatch) -> KnnDensity:
        """Choose k, the scales and the radius on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = _tuning_events(validation)
        self.neighbours, self.scale = _tune_distance(neighbour_distance, events, self.retention)
        self.radius = _radius_at(self._distance(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 where the event has fewer than k others."""
        return _as_score(1 / (1 + self._distance(hits) / self.radius), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"neighbours": self.neighbours, "scale": list(self.scale), "radius": self.radius}

    def _distance(self, hits: HitBatch) -> np.ndarray:
        return neighbour_distance(hits, self.scale, (self.neighbours,))[:, 0]


@dataclass
class Dbscan:
    """DBSCAN: the radius eps at which a hit first belongs to a cluster.

    The score is ``r / (r + eps)``, so a cut on it keeps exactly the hits that DBSCAN at that eps
    does not call noise. From Ester et al., `A Density-Based Algorithm for Discovering Clusters
    (KDD 1996) <https://dl.acm.org/doi/10.5555/3001460.3001507>`_.

    Args:
        retention: share of signal that must stay, for the tuning.
        min_samples: hits within eps, itself among them, that make a hit a core; tuned.
        scale: of (x, y, t) in unit positions; tuned.
        radius: r, the eps of the tuned cut.
    """

    retention: float = 0.97
    min_samples: int = 4
    scale: Scale = (1.0, 1.0, 1.0)
    radius: float = 1.0

    def fit(self, validation: HitBatch) -> Dbscan:
        """Choose min_samples, the scales and the radius on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = _tuning_events(validation)
        others, self.scale = _tune_distance(cluster_radius, events, self.retention)
        self.min_samples = others + 1
        self.radius = _radius_at(self._eps(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 where the event has fewer than min_samples hits."""
        return _as_score(1 / (1 + self._eps(hits) / self.radius), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"min_samples": self.min_samples, "scale": list(self.scale), "radius": self.radius}

    def _eps(self, hits: HitBatch) -> np.ndarray:
        return cluster_radius(hits, self.scale, (self.min_samples - 1,))[:, 0]


@dataclass
class TimeWindow:
    """Crowding in time: how many other hits n of the event share a sliding window with a hit.

    The score is ``n / (n + level)``.

    Args:
        retention: share of signal that must stay, for the tuning.
        window: width, in the time axis' unit; ``None``: a tenth of the axis. Tuned.
        level: n of the tuned cut.
    """

    retention: float = 0.97
    window: float | None = None
    level: float = 1.0

    def fit(self, validation: HitBatch) -> TimeWindow:
        """Choose the window, from one step to half the time axis, and the level on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = _tuning_events(validation)
        axis = events.geometry.t
        best = -1.0
        for window in np.geomspace(axis.width, max((axis.high - axis.low) / 2, axis.width), 24).tolist():
            removed = _noise_removed(_share_of(window_crowding(events, window)), events, self.retention)
            if removed > best:
                best, self.window = removed, window
        self.level = _level_at(self._crowding(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 for a hit alone in its window."""
        return _as_score(_share_of(self._crowding(hits) / self.level), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"window": self.window, "level": self.level}

    def _crowding(self, hits: HitBatch) -> np.ndarray:
        axis = hits.geometry.t
        return window_crowding(hits, (axis.high - axis.low) / 10 if self.window is None else self.window)


BASELINES: dict[str, Callable[..., Baseline]] = {
    "knn_density": KnnDensity,
    "dbscan": Dbscan,
    "time_window": TimeWindow,
}
"""Every baseline, by the name that settings use."""


# ---- what they measure -------------------------------------------------------------------------------


def neighbour_distance(hits: HitBatch, scale: Scale, neighbours: Sequence[int]) -> np.ndarray:
    """Distance from each hit to its k-th nearest other hit of the event.

    Args:
        hits: N hits.
        scale: of unit positions along (x, y, t).
        neighbours: K values of k.

    Returns:
        (N, K) float64; infinite where the event has too few hits.
    """
    return nearest_in_event(hits, hits, _per_unit(hits, scale), max(neighbours) + 1)[0][:, list(neighbours)]


def cluster_radius(hits: HitBatch, scale: Scale, neighbours: Sequence[int]) -> np.ndarray:
    """The smallest eps at which DBSCAN puts a hit in a cluster, as a core or at the edge of one.

    A hit i is a core at eps if ``k`` others lie within eps, that is from core(i), the distance to
    its k-th neighbour, on; it is in a cluster from ::

        eps(i) = min(core(i), min over hits j of max(core(j), distance(i, j)))

    on, where only the k nearest hits j can be less than core(i).

    Args:
        hits: N hits.
        scale: of unit positions along (x, y, t).
        neighbours: K values of k = min_samples - 1.

    Returns:
        (N, K) float64; infinite where the event has too few hits.
    """
    distance, row = nearest_in_event(hits, hits, _per_unit(hits, scale), max(neighbours) + 1)
    columns = []
    for k in neighbours:
        core = distance[:, k]
        core_of_neighbour = np.append(core, np.inf)[row[:, : k + 1]]  # (N, k + 1)
        through = np.maximum(core_of_neighbour, distance[:, : k + 1]).min(1)
        columns.append(np.minimum(core, through))
    return np.stack(columns, axis=1)


def window_crowding(hits: HitBatch, window: float) -> np.ndarray:
    """Other hits of the event in a time window that slides over each hit, averaged over its positions.

    That is the sum over the other hits of ``max(0, 1 - abs(dt) / window)``.

    Args:
        hits: N hits.
        window: width, in the time axis' unit.

    Returns:
        (N,) float64.
    """
    axis = hits.geometry.t
    time = axis.centres_of(hits.coords[:, 2]).cpu().numpy() - axis.low
    event = hits.batch.cpu().numpy()
    order = np.lexsort((time, event))
    time, key = time[order], (event * (axis.high - axis.low + 2 * window) + time)[order]
    sums = np.append(0, time.cumsum())
    here = np.searchsorted(key, key, side="right")
    first, last = np.searchsorted(key, key - window), np.searchsorted(key, key + window, side="right")
    past = (here - first) * (1 - time / window) + (sums[here] - sums[first]) / window
    future = (last - here) * (1 + time / window) - (sums[last] - sums[here]) / window
    crowding = np.empty(hits.num_hits)
    crowding[order] = np.maximum(past + future - 1, 0)  # a hit is no neighbour of itself
    return crowding


def _per_unit(hits: HitBatch, scale: Scale) -> list[float]:
    return [2 * factor / (axis.high - axis.low) for factor, axis in zip(scale, hits.geometry.axes, strict=True)]


# ---- tuning ------------------------------------------------------------------------------------------


def _tuning_events(validation: HitBatch) -> HitBatch:
    if validation.signal is None:
        raise DataError("a baseline is tuned on labelled events, these carry no 'signal'")
    enough = int((validation.offsets < TUNING_HITS).sum())
    return validation.events(slice(0, enough))


def _tune_distance(
    measure: Callable[[HitBatch, Scale, Sequence[int]], np.ndarray], events: HitBatch, retention: float
) -> tuple[int, Scale]:
    """The number of neighbours and the scales of y and t (x stays 1) that remove the most noise."""
    tried: dict[Scale, tuple[float, int]] = {}

    def removed(scale: Scale) -> float:
        if scale not in tried:
            distances = measure(events, scale, _NEIGHBOURS)
            shares = [_noise_removed(1 / (1 + column), events, retention) for column in distances.T]
            tried[scale] = max(zip(shares, _NEIGHBOURS, strict=True))
        return tried[scale][0]

    best: Scale = max([(1.0, 1.0, 4.0**power) for power in range(-2, 9)], key=removed)
    best = max([(1.0, 4.0**power, best[2]) for power in (0, -2, -1, 1, 2)], key=removed)
    for step in (2.0, 2.0, 2**0.5, 2**0.5):
        x, y, t = best
        around = [best, (x, y, t * step), (x, y, t / step), (x, y * step, t), (x, y / step, t)]
        best = max(around, key=removed)
    return tried[best][1], best


_NEIGHBOURS = (1, 2, 3, 4, 5, 6, 8, 10, 12)


def _noise_removed(score: np.ndarray, events: HitBatch, retention: float) -> float:
    assert events.signal is not None
    removed = noise_removed_at(torch.from_numpy(score), events.signal.cpu(), retention)
    return 0.0 if np.isnan(removed) else removed  # without signal or noise every choice is as good


def _radius_at(distance: np.ndarray, events: HitBatch, retention: float) -> float:
    """The distance within which ``retention`` of the signal lies; 1 where there is no such number."""
    cut = _cut(1 / (1 + distance), events, retention)
    return 1 / cut - 1 if 0 < cut < 1 else 1.0


def _level_at(crowding: np.ndarray, events: HitBatch, retention: float) -> float:
    """The crowding that ``retention`` of the signal has; 1 where there is no such number."""
    cut = _cut(_share_of(crowding), events, retention)
    return cut / (1 - cut) if 0 < cut < 1 else 1.0


def _cut(score: np.ndarray, events: HitBatch, retention: float) -> float:
    assert events.signal is not None
    return cut_at_retention(torch.from_numpy(score), events.signal.cpu(), retention)


def _share_of(count: np.ndarray) -> np.ndarray:
    return count / (1 + count)


def _as_score(score: np.ndarray, hits: HitBatch) -> Tensor:
    return torch.from_numpy(score).float().to(hits.device)

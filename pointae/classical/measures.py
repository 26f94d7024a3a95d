"""What the filters measure of each hit: distances and crowding inside its event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointae.hits import HitBatch
from pointae.metrics.nearest import nearest_in_event

Scale = tuple[float, float, float]
"""Factors of unit positions (edges of the detector at -1 and 1) along (x, y, t)."""


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

"""How well generated hits reproduce the true ones: pure functions.

A generated hit is no subset of the input, so it is judged by where it lies: in the pixel (x, y) of
a true hit of its event, and there within a tolerance in time. For the true hits that were missed
swap the two arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pointae.hits import HitBatch
from pointae.metrics.nearest import nearest_in_event
from pointae.metrics.per_hit import share
from pointae.voxels import pack_keys, voxel_indices


def nearest_in_pixel(query: HitBatch, reference: HitBatch) -> Tensor:
    """For each hit the hit of the reference in the same pixel of the same event that is nearest in time.

    Args:
        query: N hits of B events.
        reference: M hits of the same events, on the same grid.

    Returns:
        (N,) int64, rows of ``reference``; -1 where it has no hit in the pixel.
    """
    steps = query.geometry.spatial_shape[2]
    wanted = pack_keys(voxel_indices(query), query.geometry.spatial_shape)
    keys, order = pack_keys(voxel_indices(reference), reference.geometry.spatial_shape).sort()
    if not len(keys):
        return torch.full_like(wanted, -1)
    after = torch.searchsorted(keys, wanted)
    sides = torch.stack([after - 1, after]).clamp(0, len(keys) - 1)  # (2, N): last before, first at or after
    away = (keys[sides] - wanted).abs()
    away[keys[sides] // steps != wanted // steps] = steps
    nearest, side = away.min(0)
    row = order[sides.gather(0, side[None])[0]]
    return torch.where(nearest < steps, row, -1)


def false_positives_xy(generated: HitBatch, truth: HitBatch) -> Tensor:
    """Hallucinated hits: in a pixel where the event has no true hit.

    Args:
        generated: hits made by the model, B events.
        truth: true hits of the same events, on the same grid.

    Returns:
        (B,) int64, hits.
    """
    return _count(generated, nearest_in_pixel(generated, truth) < 0)


def false_positives_xyt(generated: HitBatch, truth: HitBatch, tolerance_bins: float = 0.5) -> Tensor:
    """Hallucinated hits, in time too: no true hit in the pixel within the tolerance.

    Args:
        generated, truth: as of :func:`false_positives_xy`.
        tolerance_bins: largest abs(dt), in steps of the time axis.

    Returns:
        (B,) int64, hits.
    """
    row = nearest_in_pixel(generated, truth)
    found = row >= 0
    away = torch.zeros(len(row), device=row.device)
    away[found] = (generated.coords[found, 2] - truth.coords[row[found], 2]).abs().to(away)
    return _count(generated, ~found | (away > tolerance_bins))


class TemporalRetention(NamedTuple):
    """Timing of the matched hits; the times are generated minus true, in the time axis' unit."""

    share: float
    median: float
    rms: float
    matched: int


def time_differences(generated: HitBatch, truth: HitBatch) -> tuple[Tensor, Tensor]:
    """Time of the nearest generated hit in the pixel minus time of the true hit, where there is one.

    Args:
        generated, truth: as of :func:`false_positives_xy`.

    Returns:
        steps: (M',) float64, in steps of the time axis, of the M' matched true hits.
        time: (M',) float64, in the time axis' unit.
    """
    row = nearest_in_pixel(truth, generated)
    made, true = generated.coords[row[row >= 0], 2], truth.coords[row >= 0, 2]
    axis = truth.geometry.t
    return (made - true).double(), axis.centres_of(made) - axis.centres_of(true)


def temporal_retention(generated: HitBatch, truth: HitBatch, tolerance_bins: float = 0.5) -> TemporalRetention:
    """Share of the matched true hits whose time is right, with median and RMS of the difference.

    A true hit is matched if a generated hit of its event lies in its pixel; the nearest in time
    counts. All events pooled.

    Args:
        generated, truth: as of :func:`false_positives_xy`.
        tolerance_bins: largest abs(dt) that is right, in steps of the time axis.

    Returns:
        share in [0, 1], median and rms in the time axis' unit, all ``nan`` if no hit is matched,
        and how many are.
    """
    return timing_of(*time_differences(generated, truth), tolerance_bins)


def timing_of(steps: Tensor, time: Tensor, tolerance_bins: float) -> TemporalRetention:
    """:func:`temporal_retention` of differences already taken by :func:`time_differences`."""
    if not len(steps):
        return TemporalRetention(float("nan"), float("nan"), float("nan"), 0)
    right = float((steps.abs() <= tolerance_bins).double().mean())
    return TemporalRetention(right, float(np.median(time.cpu())), float(time.square().mean().sqrt()), len(steps))


def coverage(generated: HitBatch, truth: HitBatch, reach: Sequence[float]) -> Tensor:
    """Share of the true hits that a generated hit comes near, for each event.

    With the arguments swapped: the share of the generated hits near a true one, their purity. Known
    elsewhere as recall and precision at a distance (Knapitsch et al. 2017, doi:10.1145/3072959.3073599).

    Args:
        generated, truth: as of :func:`false_positives_xy`.
        reach: semi-axes (x, y, t) of the ellipsoid that is near, in the axes' units.

    Returns:
        (B,) float32 in [0, 1]; ``nan`` where an event has no true hit.
    """
    return share(near_hits(truth, generated, reach), truth.counts)


def near_hits(hits: HitBatch, others: HitBatch, reach: Sequence[float]) -> Tensor:
    """(B,) int64, hits with another of the same event within ``reach``, as of :func:`coverage`."""
    distance, _ = nearest_in_event(hits, others, [1 / length for length in reach])
    return _count(hits, torch.from_numpy(distance[:, 0] <= 1).to(hits.device))


def chamfer_distance(generated: HitBatch, truth: HitBatch) -> Tensor:
    """How far generated and true hits are apart, in space and in time, for each event.

    Every hit of the one looks for the nearest of the other, in the detector's unit positions; the
    two mean distances to it, one for each direction, are averaged.

    Args:
        generated, truth: as of :func:`false_positives_xy`.

    Returns:
        (B, 2) float32: distance in (x, y) and in t, in the axes' units (mm, ns).
        ``nan`` where either has no hit.
    """
    return (_mean_distance(generated, truth) + _mean_distance(truth, generated)) / 2


def _mean_distance(query: HitBatch, reference: HitBatch) -> Tensor:
    """(B, 2) mean distance in (x, y) and in t from each hit to the nearest of the reference."""
    scale = [2 / (axis.high - axis.low) for axis in query.geometry.axes]
    nearest = nearest_in_event(query, reference, scale)[1]
    row = torch.from_numpy(nearest[:, 0]).to(query.device)
    found = row < reference.num_hits
    gap = query.pos[found].double() - reference.pos[row[found]].double()
    apart = torch.stack([gap[:, :2].norm(dim=1), gap[:, 2].abs()], dim=1)
    sums = apart.new_zeros(query.batch_size, 2).index_add(0, query.batch[found], apart)
    return (sums / _count(query, found)[:, None]).float()


def _count(hits: HitBatch, mask: Tensor) -> Tensor:
    return torch.bincount(hits.batch[mask], minlength=hits.batch_size)

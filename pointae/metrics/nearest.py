"""Nearest hits of the same event, for whole batches at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pointae.hits import HitBatch
from pointae.voxels import pack_keys, voxel_indices


def nearest_in_event(
    query: HitBatch, reference: HitBatch, scale: Sequence[float], neighbours: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest hits of the same event, in positions multiplied by ``scale``.

    One tree for the batch, whose fourth axis sets the events too far apart to be neighbours.

    Args:
        query: N hits of B events.
        reference: M hits of the same B events.
        scale: factors of (x, y, t), one over the axis' unit each.
        neighbours: how many, K.

    Returns:
        distance: (N, K) float64, ascending; infinite where the event has fewer hits.
        row: (N, K) int64, rows of ``reference``; M where there is none.
    """
    if not reference.num_hits or not query.num_hits:
        shape = (query.num_hits, neighbours)
        return np.full(shape, np.inf), np.full(shape, reference.num_hits)
    rows = _few_in_each_cell(reference, neighbours)
    here, there = _scaled(query, scale), _scaled(reference, scale)[rows.numpy()]
    low, high = np.minimum(here.min(0), there.min(0)), np.maximum(here.max(0), there.max(0))
    apart = 2 * float(np.linalg.norm(high - low)) + 1
    tree = cKDTree(
        _with_event(there - low, reference.batch[rows.to(reference.device)], apart),
        balanced_tree=False,
        compact_nodes=False,
    )
    columns = list(range(1, neighbours + 1))
    distance, row = tree.query(_with_event(here - low, query.batch, apart), k=columns, distance_upper_bound=apart / 2)
    return distance, np.append(rows.numpy(), reference.num_hits)[row]


def _few_in_each_cell(hits: HitBatch, most: int) -> Tensor:
    """Rows of ``hits`` without those beyond the first ``most`` of a cell.

    They cannot come nearer than the others, and a tree cannot part them: a thousand hits in one
    cell would cost a million comparisons.
    """
    keys, order = pack_keys(voxel_indices(hits), hits.geometry.spatial_shape).cpu().sort(stable=True)
    rank = torch.arange(len(keys)) - torch.searchsorted(keys, keys)
    return order[rank < most].sort().values


def _scaled(hits: HitBatch, scale: Sequence[float]) -> np.ndarray:
    # From the bins, not from ``pos``: float32 cannot tell 1.5625 ns apart after 20 ms.
    columns = [axis.centres_of(hits.coords[:, i]).cpu().numpy() for i, axis in enumerate(hits.geometry.axes)]
    return np.stack(columns, axis=1) * np.asarray(scale)


def _with_event(positions: np.ndarray, batch: Tensor, apart: float) -> np.ndarray:
    return np.column_stack([positions, batch.cpu().numpy() * apart])

"""Where hits lie inside their voxel, voxels inside the detector, and the order of an event's cells."""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.hits import HitBatch
from pointae.voxels import Triple


def cell_offsets(hits: HitBatch, stride: Triple, dtype: torch.dtype = torch.float32) -> Tensor:
    """(N, 3) place of each hit in its voxel: -1 and 1 are the edges along (x, y, t), 0 the centre.

    Args:
        hits: N hits.
        stride: cells of the grid along (x, y, t) that make one voxel.
        dtype: of the result.
    """
    steps = torch.tensor(stride, device=hits.device)
    return ((hits.coords % steps).to(dtype) * 2 + 1) / steps - 1


def cell_centres(spatial_shape: Triple, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(3, X, Y, T) centre of every voxel of a volume: -1 and 1 are the volume's edges."""
    axes = [(torch.arange(bins, device=device, dtype=dtype) * 2 + 1) / bins - 1 for bins in spatial_shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def outward_order(hits: HitBatch) -> Tensor:
    """(N,) int64, rows of the hits sorted inside each event from the centre of the grid outward.

    By the largest distance along an axis, in half axes, then by cell in C order.
    """
    shape = hits.geometry.spatial_shape
    bins = hits.coords.new_tensor(shape)
    off_centre = (2 * hits.coords - bins + 1).abs().double() / bins
    # Whole numbers, so that mirrored cells are equally far whatever the rounding.
    ring = (off_centre * 2**20).round().long().amax(1)
    x, y, t = hits.coords.long().unbind(1)
    order = torch.argsort((x * shape[1] + y) * shape[2] + t, stable=True)
    for key in (ring, hits.batch):
        order = order[torch.argsort(key[order], stable=True)]
    return order

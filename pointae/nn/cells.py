"""Where hits lie inside their voxel, and voxels inside the detector."""

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

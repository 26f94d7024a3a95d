"""Occupied cells of a batch: hits gathered into voxels, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.ordering import distinct

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class VoxelBatch:
    """M occupied voxels of B events.

    Args:
        indices: (M, 4) int32 ``[batch, x, y, t]``, sorted, each voxel once.
        features: (M, C) float.
        spatial_shape: (X, Y, T), voxels along each axis.
        batch_size: number of events B, counting those without voxels.
    """

    indices: Tensor
    features: Tensor
    spatial_shape: Triple
    batch_size: int

    def __post_init__(self) -> None:
        if self.indices.dtype != torch.int32 or self.indices.ndim != 2 or self.indices.shape[1] != 4:
            raise DataError(
                f"indices must be (M, 4) int32 [batch, x, y, t], got {tuple(self.indices.shape)} {self.indices.dtype}"
            )
        if len(self.features) != len(self.indices):
            raise DataError(f"{len(self.indices)} voxels but {len(self.features)} rows of features")

    @property
    def num_voxels(self) -> int:
        """M, voxels of all events."""
        return len(self.indices)

    def replace_features(self, features: Tensor) -> VoxelBatch:
        """The same voxels with other features (M, C')."""
        return VoxelBatch(self.indices, features, self.spatial_shape, self.batch_size)


def coarse_shape(spatial_shape: Triple, stride: Triple) -> Triple:
    """Voxels along each axis when ``stride`` cells make one voxel (the last one may be partial)."""
    return tuple(-(-bins // step) for bins, step in zip(spatial_shape, stride, strict=True))  # type: ignore[return-value]


def pack_keys(indices: Tensor, spatial_shape: Triple) -> Tensor:
    """One int64 a voxel, ordered as (batch, x, y, t); raises if the grid does not fit 63 bits.

    Args:
        indices: (M, 4) integer ``[batch, x, y, t]``.
        spatial_shape: (X, Y, T).
    """
    wide = indices.long()
    x, y, t = spatial_shape
    if len(wide) and (int(wide[:, 0].max()) + 1) * x * y * t > 1 << 63:
        raise DataError(f"{int(wide[:, 0].max()) + 1} events of {x} x {y} x {t} cells do not fit 63-bit keys")
    return ((wide[:, 0] * x + wide[:, 1]) * y + wide[:, 2]) * t + wide[:, 3]


def unpack_keys(keys: Tensor, spatial_shape: Triple) -> Tensor:
    """(M, 4) int32 ``[batch, x, y, t]`` of keys made by :func:`pack_keys`."""
    x, y, t = spatial_shape
    event_rows = keys.div(t, rounding_mode="floor")
    columns = event_rows.div(y, rounding_mode="floor")
    return torch.stack([columns.div(x, rounding_mode="floor"), columns % x, event_rows % y, keys % t], 1).int()


def voxel_indices(hits: HitBatch, stride: Triple = (1, 1, 1)) -> Tensor:
    """(N, 4) int32 ``[batch, x, y, t]``: the voxel of each hit when ``stride`` cells make one voxel."""
    steps = torch.tensor(stride, dtype=torch.int32, device=hits.device)
    cells = hits.coords.div(steps, rounding_mode="floor")
    return torch.cat([hits.batch.int()[:, None], cells], dim=1)


def voxelize(
    hits: HitBatch, features: Tensor, stride: Triple = (1, 1, 1), reduce: str = "mean"
) -> tuple[VoxelBatch, Tensor]:
    """Gather hits into voxels; hits that share a voxel are reduced, none is lost.

    Args:
        hits: N hits.
        features: (N, C) float, a row a hit.
        stride: cells of the grid along (x, y, t) that make one voxel.
        reduce: ``"mean"``, ``"sum"`` or ``"amax"``.

    Returns:
        voxels: M voxels, sorted by (batch, x, y, t).
        voxel_of_hit: (N,) int64, row of each hit's voxel.
    """
    shape = coarse_shape(hits.geometry.spatial_shape, stride)
    cells = voxel_indices(hits, stride)
    first, voxel_of_hit = distinct(pack_keys(cells, shape))
    pooled = features.new_zeros(len(first), features.shape[1])
    if reduce == "amax":
        rows = voxel_of_hit[:, None].expand_as(features)
        pooled = pooled.scatter_reduce(0, rows, features, "amax", include_self=False)
    elif reduce in ("mean", "sum"):
        pooled = pooled.index_add(0, voxel_of_hit, features)
    else:
        raise DataError(f"reduce must be mean, sum or amax, got '{reduce}'")
    if reduce == "mean":
        pooled = pooled / torch.bincount(voxel_of_hit, minlength=len(first))[:, None]
    return VoxelBatch(cells.index_select(0, first), pooled, shape, hits.batch_size), voxel_of_hit


def to_dense(voxels: VoxelBatch) -> Tensor:
    """The voxels as a dense volume (B, C, X, Y, T); for small grids and tests."""
    volume = voxels.features.new_zeros(voxels.batch_size, *voxels.spatial_shape, voxels.features.shape[1])
    batch, x, y, t = voxels.indices.long().unbind(1)
    return volume.index_put((batch, x, y, t), voxels.features).permute(0, 4, 1, 2, 3)


def gather_at(volume: Tensor, hits: HitBatch, stride: Triple = (1, 1, 1)) -> Tensor:
    """Read a dense volume at each hit's voxel.

    Args:
        volume: (B, C, X, Y, T) at the given stride.
        hits: N hits of B events.
        stride: cells along (x, y, t) that make one voxel of the volume.

    Returns:
        (N, C).
    """
    batch, x, y, t = voxel_indices(hits, stride).long().unbind(1)
    return volume[batch, :, x, y, t]

"""Occupied voxels at one stride, as every engine sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pointae.errors import ConfigError
from pointae.ordering import distinct
from pointae.voxels import Triple, coarse_shape, pack_keys

if TYPE_CHECKING:
    from pointae.nn.sparse.event_groups import EventGroups


@dataclass(frozen=True, eq=False)
class Coarsening:
    """How M voxels gather into M' coarser ones.

    Args:
        ratio: voxels along (x, y, t) that make a coarser one.
        parent: (M,) int64, row of each voxel's coarser voxel.
        position: (M,) int64, place in it, in C order ``(px * Ry + py) * Rt + pt``.
        indices: (M', 4) int32 ``[batch, x, y, t]`` of the coarser voxels, sorted.
        spatial_shape: of the coarser grid.
    """

    ratio: Triple
    parent: Tensor
    position: Tensor
    indices: Tensor
    spatial_shape: Triple

    @classmethod
    def build(cls, indices: Tensor, spatial_shape: Triple, ratio: Triple) -> Coarsening:
        """Gather the voxels (M, 4) of a grid by ``ratio``."""
        steps = indices.new_tensor((1, *ratio))
        cells = indices.div(steps, rounding_mode="floor")
        inner = indices - cells * steps
        shape = coarse_shape(spatial_shape, ratio)
        first, parent = distinct(pack_keys(cells, shape))
        position = (inner[:, 1] * ratio[1] + inner[:, 2]) * ratio[2] + inner[:, 3]
        return cls(ratio, parent, position.long(), cells.index_select(0, first), shape)


def biased(out: Tensor, bias: Tensor | None) -> Tensor:
    """``out + bias``, where there is one."""
    return out if bias is None else out + bias


class Level(ABC):
    """M occupied voxels at one stride and the convolutions among them.

    An engine is a subclass. It computes; weights belong to the layers, in one layout for all
    engines, (K, C_in, C_out) with offsets in C order, so a checkpoint moves between them. Rows go
    in and come out in the order of ``indices``. Kernel maps are built once, here, and serve every
    layer of the level.

    Args:
        indices: (M, 4) int32 ``[batch, x, y, t]``, sorted, each voxel once.
        spatial_shape: (X, Y, T) of this level.
        batch_size: B.
        kernel_size: of the submanifold convolution, odd.
        dilation: voxels from one place of that kernel to the next.
        coarsening: the way to the next level; ``None`` on the coarsest.
    """

    def __init__(
        self,
        indices: Tensor,
        spatial_shape: Triple,
        batch_size: int,
        kernel_size: Triple,
        dilation: Triple,
        coarsening: Coarsening | None,
    ) -> None:
        self.indices = indices
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.coarsening = coarsening

    @property
    def next(self) -> Coarsening:
        """The way to the next level.

        Raises:
            ConfigError: this is the coarsest.
        """
        if self.coarsening is None:
            raise ConfigError("the coarsest level has no coarser one to convolve with")
        return self.coarsening

    @cached_property
    def batch(self) -> Tensor:
        """(M,) int64, event of each voxel."""
        return self.indices[:, 0].long()

    @cached_property
    def counts(self) -> Tensor:
        """(B,) int64, voxels of each event."""
        return torch.bincount(self.batch, minlength=self.batch_size)

    def pool(self, features: Tensor, reduce: str) -> Tensor:
        """Largest or mean of the occupied voxels of each coarser one: (M, C) -> (M', C).

        The same for every engine: there is nothing to multiply.

        Args:
            features: (M, C).
            reduce: ``"amax"`` or ``"mean"``.
        """
        rows = self.next.parent[:, None].expand_as(features)
        pooled = features.new_zeros(len(self.next.indices), features.shape[1])
        return pooled.scatter_reduce(0, rows, features, reduce, include_self=False)

    def event_groups(self, channels: int) -> EventGroups | None:
        """Groups of events that a block computes as one operation; ``None``: this engine has no such."""
        return None

    @abstractmethod
    def submanifold(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``out[i] = sum_k features[i + dilation * offset_k] @ weight[k]`` over occupied neighbours.

        Args:
            features: (M, C_in).
            weight: (Kx Ky Kt, C_in, C_out).
            bias: (C_out,), added to each row.

        Returns:
            (M, C_out), equal to ``conv3d`` with zero padding at the occupied voxels.
        """

    @abstractmethod
    def down(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Strided convolution, kernel = stride = ratio: (M, C_in), (Rx Ry Rt, C_in, C_out) -> (M', C_out)."""

    @abstractmethod
    def up(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Inverse of :meth:`down` in shape: (M', C_in), (Rx Ry Rt, C_in, C_out) -> (M, C_out)."""

"""Sparse convolution in plain torch: any device, any dtype, differentiable, deterministic."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from pointae.nn.sparse.kernel_maps import KernelMap, neighbour_pairs
from pointae.nn.sparse.levels import Level


class TorchLevel(Level):
    """Gather, one batched GEMM, scatter over the occupied pairs; see :class:`Level`."""

    def submanifold(self, features: Tensor, weight: Tensor) -> Tensor:
        # The centre joins every voxel to itself: a plain product, nothing to gather.
        return features @ weight[len(weight) // 2] + self._neighbours.convolve(features, weight)

    def down(self, features: Tensor, weight: Tensor) -> Tensor:
        return self._children.convolve(features, weight)

    def up(self, features: Tensor, weight: Tensor) -> Tensor:
        return self._children.reversed().convolve(features, weight)

    @cached_property
    def _neighbours(self) -> KernelMap:
        pairs = neighbour_pairs(self.indices, self.spatial_shape, self.kernel_size)
        return KernelMap.build(*pairs, len(self.indices), len(self.indices), mirrored=True)

    @cached_property
    def _children(self) -> KernelMap:
        order = torch.argsort(self.next.position, stable=True)
        offset, parent = self.next.position[order], self.next.parent[order]
        return KernelMap.build(offset, order, parent, len(self.indices), len(self.next.indices))

"""Sparse convolution in plain torch: any device, any dtype, differentiable, deterministic."""

from __future__ import annotations

from functools import cached_property
from math import prod

import torch
from torch import Tensor

from pointae.nn.sparse.convolve import convolve
from pointae.nn.sparse.kernel_maps import KernelMap
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.neighbours import neighbour_pairs


class TorchLevel(Level):
    """Gather, one batched matrix product, scatter over the occupied pairs; see :class:`Level`."""

    def submanifold(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, self._neighbours, centre=len(weight) // 2)

    def down(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, self._children)

    def up(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, self._children.reversed())

    @cached_property
    def _neighbours(self) -> KernelMap:
        pairs = neighbour_pairs(self.indices, self.spatial_shape, self.kernel_size, self.dilation)
        rows = len(self.indices)
        return KernelMap.build(*pairs, prod(self.kernel_size), rows, rows)

    @cached_property
    def _children(self) -> KernelMap:
        order = torch.argsort(self.next.position, stable=True)
        offset, parent = self.next.position[order], self.next.parent[order]
        return KernelMap.build(
            offset.long(), order, parent, prod(self.next.ratio), len(self.indices), len(self.next.indices)
        )

"""Sparse convolution in plain torch: any device, any dtype, differentiable, deterministic."""

from __future__ import annotations

from functools import cached_property
from math import prod

import torch
from torch import Tensor

from pointae.nn.sparse.convolve import Route, convolve
from pointae.nn.sparse.kernel_maps import KernelMap, maps_by_target
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.neighbours import neighbour_pairs


class TorchLevel(Level):
    """Gather, one batched matrix product, scatter over the occupied pairs; see :class:`Level`."""

    def submanifold(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, self._neighbours)

    def down(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, Route([self._children], [self._children.reversed()]))

    def up(self, features: Tensor, weight: Tensor) -> Tensor:
        return convolve(features, weight, Route([self._children.reversed()], [self._children]))

    @cached_property
    def _neighbours(self) -> Route:
        offset, source, target = neighbour_pairs(self.indices, self.spatial_shape, self.kernel_size, self.dilation)
        offsets = prod(self.kernel_size)
        maps = maps_by_target(offset, source, target, offsets, len(self.indices))
        return Route(maps, [pairs.mirrored() for pairs in maps], centre=offsets // 2)

    @cached_property
    def _children(self) -> KernelMap:
        order = torch.argsort(self.next.position, stable=True)
        offset, parent = self.next.position[order].long(), self.next.parent[order]
        return KernelMap.build(offset, order, parent, prod(self.next.ratio), len(self.indices), len(self.next.indices))

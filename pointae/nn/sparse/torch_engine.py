"""Sparse convolution in torch: any device, any dtype, differentiable, deterministic; faster on a CPU with numba."""

from __future__ import annotations

from functools import cached_property
from math import prod

from torch import Tensor

from pointae.nn.loops import BLOCK_LOOPS, loops_for
from pointae.nn.sparse.blocks import Blocks
from pointae.nn.sparse.convolve import Route, convolve
from pointae.nn.sparse.event_groups import EventGroups
from pointae.nn.sparse.kernel_maps import KernelMap, maps_by_target
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.neighbours import neighbour_pairs
from pointae.nn.sparse.pairs import Pairs
from pointae.ordering import stable_order


class TorchLevel(Level):
    """Gather, product, scatter over the occupied pairs; see :class:`Level`."""

    def submanifold(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(features, weight, self._neighbours, bias)

    def down(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(features, weight, self._children, bias)

    def up(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(features, weight, self._children.reversed, bias)

    def event_groups(self, channels: int) -> EventGroups | None:
        if channels not in self._groups:
            self._groups[channels] = self._grouped(channels)
        return self._groups[channels]

    def _grouped(self, channels: int) -> EventGroups | None:
        pairs, loops = self._neighbours, loops_for(self.indices, BLOCK_LOOPS)
        if not isinstance(pairs, Pairs) or not loops or channels % loops.WHOLE:
            return None
        return EventGroups.build(pairs, self.counts, channels)

    @cached_property
    def _groups(self) -> dict[int, EventGroups | None]:
        return {}

    @cached_property
    def _neighbours(self) -> Route:
        offset, source, target = neighbour_pairs(self.indices, self.spatial_shape, self.kernel_size, self.dilation)
        offsets, rows = prod(self.kernel_size), len(self.indices)
        if loops := loops_for(self.indices):
            return Pairs.build(offset, source, target, offsets, rows, rows, loops, offsets // 2)
        maps = maps_by_target(offset, source, target, offsets, rows)
        return Blocks(maps, [pairs.mirrored() for pairs in maps], offsets // 2)

    @cached_property
    def _children(self) -> Route:
        order = stable_order(self.next.position)
        offset, parent = self.next.position.index_select(0, order), self.next.parent.index_select(0, order)
        sizes = prod(self.next.ratio), len(self.indices), len(self.next.indices)
        if loops := loops_for(self.indices):
            return Pairs.build(offset, order, parent, *sizes, loops)
        down = KernelMap.build(offset, order, parent, *sizes)
        return Blocks([down], [down.reversed()])

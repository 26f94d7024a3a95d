"""Kernel maps: which input row meets which output row under which offset of a kernel, laid out to be multiplied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

SHORTEST_BLOCK = 64
"""Slots of a block at least: below it, a matrix product is mostly overhead."""
PAIRS_A_MAP = 12_000
"""Pairs that a CPU multiplies at once: few enough that their rows, gathered and multiplied, stay in its cache."""
BLOCKS_AN_OFFSET = 4
"""Blocks that an offset met as often as the mean is cut into: half a block of each offset stays empty on average."""


@dataclass(frozen=True, eq=False)
class Side:
    """The rows that slots read, or those that they are summed into.

    Args:
        slot: (P,) int64, slot of each pair.
        row: (P,) int64, its row on this side.
        num_slots, num_rows: S, M.
    """

    slot: Tensor
    row: Tensor
    num_slots: int
    num_rows: int

    def take(self, table: Tensor) -> Tensor:
        """(M, C) -> (S, C): the row of each slot; any row where a slot is empty."""
        if not self.num_slots:
            return table.new_zeros(0, table.shape[1])
        return table.index_select(0, self._row_of_slot)

    def collect(self, values: Tensor) -> Tensor:
        """(S, C) -> (M, C): the sum over the slots of each row, always in the same order."""
        if not len(self.slot):
            return values.new_zeros(self.num_rows, values.shape[1])
        # A bag a row: one pass over the values, many times faster than index_add on a CPU.
        return F.embedding_bag(self._slots_by_row, values, self._starts, mode="sum", include_last_offset=True)

    @cached_property
    def by_row(self) -> Tensor:
        """(P,) int64, the pairs' order by row."""
        return torch.argsort(self.row, stable=True)

    @cached_property
    def _slots_by_row(self) -> Tensor:
        return self.slot.index_select(0, self.by_row)

    @cached_property
    def _starts(self) -> Tensor:
        starts = self.row.new_zeros(self.num_rows + 1)
        torch.cumsum(torch.bincount(self.row, minlength=self.num_rows), 0, out=starts[1:])
        return starts

    @cached_property
    def _row_of_slot(self) -> Tensor:
        return self.row.new_zeros(self.num_slots).index_copy_(0, self.slot, self.row)


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs of a kernel laid out for one batched matrix product.

    The pairs of an offset fill one or more blocks of L slots; what an offset leaves of its last
    block stays empty, about an eighth of all slots where pairs are many.

    Args:
        offsets: (G,) int64, offset of each block.
        starts: (K + 1,) int64, blocks of offset k are ``starts[k]`` to ``starts[k + 1] - 1``.
        length: L.
        inputs, outputs: what each of the G x L slots reads and is summed into.
    """

    offsets: Tensor
    starts: Tensor
    length: int
    inputs: Side
    outputs: Side

    @classmethod
    def build(
        cls, offset: Tensor, source: Tensor, target: Tensor, num_offsets: int, num_sources: int, num_targets: int
    ) -> KernelMap:
        """A map from pairs (P,) ordered by offset, of K offsets."""
        counts = torch.bincount(offset, minlength=num_offsets)
        used = int((counts > 0).sum())
        length = max(SHORTEST_BLOCK, len(offset) // (BLOCKS_AN_OFFSET * max(used, 1)))
        blocks = (counts + length - 1).div(length, rounding_mode="floor")
        ends = blocks.cumsum(0)
        shift = (ends - blocks) * length - (counts.cumsum(0) - counts)
        slot = torch.arange(len(offset), device=offset.device) + shift.index_select(0, offset)
        offsets = torch.repeat_interleave(torch.arange(num_offsets, device=offset.device), blocks)
        num_slots = len(offsets) * length
        return cls(
            offsets,
            torch.cat([ends.new_zeros(1), ends]),
            length,
            Side(slot, source, num_slots, num_sources),
            Side(slot, target, num_slots, num_targets),
        )

    def reversed(self) -> KernelMap:
        """The map that goes from the outputs to the inputs, under the same offsets."""
        return KernelMap(self.offsets, self.starts, self.length, self.outputs, self.inputs)

    def mirrored(self) -> KernelMap:
        """The same pairs under the opposite offsets: of neighbours, all pairs the other way round.

        Only to sum over pairs with, not by offset.
        """
        return replace(self, offsets=len(self.starts) - 2 - self.offsets)

    def blocks(self, slots: Tensor) -> Tensor:
        """(S, C) -> (G, L, C)."""
        return slots.view(len(self.offsets), self.length, slots.shape[1])

    def sum_by_offset(self, values: Tensor) -> Tensor:
        """(G, C) -> (K, C): the sum over the blocks of each offset, always in the same order."""
        if not len(values):
            return values.new_zeros(len(self.starts) - 1, values.shape[1])
        each = torch.arange(len(values), device=values.device)
        return F.embedding_bag(each, values, self.starts, mode="sum", include_last_offset=True)

    @cached_property
    def empty(self) -> Tensor:
        """(S - P,) int64, slots without a pair."""
        is_empty = self.inputs.slot.new_ones(self.inputs.num_slots, dtype=torch.bool)
        return is_empty.index_fill_(0, self.inputs.slot, False).nonzero()[:, 0]


def maps_by_target(offset: Tensor, source: Tensor, target: Tensor, num_offsets: int, num_rows: int) -> list[KernelMap]:
    """Maps of consecutive ranges of targets, that what is gathered for one stays in a CPU's cache.

    Rows of ``outputs`` count from the first of each range; the ranges cover all rows.

    Args:
        offset, source, target: (P,) int64, ordered by offset.
        num_offsets: K.
        num_rows: M, of sources and of targets.
    """
    pieces = 1 if offset.is_cuda else max(1, round(len(offset) / PAIRS_A_MAP))
    rows = -(-num_rows // pieces)
    maps = []
    for first in range(0, max(num_rows, 1), max(rows, 1)):
        count = min(rows, num_rows - first)
        if pieces == 1:
            own = offset, source, target
        else:
            inside = ((target >= first) & (target < first + count)).nonzero()[:, 0]
            own = offset[inside], source[inside], target[inside] - first
        maps.append(KernelMap.build(*own, num_offsets, num_rows, count))
    return maps

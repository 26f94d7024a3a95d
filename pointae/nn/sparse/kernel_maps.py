"""Kernel maps: which input row meets which output row under which offset of a kernel.

Built by sorting and searching packed 64-bit keys, never by hashing or a dense grid: time and
memory follow the occupied voxels and their occupied neighbours, not the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from pointae.voxels import Triple, pack_keys


def neighbour_pairs(indices: Tensor, spatial_shape: Triple, kernel_size: Triple) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of different occupied voxels of one event that a kernel joins.

    Offsets are numbered in C order, ``(kx * Ky + ky) * Kt + kt``, and mean, as in
    ``torch.nn.functional.conv3d``, ``source = target + (kx, ky, kt) - kernel_size // 2``.

    Args:
        indices: (M, 4) int32 ``[batch, x, y, t]``, sorted, each voxel once.
        spatial_shape: (X, Y, T).
        kernel_size: odd along each axis.

    Returns:
        offset, source, target: (P,) int64 each, ordered by offset; P counts every pair in both
        directions, and pair P - 1 - p is pair p the other way round. The centre, where source is
        target, is left out.
    """
    half_x, half_y, half_t = (size // 2 for size in kernel_size)
    _, kernel_y, kernel_t = kernel_size
    shape_x, shape_y, shape_t = spatial_shape
    # An empty margin of half a kernel behind each axis: no step of the kernel reaches another line.
    width_y, width_t = shape_y + half_y, shape_t + half_t
    keys = pack_keys(indices, (shape_x + half_x, width_y, width_t))
    rows = torch.arange(len(keys), device=keys.device)
    found = []
    # Half of the kernel, the rest is its mirror image. Along t the kernel is a range of keys, so
    # one search serves a whole line of it.
    for dx, dy in [(dx, dy) for dx in range(half_x + 1) for dy in range(-half_y, half_y + 1) if (dx, dy) >= (0, 0)]:
        centre = keys + (dx * width_y + dy) * width_t
        own = (dx, dy) == (0, 0)
        first = rows + 1 if own else torch.searchsorted(keys, centre - half_t)
        candidates = first[:, None] + torch.arange(half_t if own else kernel_t, device=keys.device)
        inside = candidates < len(keys)
        dt = keys[candidates.clamp(max=len(keys) - 1)] - centre[:, None] if len(keys) else candidates
        target, column = (inside & (dt <= half_t)).nonzero(as_tuple=True)
        offset = ((dx + half_x) * kernel_y + dy + half_y) * kernel_t + dt[target, column] + half_t
        found.append(torch.stack([offset, candidates[target, column], target]))
    offset, source, target = torch.cat(found, dim=1)
    order = torch.argsort(offset * len(keys) + target)
    offset, source, target = offset[order], source[order], target[order]
    mirrored = kernel_size[0] * kernel_y * kernel_t - 1 - offset
    return (
        torch.cat([mirrored.flip(0), offset]),
        torch.cat([target.flip(0), source]),
        torch.cat([source.flip(0), target]),
    )


@dataclass(frozen=True, eq=False)
class Slots:
    """Which row of a table of M rows each of S slots holds.

    :func:`take` and :func:`collect` are each other's adjoint, so each is the other's gradient.

    Args:
        rows: (S,) int64, 0 for an empty slot.
        empty: (E,) int64, slots that hold nothing.
        filled: (S - E,) int64, the other slots, ordered by row.
        starts: (M + 1,) int64; row m is held by ``filled[starts[m]:starts[m + 1]]``.
    """

    rows: Tensor
    empty: Tensor
    filled: Tensor
    starts: Tensor

    @classmethod
    def build(cls, slot: Tensor, row: Tensor, by_row: Tensor, num_slots: int, num_rows: int) -> Slots:
        """Slots from pairs (P,) of slot, each once, and row; ``by_row`` (P,) is the pairs' order by row."""
        is_empty = torch.ones(num_slots, dtype=torch.bool, device=slot.device).index_fill(0, slot, False)
        rows = slot.new_zeros(num_slots).index_copy(0, slot, row)
        starts = slot.new_zeros(num_rows + 1)
        starts[1:] = torch.bincount(row, minlength=num_rows).cumsum(0)
        return cls(rows, is_empty.nonzero()[:, 0], slot[by_row], starts)


def take(table: Tensor, slots: Slots) -> Tensor:
    """(M, C) -> (S, C): the row that each slot holds, 0 in empty ones."""
    return _Take.apply(table, slots)


def collect(values: Tensor, slots: Slots) -> Tensor:
    """(S, C) -> (M, C): the sum over the slots that hold a row, always in the same order."""
    return _Collect.apply(values, slots)


class _Take(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, slots: Slots) -> Tensor:
        ctx.slots = slots
        if not len(slots.filled):
            return table.new_zeros(len(slots.rows), table.shape[1])
        return table.index_select(0, slots.rows).index_fill_(0, slots.empty, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return collect(grad, ctx.slots), None


class _Collect(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, slots: Slots) -> Tensor:
        ctx.slots = slots
        if not len(slots.filled):
            return values.new_zeros(len(slots.starts) - 1, values.shape[1])
        # A bag a row: one pass over the values, several times faster than index_add on a CPU.
        return F.embedding_bag(slots.filled, values.contiguous(), slots.starts, mode="sum", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return take(grad, ctx.slots), None


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs of a kernel laid out for one batched matrix product.

    The pairs of an offset fill one or more blocks of L slots. L is at most twice the mean of the
    non-empty offsets, so at most 3 P slots serve P pairs, however unevenly the offsets are met.

    Args:
        offsets: (G,) int64, offset of each block.
        inputs, outputs: what each of the G x L slots reads and writes.
    """

    offsets: Tensor
    inputs: Slots
    outputs: Slots

    @classmethod
    def build(
        cls,
        offset: Tensor,
        source: Tensor,
        target: Tensor,
        num_sources: int,
        num_targets: int,
        mirrored: bool = False,
    ) -> KernelMap:
        """A map from pairs (P,) ordered by offset.

        ``mirrored`` vouches that pair P - 1 - p is pair p the other way round, which saves a sort.
        """
        used, counts = torch.unique_consecutive(offset, return_counts=True)
        length = min(int(counts.max()), -(-2 * len(offset) // len(used))) if len(used) else 0
        blocks = -(-counts // length) if length else counts
        first_pair, first_block = counts.cumsum(0) - counts, blocks.cumsum(0) - blocks
        shift = torch.repeat_interleave(first_block * length - first_pair, counts)
        slot = torch.arange(len(offset), device=offset.device) + shift
        num_slots = int(blocks.sum()) * length
        by_target = torch.argsort(target, stable=True)
        by_source = len(offset) - 1 - by_target if mirrored else torch.argsort(source, stable=True)
        return cls(
            torch.repeat_interleave(used, blocks),
            Slots.build(slot, source, by_source, num_slots, num_sources),
            Slots.build(slot, target, by_target, num_slots, num_targets),
        )

    def reversed(self) -> KernelMap:
        """The map that goes from the outputs to the inputs, under the same offsets."""
        return KernelMap(self.offsets, self.outputs, self.inputs)

    def convolve(self, features: Tensor, weight: Tensor) -> Tensor:
        """``out[target] += features[source] @ weight[offset]`` over all pairs: gather, GEMM, scatter.

        Args:
            features: (sources, C_in).
            weight: (K, C_in, C_out).

        Returns:
            (targets, C_out).
        """
        blocks, channels = len(self.offsets), features.shape[1]
        slots = take(features, self.inputs)  # (G L, C_in)
        slots = slots.view(blocks, len(slots) // max(blocks, 1), channels)
        products = torch.bmm(slots, weight.index_select(0, self.offsets))  # (G, L, C_out)
        return collect(products.flatten(0, 1), self.outputs)

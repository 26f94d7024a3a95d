"""Which occupied voxels a kernel joins, by packed 64-bit keys: time and memory follow the voxels, not the volume."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from pointae.nn.loops import loops_for
from pointae.voxels import Triple, pack_keys

CELLS_A_VOXEL = 32
"""Cells of the table that rows are looked up in: most empty places are then known to be empty by one look."""
SPREAD = -7046029254386353131
"""2^64 over the golden ratio, odd: times it, modulo 2^64, keys spread evenly over the high bits (Knuth)."""


def neighbour_pairs(
    indices: Tensor, spatial_shape: Triple, kernel_size: Triple, dilation: Triple = (1, 1, 1)
) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of different occupied voxels of one event that a kernel joins.

    Offsets are numbered in C order, ``(kx * Ky + ky) * Kt + kt``, and mean, as in
    ``torch.nn.functional.conv3d``, ``source = target + ((kx, ky, kt) - kernel_size // 2) * dilation``.

    Args:
        indices: (M, 4) int32 ``[batch, x, y, t]``, sorted, each voxel once.
        spatial_shape: (X, Y, T).
        kernel_size: odd along each axis.
        dilation: voxels from one place of the kernel to the next.

    Returns:
        offset, source, target: (P,) int64 each, ordered by offset, then target; P counts every pair
        in both directions, and pair P - 1 - p is pair p the other way round. The centre, where
        source is target, is left out.
    """
    half = [size // 2 for size in kernel_size]
    # An empty margin of the kernel's reach behind each axis: no step of the kernel reaches another line.
    grid = tuple(bins + reach * step for bins, reach, step in zip(spatial_shape, half, dilation, strict=True))
    keys = pack_keys(indices, grid)  # type: ignore[arg-type]
    # Half of the kernel, the rest is its mirror image.
    later = torch.arange(prod(kernel_size) // 2 + 1, prod(kernel_size), device=keys.device)
    _, kernel_y, kernel_t = kernel_size
    _, width_y, width_t = grid
    dx = (later // (kernel_y * kernel_t) - half[0]) * dilation[0]
    dy = (later // kernel_t % kernel_y - half[1]) * dilation[1]
    dt = (later % kernel_t - half[2]) * dilation[2]
    number, source, target = matches(keys, (dx * width_y + dy) * width_t + dt)
    offset = later.index_select(0, number)
    mirrored = prod(kernel_size) - 1 - offset
    return (
        torch.cat([mirrored.flip(0), offset]),
        torch.cat([target.flip(0), source]),
        torch.cat([source.flip(0), target]),
    )


def matches(keys: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All (s, i, j) with ``keys[i] == keys[j] + steps[s]``, ordered by s, then j.

    Rows are looked up in a table by a spread of their key. Keys that fall into one cell hide each
    other there; the few that this leaves open are settled by a binary search, so what is found does
    not depend on the table.

    Args:
        keys: (M,) int64, ascending, each once.
        steps: (S,) int64.

    Returns:
        s, i, j: (Q,) int64 each.
    """
    if not len(keys) or not len(steps):
        return (keys.new_zeros(0),) * 3
    if loops := loops_for(keys):
        number, i, j = (torch.from_numpy(found) for found in loops.match(keys.numpy(), steps.numpy()))
        return number, i, j
    bits = (CELLS_A_VOXEL * len(keys)).bit_length()
    rows = torch.arange(len(keys), device=keys.device, dtype=torch.int32)
    table = rows.new_full((1 << bits,), -1)
    spread = keys * SPREAD
    table[_cells(spread, bits)] = rows
    # A spread is linear, so that of a sum is the sum of the spreads.
    looked_up = table.index_select(0, _cells((steps * SPREAD)[:, None] + spread, bits).flatten())
    place = (looked_up >= 0).nonzero()[:, 0]
    step = place.div(len(keys), rounding_mode="floor")
    target = place - step * len(keys)
    source = looked_up.index_select(0, place).long()
    wanted = keys.index_select(0, target) + steps.index_select(0, step)
    open_ones = (keys.index_select(0, source) != wanted).nonzero()[:, 0]
    searched = torch.searchsorted(keys, wanted.index_select(0, open_ones)).clamp_(max=len(keys) - 1)
    source.index_copy_(0, open_ones, searched)
    found = (keys.index_select(0, source) == wanted).nonzero()[:, 0]
    return step.index_select(0, found), source.index_select(0, found), target.index_select(0, found)


def _cells(spread: Tensor, bits: int) -> Tensor:
    """The high bits of each spread key, as a number from 0 to 2^bits - 1."""
    return (spread >> (64 - bits)) & ((1 << bits) - 1)

"""Cells of the TORCH grid as single numbers, and the rule of one hit a cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.simulate.module import COLUMNS, TIME_BINS

CELL_BITS = 24
"""x, y and t of a cell side by side: 7 + 7 + 10 bits, so cells sort as (x, y, t)."""


def pack_cells(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """One int64 a cell, below 2^24, from int64 bin numbers of any one shape."""
    return (x << 17) | (y << 10) | t


def unpack_cells(cells: Tensor) -> Tensor:
    """(N, 3) int32 ``[x, y, t]`` of packed cells; higher bits are ignored."""
    narrow = (cells & ((1 << CELL_BITS) - 1)).int()
    return torch.stack([narrow >> 17, (narrow >> 10) & 127, narrow & 1023], dim=1)


def cells_of_bits(words: Tensor) -> Tensor:
    """Packed cells, uniform over the grid, from 64 random bits each."""
    x = (((words >> 7) & ((1 << 26) - 1)) * COLUMNS) >> 26
    t = (((words >> 33) & ((1 << 31) - 1)) * TIME_BINS) >> 31
    return pack_cells(x, words & 127, t)


def first_in_cell(places: Tensor) -> tuple[Tensor, Tensor]:
    """Sort hits by place and find the first of each.

    Args:
        places: (N,) int64, event and cell of each hit; earlier hits win.

    Returns:
        order: (N,) int64, hits sorted by place, stably.
        first: (N,) bool, by sorted hits, whether no earlier hit lit the same place.
    """
    ranked, order = torch.sort(places, stable=True)
    first = torch.ones_like(ranked, dtype=torch.bool)
    torch.ne(ranked[1:], ranked[:-1], out=first[1:])
    return order, first


def batch_of_places(geometry: DetectorGeometry, place: Tensor, index: Tensor, **per_hit: Any) -> HitBatch:
    """The batch of hits sorted by place.

    Args:
        geometry: the detector's grid.
        place: (N,) int64, event and cell, ascending.
        index: (B,) int64, numbers of the events.
        per_hit: optional fields, a row a hit.
    """
    counts = torch.bincount(place >> CELL_BITS, minlength=len(index))
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return HitBatch(geometry, unpack_cells(place), offsets, event_id=index, trusted=True, **per_hit)

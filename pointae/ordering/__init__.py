"""Whole numbers in order, and which of them are the same: by compiled loops on a CPU with numba, else by torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointae.optional import compiled_loops

LOOPS = "pointae.ordering.compiled"
WORTH = 1024
"""Numbers from which a compiled loop is worth its call."""


def stable_order(keys: Tensor) -> Tensor:
    """(N,) int64, rows of ``keys`` (N,) int64 in ascending order; equal ones stay in the order they had."""
    if loops := loops_for(keys):
        return torch.from_numpy(loops.ascending(keys.numpy()))
    return torch.argsort(keys, stable=True)


def distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Which of ``keys`` (N,) int64 are the same.

    Returns:
        first: (M,) int64, the first row of each number, the numbers ascending.
        number_of: (N,) int64, place of each row's number among them.
    """
    if loops := loops_for(keys):
        first, number_of = loops.distinct(keys.numpy())
        return torch.from_numpy(first), torch.from_numpy(number_of)
    order = torch.argsort(keys, stable=True)
    ascending = keys.index_select(0, order)
    is_new = torch.ones_like(ascending, dtype=torch.bool)
    torch.ne(ascending[1:], ascending[:-1], out=is_new[1:])
    number_of = torch.empty_like(order).index_copy_(0, order, is_new.cumsum(0) - 1)
    return order.masked_select(is_new), number_of


def numbered(counts: Tensor) -> tuple[Tensor, Tensor]:
    """``counts`` (R,) int64 things of each of R owners: the owner's row and the thing's own number.

    Returns:
        rows: (N,) int64, ascending.
        numbers: (N,) int64, ``0..count - 1`` for each owner.
    """
    total = int(counts.sum())
    if loops := loops_for(counts, total):
        rows, numbers = loops.numbered(counts.numpy(), total)
        return torch.from_numpy(rows), torch.from_numpy(numbers)
    rows = torch.repeat_interleave(counts, output_size=total)
    starts = (counts.cumsum(0) - counts).index_select(0, rows)
    return rows, torch.arange(total, device=counts.device) - starts


def loops_for(keys: Tensor, numbers: int | None = None) -> Any:
    """The module of compiled loops for so many numbers, by default those of ``keys``; ``None``: torch alone."""
    many = (len(keys) if numbers is None else numbers) >= WORTH
    return compiled_loops(LOOPS)[0] if many and keys.device.type == "cpu" else None

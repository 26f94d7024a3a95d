"""Pooling over the rows of each event, and the way between ragged and padded arrays."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from pointae.hits import HitBatch

MOST_PADDED = 2
"""Slots of padded events, in rows of them, above which events of different sizes are not padded together."""


class Rows(Protocol):
    """Rows sorted by event: the hits of a batch, or its voxels at some stride."""

    @property
    def batch(self) -> Tensor:
        """(N,) int64, event of each row."""

    @property
    def counts(self) -> Tensor:
        """(B,) int64, rows of each event."""

    @property
    def batch_size(self) -> int:
        """B."""


def segment_mean(values: Tensor, rows: Rows) -> Tensor:
    """(B, C) mean of values (N, C) over each event's hits; 0 for an event without rows."""
    if (side_by_side := _side_by_side(values, rows)) is not None:
        return side_by_side.mean(1)
    sums = values.new_zeros(rows.batch_size, values.shape[1]).index_add(0, rows.batch, values)
    return sums / rows.counts.clamp(min=1)[:, None].to(values.dtype)


def segment_max(values: Tensor, rows: Rows) -> Tensor:
    """(B, C) largest of values (N, C) over each event's hits; 0 for an event without rows."""
    if (side_by_side := _side_by_side(values, rows)) is not None:
        return side_by_side.amax(1)
    if len(values) == 0:
        return values.sum() * 0 + values.new_zeros(rows.batch_size, values.shape[1])
    length = int(rows.counts.max())
    if rows.batch_size * length > MOST_PADDED * len(values):
        largest = torch.segment_reduce(values, "max", lengths=rows.counts, axis=0, unsafe=True)
    else:
        largest = _padded(values, rows, length).amax(1)  # several times faster
    return torch.where(rows.counts[:, None] > 0, largest, largest.new_zeros(()))


def _padded(values: Tensor, rows: Rows, length: int) -> Tensor:
    """(N, C) -> (B, length, C), minus infinity where an event has no row."""
    starts = rows.counts.cumsum(0) - rows.counts
    shift = torch.arange(rows.batch_size, device=values.device) * length - starts
    slot = torch.arange(len(values), device=values.device) + shift.index_select(0, rows.batch)
    padded = values.new_full((rows.batch_size * length, values.shape[1]), -torch.inf)
    return padded.index_copy(0, slot, values).view(rows.batch_size, length, -1)


def _side_by_side(values: Tensor, rows: Rows) -> Tensor | None:
    """(B, L, C) view of values (N, C) where every event has L rows, over which pooling is many times faster."""
    length, rest = divmod(len(values), max(1, rows.batch_size))
    if rest or not length or not bool((rows.counts == length).all()):
        return None
    return values.view(rows.batch_size, length, -1)


class EventContext(nn.Module):
    """What all rows of an event say together, told to each: (N, C) -> (N, C).

    ``Linear([mean, max])`` is computed once an event, not once a row: of a layer on
    ``[local, global]`` the global half is the same for every row.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, h: Tensor, rows: Rows) -> Tensor:
        return self.linear(pooled(h, rows)).index_select(0, rows.batch)


def pooled(h: Tensor, rows: Rows) -> Tensor:
    """(B, 2 C): mean and max of h (N, C) over each event."""
    return torch.cat([segment_mean(h, rows), segment_max(h, rows)], dim=1)


def similar_sizes(rows: Rows) -> list[Tensor]:
    """Numbers of the events in groups that are padded together: one, unless their sizes differ much.

    Then no event has less than half the slots of its group's largest filled, so cost follows the hits.
    """
    counts = rows.counts
    if not rows.batch_size or rows.batch_size * int(counts.max()) <= MOST_PADDED * len(rows.batch):
        return [torch.arange(rows.batch_size, device=counts.device)]
    size = counts.clamp(min=1).double().log2().ceil()
    return [(size == value).nonzero()[:, 0] for value in size.unique()]


class Padding:
    """Rows of a ragged batch laid out as (B, L) with L the largest event; made once a batch.

    Args:
        hits: N hits of B events.
    """

    def __init__(self, hits: HitBatch) -> None:
        self.batch_size = hits.batch_size
        self.length = int(hits.counts.max()) if hits.batch_size else 0
        self.is_full = self.batch_size * self.length == hits.num_hits
        self.slot = hits.batch * self.length + hits.local_index()  # (N,)
        if not self.is_full:
            self.mask = torch.arange(self.length, device=hits.device) < hits.counts[:, None]  # (B, L)

    def pad(self, values: Tensor) -> Tensor:
        """(N, C) -> (B, L, C), zeros where there is no hit."""
        shape = (self.batch_size, self.length, values.shape[1])
        if self.is_full:
            return values.view(shape)
        return (
            values.new_zeros(self.batch_size * self.length, values.shape[1])
            .index_copy(0, self.slot, values)
            .view(shape)
        )

    def filled(self, hits: HitBatch) -> HitBatch:
        """The hits with every slot taken, B L of them, those that are none in the first bin: to be embedded."""
        if self.is_full:
            return hits
        coords, features = (self.pad(values).flatten(0, 1) for values in (hits.coords, hits.features))
        offsets = torch.arange(self.batch_size + 1, device=hits.device) * self.length
        return HitBatch(hits.geometry, coords, offsets, features, hits.feature_names, trusted=True)

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, L, C) -> (N, C)."""
        flat = padded.reshape(self.batch_size * self.length, padded.shape[-1])
        return flat if self.is_full else flat.index_select(0, self.slot)

    def absent(self) -> Tensor:
        """(M,) int64, the slots b L + l without a hit."""
        return self.slot.new_zeros(0) if self.is_full else (~self.mask).flatten().nonzero()[:, 0]

    def attention_mask(self) -> Tensor | None:
        """(B, 1, 1, L) bool, true at hits; ``None`` where every slot is one.

        An event without hits attends to its padding: the result is finite and thrown away.
        """
        if self.is_full:
            return None
        return (self.mask | ~self.mask.any(1, keepdim=True))[:, None, None, :]

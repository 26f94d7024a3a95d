"""Pooling over the hits of each event, and the way between ragged and padded arrays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointae.hits import HitBatch


def segment_mean(values: Tensor, hits: HitBatch) -> Tensor:
    """(B, C) mean of values (N, C) over each event's hits; 0 for an event without hits."""
    sums = values.new_zeros(hits.batch_size, values.shape[1]).index_add(0, hits.batch, values)
    return sums / hits.counts.clamp(min=1)[:, None].to(values.dtype)


def segment_max(values: Tensor, hits: HitBatch) -> Tensor:
    """(B, C) largest of values (N, C) over each event's hits; 0 for an event without hits."""
    if hits.num_hits == 0:
        return values.sum() * 0 + values.new_zeros(hits.batch_size, values.shape[1])
    largest = torch.segment_reduce(values, "max", lengths=hits.counts, axis=0, unsafe=True)
    return torch.where(hits.counts[:, None] > 0, largest, largest.new_zeros(()))


class EventContext(nn.Module):
    """What all hits of an event say together, told to each: (N, C) -> (N, C).

    ``Linear([mean, max])`` is computed once an event, not once a hit: of a layer on
    ``[local, global]`` the global half is the same for every hit.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, h: Tensor, hits: HitBatch) -> Tensor:
        return self.linear(pooled(h, hits))[hits.batch]


def pooled(h: Tensor, hits: HitBatch) -> Tensor:
    """(B, 2 C): mean and max of h (N, C) over each event."""
    return torch.cat([segment_mean(h, hits), segment_max(h, hits)], dim=1)


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

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, L, C) -> (N, C)."""
        flat = padded.reshape(self.batch_size * self.length, padded.shape[-1])
        return flat if self.is_full else flat[self.slot]

    def attention_mask(self) -> Tensor | None:
        """(B, 1, 1, L) bool, true at hits; ``None`` where every slot is one.

        An event without hits attends to its padding: the result is finite and thrown away.
        """
        if self.is_full:
            return None
        return (self.mask | ~self.mask.any(1, keepdim=True))[:, None, None, :]

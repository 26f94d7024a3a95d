"""Events that have more hits than a network takes in bounded time and memory."""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch

WITHOUT_LOOPS = 2_000
"""Hits of an event that the track fit takes on a CPU without compiled loops: in torch it is slow and takes memory."""


def too_large(hits: HitBatch, most: int | None) -> Tensor:
    """(B,) bool, whether an event has more than ``most`` hits; ``None``: there is no limit."""
    return torch.zeros_like(hits.counts, dtype=torch.bool) if most is None else hits.counts > most


def refuse_large_events(hits: HitBatch, most: int | None, name: str, first: int = 0, remedy: str = "") -> None:
    """Refuse a batch that has an event of more hits than a network takes, and name the networks that can.

    Args:
        hits: of B events.
        most: hits that the network takes; ``None``: any number.
        name: of the network.
        first: number of the batch's first event, for events without an ``event_id``.
        remedy: what lets this network take more, if anything does.

    Raises:
        DataError: with the event and its number of hits.
    """
    large = too_large(hits, most).nonzero()[:, 0].tolist()
    if large:
        event = large[0]
        number = first + event if hits.event_id is None else hits.event_id[event]
        raise DataError(
            f"event {number} has {int(hits.counts[event]):,} hits, {name} takes at most {most:,}",
            fix=f"{remedy}use a network whose cost is linear in the hits, e.g. torch-small: a perceiver, sparse or "
            "pointnet encoder; or leave such events out, in denoise.py with --on-bad skip",
        )

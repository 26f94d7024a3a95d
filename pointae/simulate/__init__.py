"""Simulated events: the TORCH detector and simplified patterns."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pointae.config import PatternSource, TorchSource
from pointae.hits import HitBatch
from pointae.simulate.patterns import simulate_patterns
from pointae.simulate.torch_detector import simulate_torch

SIMULATORS: dict[str, Callable[..., HitBatch]] = {"torch": simulate_torch, "patterns": simulate_patterns}
"""Simulators by the kind of their settings."""
_CHUNK = 1000
"""Events at a time; more would not fit the processor's cache."""


def simulate_events(source: TorchSource | PatternSource, seed: int, index: Tensor, epoch: int = 0) -> HitBatch:
    """Events of a simulated source.

    A pure function of ``(seed, epoch, number)`` for each event: it is bit-identical alone or in
    any batch.

    Args:
        source: the settings.
        seed: the data set's seed.
        index: (B,) int64, numbers of the events in the data set.
        epoch: epoch of a training with fresh events, else 0.

    Returns:
        B events with ``signal``, ``track``, ``origin`` and ``event_id`` = ``index``. The order of
        an event's hits says nothing about their origin.
    """
    simulate = SIMULATORS[source.kind]
    chunks = index.split(_CHUNK) if len(index) else (index,)
    return HitBatch.concat([simulate(source, seed, chunk, epoch) for chunk in chunks])

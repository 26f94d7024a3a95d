"""Simulated events: the TORCH detector, simplified patterns, robots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pointae.config import PatternSource, RobotSource, TorchSource
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.simulate.patterns import points_per_event, simulate_patterns
from pointae.simulate.robots import simulate_robots, voxels_per_robot
from pointae.simulate.torch_detector import photons_per_event, simulate_torch

SIMULATORS: dict[str, tuple[Callable[..., HitBatch], Callable[[Any], int]]] = {
    "torch": (simulate_torch, photons_per_event),
    "patterns": (simulate_patterns, points_per_event),
    "robots": (simulate_robots, voxels_per_robot),
}
"""By the kind of the settings: the simulator, and about how many points it holds for an event."""
_CHUNK_POINTS = 400_000
"""Points held at a time: enough to hide the cost of a call, few enough for the processor's cache."""


def simulate_events(
    source: TorchSource | PatternSource | RobotSource, seed: int, index: Tensor, epoch: int = 0
) -> HitBatch:
    """Events of a simulated source.

    Each event is a pure function of the settings, the seed, the epoch and its own number: it is
    bit-identical alone or in any batch.

    Args:
        source: the settings.
        seed: the data set's seed.
        index: (B,) int64, numbers of the events in the data set.
        epoch: epoch of a training with fresh events, else 0.

    Returns:
        B events with ``signal``, ``track``, ``origin`` (robots: with ``category``) and ``event_id`` = ``index``.
        The hits of an event are sorted by cell, one hit a cell, so their order says nothing about their origin.

    Raises:
        DataError: ``index`` is not (B,) int64, or the settings' noise cannot be lit.
        ConfigError: a mixture without shares.
    """
    if index.dtype != torch.int64 or index.ndim != 1:
        raise DataError(f"index must be (B,) int64, got {tuple(index.shape)} {index.dtype}")
    simulate, size = SIMULATORS[source.kind]
    chunks = index.tensor_split(1 + len(index) * size(source) // _CHUNK_POINTS)
    return HitBatch.concat([simulate(source, seed, chunk, epoch) for chunk in chunks])

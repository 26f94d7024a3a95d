"""The simulated events on which figures are measured: the conditions of the table, and sweeps of one quantity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pointae.config import TorchSource
from pointae.data.simulated import split_seed
from pointae.hits import HitBatch
from pointae.simulate import simulate_events

SEED = 2026
"""Of all events of the figures. No training meets them, whatever its seed: they are of splits of their own."""
CHUNK = 500
"""Events made and scored at once: bounds memory."""

Part = Literal["figures", "figures calibration"]
"""Events that are judged, and others on which filters are tuned and cuts are fixed."""


@dataclass(frozen=True)
class Condition:
    """Events of one kind.

    Args:
        name: how a table calls it.
        source: settings of the simulation.
        sweep: quantity of a sweep that it belongs to; empty for the conditions of the table.
        setting: value of that quantity.
    """

    name: str
    source: TorchSource = field(default_factory=TorchSource)
    sweep: str = ""
    setting: float | str = ""

    def events(self, number: int, part: Part = "figures") -> HitBatch:
        """The first ``number`` events of a part, the same in every call; ``event_id`` counts them from 0."""
        chunks = torch.arange(number).split(CHUNK)
        return HitBatch.concat([simulate_events(self.source, self.seed(part), chunk) for chunk in chunks])

    def seed(self, part: Part = "figures") -> int:
        """Seed of a part's events, the same for all conditions: their tracks differ only where they must."""
        return split_seed(SEED, part)


ONE_TRACK = Condition("1 track, 30 + 200 uniform", TorchSource(tracks=1, signal=30, noise=200))
THREE_TRACKS = Condition("3 tracks, 90 + 200 uniform", TorchSource(tracks=3, signal=30, noise=200))
TABLE = (ONE_TRACK, THREE_TRACKS)
"""70 ps, as everything that is not named."""

_FEW_SIGNAL = (10, 20, 30, 50, 70)
_MANY_TRACKS = (2, 3, 4, 5)
_NOISE = (0, 10, 30, 100, 200, 400, 700, 1000)
_TRACKS = (1, 2, 3, 4, 5)
_NOISE_MODES: tuple[Literal["uniform", "tracks", "crossing", "mixture"], ...] = (
    "uniform", "tracks", "crossing", "mixture",
)  # fmt: skip
_RESOLUTIONS_PS = (50.0, 60.0, 70.0, 85.0, 100.0)


def sweeps() -> list[Condition]:
    """Every point of the range, sweep by sweep; what a sweep does not change is as in :data:`ONE_TRACK`.

    ``signal`` has one track with 10 to 70 hits, then 2 to 5 tracks with 70 each; ``tracks`` has 30 a track.
    """
    swept: list[tuple[str, float | str, TorchSource]] = [
        *(("signal", hits, TorchSource(signal=hits)) for hits in _FEW_SIGNAL),
        *(("signal", 70 * tracks, TorchSource(signal=70, tracks=tracks)) for tracks in _MANY_TRACKS),
        *(("noise", hits, TorchSource(noise=hits)) for hits in _NOISE),
        *(("tracks", tracks, TorchSource(tracks=tracks)) for tracks in _TRACKS),
        *(("noise_mode", mode, TorchSource(noise_mode=mode)) for mode in _NOISE_MODES),
        *(("sigma_t_ps", width, TorchSource(sigma_t_ps=width)) for width in _RESOLUTIONS_PS),
    ]
    return [Condition(f"{sweep} {setting}", source, sweep, setting) for sweep, setting, source in swept]


def by_chunks(hits: HitBatch, score: Callable[[HitBatch], Tensor]) -> Tensor:
    """(N,) scores of all hits, :data:`CHUNK` events at a time.

    Args:
        hits: N hits of any number of events.
        score: (M,) scores of M hits of whole events.
    """
    starts = range(0, hits.batch_size, CHUNK)
    scores = [score(hits.events(slice(start, start + CHUNK))) for start in starts]
    return torch.cat(scores) if scores else torch.zeros(0)

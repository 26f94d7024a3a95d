"""Simulated events of a split, with the truth about their tracks; training may mix several settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pointae import draws
from pointae.config import DataSettings, PatternSource, TorchSource
from pointae.errors import ConfigError
from pointae.geometry import GEOMETRIES
from pointae.hits import HitBatch
from pointae.simulate import simulate_events
from pointae.simulate.torch_detector import torch_truth
from pointae.simulate.tracks import Tracks


def split_seed(seed: int, split: str) -> int:
    """The seed of a split: its events share none with another split's."""
    return int(draws.derive(torch.tensor(seed), split)) & 0x7FFFFFFF


@dataclass(frozen=True, eq=False)
class _Part:
    """Events that one source makes: their rows among those asked for, and their numbers."""

    source: TorchSource | PatternSource
    rows: Tensor
    numbers: Tensor


class SimulatedEvents:
    """Events of a simulator; with ``fresh``, training never meets one twice.

    Raises:
        ConfigError: shares of a ``variety`` above 1, or one of patterns.
    """

    feature_names: tuple[str, ...] = ()

    def __init__(self, source: TorchSource | PatternSource, data: DataSettings, seed: int) -> None:
        self.source, self.seed, self.fresh, self.counts = source, seed, data.fresh, data.events
        self.variety = data.variety
        if self.variety and not isinstance(source, TorchSource):
            raise ConfigError("only TORCH events can be varied", where="data.variety")
        if sum(part.share for part in self.variety) > 1 + 1e-9:
            raise ConfigError("the shares sum to more than 1", where="data.variety")
        self.geometry = GEOMETRIES["torch" if isinstance(source, TorchSource) else "deepclean3d"]()

    def num_events(self, split: str) -> int:
        """Events of one epoch of a split."""
        return int(getattr(self.counts, split))

    def events(self, split: str, numbers: Tensor, epoch: int) -> HitBatch:
        """The events numbered ``numbers`` (E,)."""
        parts = list(self._parts(split, numbers, epoch))
        made = [simulate_events(part.source, split_seed(self.seed, split), part.numbers) for part in parts]
        if len(made) == 1:
            return made[0]
        return HitBatch.concat(made).events(torch.argsort(torch.cat([part.rows for part in parts])))

    def tracks(self, split: str, numbers: Tensor, epoch: int) -> Tracks | None:
        """The tracks of these events, grouped by ``event``, their row among them; ``None`` for patterns."""
        found = []
        for part in self._parts(split, numbers, epoch):
            if not isinstance(part.source, TorchSource):
                return None
            tracks = torch_truth(part.source, split_seed(self.seed, split), part.numbers).tracks
            found.append(tracks.of_events(part.rows[tracks.event]))
        together = Tracks.concat(found)
        return together.select(torch.argsort(together.event, stable=True))

    def _parts(self, split: str, numbers: Tensor, epoch: int) -> Iterator[_Part]:
        if self.fresh and split == "train":
            numbers = numbers + (epoch - 1) * self.num_events(split)
        active = [part for part in self.variety if split == "train" and epoch >= part.from_epoch]
        keys = draws.event_keys(self.seed, epoch if self.fresh else 0, numbers, "variety")
        place, left = draws.uniform(keys, 0).double(), torch.ones(len(numbers), dtype=torch.bool)
        low = 0.0
        for part in active:
            inside = (place >= low) & (place < low + part.share)
            low += part.share
            left &= ~inside
            if bool(inside.any()):
                rows = inside.nonzero()[:, 0]
                yield _Part(part.source, rows, numbers[rows])
        rows = left.nonzero()[:, 0]
        if len(rows) or not active:
            yield _Part(self.source, rows, numbers[rows])

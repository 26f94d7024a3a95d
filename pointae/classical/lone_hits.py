"""A filter for detectors whose signal comes in clusters of neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pointae.classical.tuning import level_at, noise_removed, share_of, time_windows, tuning_events
from pointae.hits import HitBatch

BINS = 12
"""Bins of a feature, with as many lone hits in each."""


@dataclass
class LoneHits:
    """Lone hits are noise, the more so the less their features are those of lone signal hits.

    A hit is lone if no other hit of the event lies on the same or one of the eight neighbouring pixels
    within ``window``. One that is not scores above all that are, the more the sooner its neighbour. Lone hits are
    told apart by the odds of signal in the bin of each of their features on the events tuned on (naive Bayes);
    without features their score is 0.

    Args:
        retention: share of signal that must stay, for the tuning.
        window: longest time between neighbours, in the time axis' unit; tuned.
        edges: of the bins of each feature, (BINS - 1,) in its unit; tuned.
        odds: logarithms of the odds of signal in each bin of each feature, (BINS,); tuned.
        level: the tuned cut.
    """

    uses_features: ClassVar[bool] = True

    retention: float = 0.97
    window: float = 1.0
    edges: list[list[float]] = field(default_factory=list)
    odds: list[list[float]] = field(default_factory=list)
    level: float = 1.0

    def fit(self, validation: HitBatch) -> LoneHits:
        """Choose the window, the odds and the level on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = tuning_events(validation)
        gaps = time_to_neighbour(events)

        def removed(window: float) -> float:
            self._tune(events, gaps, window)
            return noise_removed(share_of(self._value(events, gaps)), events, self.retention)

        self._tune(events, gaps, max(time_windows(events.geometry.t), key=removed))
        self.level = level_at(self._value(events, gaps), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit."""
        score = share_of(self._value(hits, time_to_neighbour(hits)) / self.level)
        return torch.from_numpy(score).float().to(hits.device)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"window": self.window, "edges": self.edges, "odds": self.odds, "level": self.level}

    def _tune(self, events: HitBatch, gaps: np.ndarray, window: float) -> None:
        assert events.signal is not None
        self.window = window
        lone = gaps > window
        signal = events.signal.cpu().numpy()[lone]
        columns = events.features.cpu().double().numpy()[lone].T
        shares = np.arange(1, BINS) / BINS
        self.edges = [np.quantile(column, shares).tolist() if len(column) else [] for column in columns]
        self.odds = []
        for column, edges in zip(columns, self.edges, strict=True):
            bins = np.searchsorted(edges, column, side="right")
            counts = [np.bincount(bins[truth], minlength=BINS) + 1.0 for truth in (signal, ~signal)]
            of_signal, of_noise = (count / count.sum() for count in counts)
            self.odds.append(np.log(of_signal / of_noise).tolist())

    def _value(self, hits: HitBatch, gaps: np.ndarray) -> np.ndarray:
        """(N,) of lone hits a number in (0, 1), or 0 without features; of others one in [1, 2]."""
        odds = np.full(hits.num_hits, 0.0 if self.odds else -np.inf)
        columns = hits.features.cpu().double().numpy().T
        for column, edges, of_bin in zip(columns, self.edges, self.odds, strict=False):
            odds += np.take(of_bin, np.searchsorted(edges, column, side="right"))
        return np.where(gaps > self.window, 1 / (1 + np.exp(-odds)), 2 - np.minimum(gaps / self.window, 1))


def time_to_neighbour(hits: HitBatch) -> np.ndarray:
    """Time from each hit to the next other one, before or after it, on its pixel or one of the eight around.

    Args:
        hits: N hits.

    Returns:
        (N,) float64, in the time axis' unit; infinite for a hit without such a neighbour in its event.
    """
    shape = hits.geometry.spatial_shape
    x, y, t = hits.coords.cpu().long().numpy().T
    event = hits.batch.cpu().numpy()
    pixels = (event * (shape[0] + 2) + x + 1) * (shape[1] + 2) + y + 1  # with a margin: no pixel has one of another row
    keys = pixels * shape[2] + t
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    least = np.full(hits.num_hits, np.inf)
    place = np.empty(hits.num_hits, np.int64)
    place[order] = np.arange(hits.num_hits)
    for step in [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
        pixel = pixels + step[0] * (shape[1] + 2) + step[1]
        probe = pixel * shape[2] + t
        after = place + 1 if step == (0, 0) else np.searchsorted(ordered, probe)
        before = place - 1 if step == (0, 0) else after - 1
        for found in (before, after):
            exists = (found >= 0) & (found < hits.num_hits)
            other = ordered[np.clip(found, 0, max(hits.num_hits - 1, 0))] if hits.num_hits else probe
            exists &= other // shape[2] == pixel
            least = np.where(exists, np.minimum(least, np.abs(other - probe)), least)
    return least * hits.geometry.t.width

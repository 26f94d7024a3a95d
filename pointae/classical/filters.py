"""The filters: what each measures of a hit, turned into a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pointae.classical.measures import Scale, cluster_radius, neighbour_distance, window_crowding
from pointae.classical.tuning import level_at, radius_at, share_of, tune_distance, tune_window, tuning_events
from pointae.hits import HitBatch


@dataclass
class KnnDensity:
    """Density of hits around a hit: the distance d to its k-th nearest neighbour in the event.

    The score is ``r / (r + d)``, of the same order as -d; d in unit positions (edges of the
    detector at -1 and 1) times a scale for each axis.

    Args:
        retention: share of signal that must stay, for the tuning.
        neighbours: k; tuned.
        scale: of (x, y, t); tuned.
        radius: r, the distance of the tuned cut.
    """

    uses_features: ClassVar[bool] = False

    retention: float = 0.97
    neighbours: int = 3
    scale: Scale = (1.0, 1.0, 1.0)
    radius: float = 1.0

    def fit(self, validation: HitBatch) -> KnnDensity:
        """Choose k, the scales and the radius on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = tuning_events(validation)
        self.neighbours, self.scale = tune_distance(neighbour_distance, events, self.retention)
        self.radius = radius_at(self._distance(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 where the event has fewer than k others."""
        return _as_score(1 / (1 + self._distance(hits) / self.radius), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"neighbours": self.neighbours, "scale": list(self.scale), "radius": self.radius}

    def _distance(self, hits: HitBatch) -> np.ndarray:
        return neighbour_distance(hits, self.scale, (self.neighbours,))[:, 0]


@dataclass
class Dbscan:
    """DBSCAN: the radius eps at which a hit first belongs to a cluster.

    The score is ``r / (r + eps)``, so a cut on it keeps exactly the hits that DBSCAN at that eps
    does not call noise. From Ester et al., `A Density-Based Algorithm for Discovering Clusters
    (KDD 1996) <https://dl.acm.org/doi/10.5555/3001460.3001507>`_.

    Args:
        retention: share of signal that must stay, for the tuning.
        min_samples: hits within eps, itself among them, that make a hit a core; tuned.
        scale: of (x, y, t) in unit positions; tuned.
        radius: r, the eps of the tuned cut.
    """

    uses_features: ClassVar[bool] = False

    retention: float = 0.97
    min_samples: int = 4
    scale: Scale = (1.0, 1.0, 1.0)
    radius: float = 1.0

    def fit(self, validation: HitBatch) -> Dbscan:
        """Choose min_samples, the scales and the radius on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = tuning_events(validation)
        others, self.scale = tune_distance(cluster_radius, events, self.retention)
        self.min_samples = others + 1
        self.radius = radius_at(self._eps(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 where the event has fewer than min_samples hits."""
        return _as_score(1 / (1 + self._eps(hits) / self.radius), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"min_samples": self.min_samples, "scale": list(self.scale), "radius": self.radius}

    def _eps(self, hits: HitBatch) -> np.ndarray:
        return cluster_radius(hits, self.scale, (self.min_samples - 1,))[:, 0]


@dataclass
class TimeWindow:
    """Crowding in time: how many other hits n of the event share a sliding window with a hit.

    The score is ``n / (n + level)``.

    Args:
        retention: share of signal that must stay, for the tuning.
        window: width, in the time axis' unit; ``None``: a tenth of the axis. Tuned.
        level: n of the tuned cut.
    """

    uses_features: ClassVar[bool] = False

    retention: float = 0.97
    window: float | None = None
    level: float = 1.0

    def fit(self, validation: HitBatch) -> TimeWindow:
        """Choose the window, from one step to half the time axis, and the level on labelled events.

        Raises:
            DataError: the events carry no truth.
        """
        events = tuning_events(validation)
        self.window = tune_window(events, self.retention)
        self.level = level_at(self._crowding(events), events, self.retention)
        return self

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 score of each hit; 0 for a hit alone in its window."""
        return _as_score(share_of(self._crowding(hits) / self.level), hits)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""
        return {"window": self.window, "level": self.level}

    def _crowding(self, hits: HitBatch) -> np.ndarray:
        axis = hits.geometry.t
        return window_crowding(hits, (axis.high - axis.low) / 10 if self.window is None else self.window)


def _as_score(score: np.ndarray, hits: HitBatch) -> Tensor:
    return torch.from_numpy(score).float().to(hits.device)

"""Classical noise filters: the honest baselines in the table of the networks.

Each gives every hit a score in [0, 1], higher = more like signal, 0 where nothing speaks for the
hit, so that the cuts and metrics of a network apply. Each is tuned on labelled validation events,
for the most noise removed at a given signal retention; 0.5 is the cut that keeps that retention
there.

Example:
    >>> baseline = BASELINES["knn_density"](retention=0.97).fit(validation)
    >>> hits = hits.replace(score=baseline.score(hits))
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor

from pointae.classical.filters import Dbscan, KnnDensity, TimeWindow
from pointae.classical.lone_hits import LoneHits
from pointae.hits import HitBatch

__all__ = ["BASELINES", "Baseline", "Dbscan", "KnnDensity", "LoneHits", "TimeWindow"]


class Baseline(Protocol):
    """A filter that can be tuned and can score hits."""

    uses_features: ClassVar[bool]
    """Whether it looks at the hits' features beside (x, y, t)."""

    retention: float

    def __init__(self, retention: float = 0.97) -> None:
        """Not tuned yet."""

    def fit(self, validation: HitBatch) -> Baseline:
        """Tune on labelled events; returns itself."""

    def score(self, hits: HitBatch) -> Tensor:
        """(N,) float32 in [0, 1], higher = more like signal."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, for the report."""


BASELINES: dict[str, type[Baseline]] = {
    "knn_density": KnnDensity,
    "dbscan": Dbscan,
    "time_window": TimeWindow,
    "lone_hits": LoneHits,
}
"""Every baseline, by the name that settings use."""

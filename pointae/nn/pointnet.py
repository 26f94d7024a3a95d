"""PointNet whose hits hear of the whole event again and again."""

from __future__ import annotations

from torch import Tensor, nn

from pointae.config import PointNetSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.segments import EventContext, pooled


class GlobalRound(nn.Module):
    """One round: every hit hears of its event, then thinks for itself. (N, C) -> (N, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.context = EventContext(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, h: Tensor, hits: HitBatch) -> Tensor:
        n = self.norm(h)
        return h + self.mlp(n + self.context(n, hits))


class PointNetEncoder(nn.Module):
    """PointNet (Qi et al. 2017, arXiv:1612.00593) with repeated global context.

    One max-pool at the end tells no hit what the others look like in time for it to matter; here
    the pooled event (mean and max) goes back to every hit in each round. O(N) in time and memory.

    Args:
        settings: width and number of rounds.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).
    """

    def __init__(
        self, settings: PointNetSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        self.hit_channels = settings.channels
        self.embedding = HitEmbedding(geometry, in_features, settings.channels)
        self.rounds = nn.ModuleList(GlobalRound(settings.channels) for _ in range(settings.rounds))
        self.norm = nn.LayerNorm(settings.channels)
        self.to_code = nn.Linear(2 * settings.channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        h = self.embedding(hits)  # (N, C)
        for round_ in self.rounds:
            h = round_(h, hits)
        h = self.norm(h)
        return Encoding(self.to_code(pooled(h, hits)), h)

"""PointNet whose hits hear of the whole event again and again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointae.config import PointNetSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.segments import EventContext, pooled, segment_max


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


class Alignment(nn.Module):
    """T-Net of PointNet: a 3 x 3 matrix an event, the identity at first, that its positions are multiplied with.

    Shapes:
        positions (N, 3) in half axes of N hits of B events -> aligned (N, 3), matrices (B, 3, 3).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.per_hit = nn.Sequential(
            nn.Linear(3, channels), nn.GELU(), nn.Linear(channels, 2 * channels), nn.GELU()
        )  # fmt: skip
        self.to_matrix = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, 9))
        nn.init.zeros_(self.to_matrix[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.to_matrix[-1].bias)  # type: ignore[arg-type]

    def forward(self, unit: Tensor, hits: HitBatch) -> tuple[Tensor, Tensor]:
        event = segment_max(self.per_hit(unit), hits)  # (B, 2 C)
        matrix = self.to_matrix(event).unflatten(1, (3, 3)) + torch.eye(3, device=unit.device)
        return (unit[:, None] @ matrix[hits.batch])[:, 0], matrix


class PointNetEncoder(nn.Module):
    """PointNet (Qi et al. 2017, arXiv:1612.00593) with repeated global context.

    One max-pool at the end tells no hit what the others look like in time for it to matter; here
    the pooled event (mean and max) goes back to every hit in each round. O(N) in time and memory.

    Args:
        settings: width, number of rounds, whether events are aligned first.
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
        self.embedding = HitEmbedding(geometry, in_features, settings.channels, settings.categories, settings.ranks)
        self.align = Alignment(settings.channels) if settings.align else None
        self.rounds = nn.ModuleList(GlobalRound(settings.channels) for _ in range(settings.rounds))
        self.norm = nn.LayerNorm(settings.channels)
        self.to_code = nn.Linear(2 * settings.channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        matrix = None
        if self.align is None:
            h = self.embedding(hits)  # (N, C)
        else:
            unit = hits.geometry.unit_positions(hits.pos).to(self.to_code.weight.dtype)
            unit, matrix = self.align(unit, hits)
            h = self.embedding.named(self.embedding.at(unit, hits), hits)
        for round_ in self.rounds:
            h = round_(h, hits)
        h = self.norm(h)
        return Encoding(self.to_code(pooled(h, hits)), h, alignment=matrix)

"""How a hit enters a network: its position at every scale of the grid, and its measured features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch

MAX_OCTAVES = 10
"""Finest period is 2^-9 of an axis: enough for 1000 bins, and still smooth between them."""


class HitEmbedding(nn.Module):
    """Fourier features of a hit's position, joined with its features, to ``channels``.

    Each axis contributes sines and cosines of periods 2, 1, 1/2, ... of its length down to about
    four bins (Tancik et al. 2020, arXiv:2006.10739): a plain coordinate would have to be
    sharpened layer by layer before a network could tell 25 ps apart.

    Args:
        geometry: the detector's grid.
        in_features: C, columns of ``hits.features``.
        channels: width of the result.

    Shapes:
        hits of N hits -> (N, channels).
    """

    def __init__(self, geometry: DetectorGeometry, in_features: int, channels: int) -> None:
        super().__init__()
        self.geometry = geometry
        rows = []
        for i, axis in enumerate(geometry.axes):
            for octave in range(max(1, min(MAX_OCTAVES, int(math.log2(max(2, axis.bins))) - 1))):
                row = [0.0, 0.0, 0.0]
                row[i] = math.pi / 2 * 2**octave
                rows.append(row)
        self.register_buffer("frequencies", torch.tensor(rows).T.contiguous(), persistent=False)  # (3, F)
        self.frequencies: Tensor
        self.feature_norm = nn.LayerNorm(in_features) if in_features > 1 else nn.Identity()
        self.linear = nn.Linear(3 + 2 * len(rows) + in_features, channels)

    def forward(self, hits: HitBatch) -> Tensor:
        unit = self.geometry.unit_positions(hits.pos).to(self.frequencies.dtype)  # (N, 3)
        angles = unit @ self.frequencies  # (N, F)
        features = self.feature_norm(hits.features.to(unit.dtype))
        return self.linear(torch.cat([unit, angles.sin(), angles.cos(), features], dim=1))

"""Edge convolution over the hits nearest in the detector's own measure."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import EdgeConv

from pointae.config import EdgeConvSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.segments import EventContext, Padding, pooled

_PAIRS_AT_ONCE = 1 << 24
"""Bounds memory."""


def nearest_hits(pos: Tensor, hits: HitBatch, neighbours: int) -> Tensor:
    """Edges from each hit's nearest hits of its own event, itself included.

    All pairs of an event are compared: at a few hundred hits that is faster than any tree.

    Args:
        pos: (N, D) positions whose Euclidean distance counts.
        hits: N hits of B events.
        neighbours: k; fewer in events with fewer hits.

    Returns:
        (2, E) int64, torch-geometric's ``edge_index``: row 0 the neighbour, row 1 the hit.
    """
    if hits.num_hits == 0:
        return torch.zeros((2, 0), dtype=torch.int64, device=hits.device)
    padding = Padding(hits)
    padded = padding.pad(pos)
    values, indices = [], []
    for some in padded.split(max(1, _PAIRS_AT_ONCE // (padding.batch_size * padding.length)), 1):
        distance = torch.cdist(some, padded, compute_mode="donot_use_mm_for_euclid_dist")  # (B, some, L)
        if not padding.is_full:
            distance = distance.masked_fill(~padding.mask[:, None, :], torch.inf)
        found = distance.topk(min(neighbours, padding.length), largest=False)
        values.append(found.values)
        indices.append(found.indices)
    source = hits.offsets[:-1, None, None] + torch.cat(indices, 1)  # (B, L, k) as numbers of hits
    target = torch.arange(padding.length, device=hits.device)[None, :, None] + hits.offsets[:-1, None, None]
    real = torch.cat(values, 1).isfinite()
    if not padding.is_full:
        real = real & padding.mask[:, :, None]
    return torch.stack([source[real], target.expand_as(source)[real]])


class EdgeConvEncoder(nn.Module):
    """EdgeConv layers (Wang et al. 2019, arXiv:1801.07829; torch-geometric's) between global rounds.

    Neighbours are those in unit positions of the detector, found once a batch.

    Args:
        settings: width, layers, neighbours, ``max_hits``.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).
    """

    def __init__(
        self, settings: EdgeConvSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        channels = self.hit_channels = settings.channels
        self.geometry, self.neighbours, self.max_hits = geometry, settings.neighbours, settings.max_hits
        self.embedding = HitEmbedding(geometry, in_features, channels)
        self.layers = nn.ModuleList(
            EdgeConv(nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, channels)))
            for _ in range(settings.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(settings.layers))
        self.contexts = nn.ModuleList(EventContext(channels) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(channels)
        self.to_code = nn.Linear(2 * channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        edges = nearest_hits(self.geometry.unit_positions(hits.pos), hits, self.neighbours)
        h = self.embedding(hits)  # (N, C)
        for layer, norm, context in zip(self.layers, self.norms, self.contexts, strict=True):
            n = norm(h)
            h = h + layer(n + context(n, hits), edges)
        h = self.norm(h)
        return Encoding(self.to_code(pooled(h, hits)), h)

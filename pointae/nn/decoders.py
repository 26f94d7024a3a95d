"""Point decoders: a mask on the measured hits, or a set of points from the code alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pointae.config import PerHitSettings, PointSetSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.half import head_loops
from pointae.nn.half.whole_head import whole_head
from pointae.nn.loops import array_of
from pointae.nn.outputs import HitLogits, PointSet
from pointae.nn.sparse.rows import RowLinear

REACH_BINS = 8.0
"""A point of a decoded set speaks for measured hits within about this many bins of each axis."""


class PerHitDecoder(nn.Module):
    """Is this hit signal? From what the encoder kept of the hit, and from its event's code.

    Keeps or removes measured hits, so x, y and time of what is kept are exact by construction.
    Where the encoder keeps no hit features (a dense image), the hit itself is embedded.

    Args:
        settings: hidden width.
        geometry: the detector's grid.
        code_size: D of z.
        hit_channels: C of the encoder's hit features; 0 for none.
        in_features: columns of ``hits.features``.

    Shapes:
        z (B, D), hit_features (N, C) or None, N hits -> logits (N,).
    """

    def __init__(
        self,
        settings: PerHitSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        if hit_channels == 0:
            self.embedding: nn.Module | None = HitEmbedding(geometry, in_features, settings.hidden)
        else:
            self.embedding = None
        self.from_hit = RowLinear(hit_channels or settings.hidden, settings.hidden)
        self.from_code = nn.Linear(code_size, settings.hidden, bias=False)
        self.head = nn.Sequential(
            nn.GELU(), RowLinear(settings.hidden, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, 1)
        )

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> HitLogits:
        if hit_features is None:
            assert self.embedding is not None
            hit_features = self.embedding(hits)
        if loops := self._loops_for(hit_features, hits):
            return HitLogits(self._at_once(z, hit_features, hits, loops))
        h = self.from_hit(hit_features) + self.from_code(z).index_select(0, hits.batch)
        return HitLogits(self.head(h)[:, 0].float() if h.dtype != torch.float64 else self.head(h)[:, 0])

    def _loops_for(self, hit_features: Tensor, hits: HitBatch) -> Any:
        is_half = hit_features.dtype == torch.bfloat16
        return head_loops(hits, *self.from_hit.weight.shape) if is_half else None

    def _at_once(self, z: Tensor, hit_features: Tensor, hits: HitBatch, loops: Any) -> Tensor:
        """The logits (N,) as one operation of compiled loops."""
        with torch.autocast("cpu", enabled=False):  # as in the encoder
            messages = self.from_code(z.float()) + self.from_hit.bias
        layers: tuple[Any, ...] = self.head[1], self.head[3]
        of_head = [weight for layer in layers for weight in (layer.weight, layer.bias)]
        weights = self.from_hit.weight, *of_head
        return whole_head(hit_features, messages, array_of(hits.offsets), weights, loops)


class PointSetDecoder(nn.Module):
    """A full pattern of K candidate points from the code alone.

    A learned query a slot is joined with the code and refined by a shared network; fully
    connected in the code, as in Achlioptas et al. 2018, arXiv:1707.02392.

    Args:
        settings: slots K, hidden width, categories Q.
        geometry: the detector's grid.
        code_size: D of z.
        hit_channels, in_features: not used; the same signature for every decoder.

    Shapes:
        z (B, D) -> pos (B, K, 3) inside the detector, presence (B, K), categories (B, K, Q).
    """

    def __init__(
        self,
        settings: PointSetSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int = 0,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        self.geometry, self.categories = geometry, settings.categories
        self.from_code = nn.Sequential(
            nn.Linear(code_size, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, settings.hidden)
        )
        self.queries = nn.Parameter(torch.randn(settings.slots, settings.hidden))
        self.head = nn.Sequential(
            nn.LayerNorm(settings.hidden),
            nn.Linear(settings.hidden, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, 4 + settings.categories),
        )
        reach = torch.tensor(geometry.bin_widths, dtype=torch.float32) * REACH_BINS
        self.register_buffer("reach", reach, persistent=False)
        self.reach: Tensor

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> PointSet:
        slots = self.head(self.from_code(z)[:, None] + self.queries)  # (B, K, 4 + Q)
        if slots.dtype != torch.float64:
            slots = slots.float()
        pos = self.geometry.physical_positions(slots[..., :3].tanh())
        return PointSet(pos, slots[..., 3], slots[..., 4:], self.reach)

"""Set attention over an event's hits, aware of their distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointae.config import AttentionSettings
from pointae.errors import DataError, UsageError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.segments import Padding, pooled


class RotaryPositions(nn.Module):
    """Turns queries and keys by their hit's position, so that a score sees position differences.

    Rotary embedding with learned frequencies that mix the three axes, after "RoPE-Mixed" (Heo et
    al. 2024, arXiv:2403.13298): each head becomes a learned kernel in (x, y, t) differences.

    Args:
        heads, head_channels: of the attention; ``head_channels`` even.
        spread: standard deviation of the first frequencies, in half-turns per half axis.
    """

    def __init__(self, heads: int, head_channels: int, spread: float = 6.0) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(3, heads * head_channels // 2) * spread)
        self.heads = heads

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (B, H, L, E / 2) for positions (B, L, 3) in [-1, 1]."""
        angles = (unit.to(self.frequencies.dtype) @ self.frequencies).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return angles.cos(), angles.sin()


def rotate(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of channels of values (B, H, L, E) by their angles."""
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class AttentionBlock(nn.Module):
    """Pre-norm transformer block (Vaswani et al. 2017, arXiv:1706.03762) on padded hits."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.rotary = RotaryPositions(heads, channels // heads)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, h: Tensor, unit: Tensor, mask: Tensor | None) -> Tensor:
        h = h + self.attend(self.norm_1(h), unit, mask)
        return h + self.mlp(self.norm_2(h))

    def attend(self, h: Tensor, unit: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, C) -> (B, L, C): every hit reads from every hit of its event."""
        q, k, v = self.to_qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # 3 x (B, H, L, E)
        cos, sin = (turn.to(q.dtype) for turn in self.rotary(unit))
        read = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, attn_mask=mask)
        return self.to_out(read.transpose(1, 2).flatten(-2))


class AttentionEncoder(nn.Module):
    """Transformer over the hits of each event; events never see each other.

    Time grows with the square of an event's hits; events above ``max_hits`` are refused.

    Args:
        settings: width, layers, heads, ``max_hits``.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).

    Raises:
        UsageError: channels that the heads do not divide into even widths.
        DataError: an event above ``max_hits``.
    """

    def __init__(
        self, settings: AttentionSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        if settings.channels % (2 * settings.heads):
            raise UsageError(f"attention with {settings.heads} heads needs channels divisible by {2 * settings.heads}")
        self.geometry, self.max_hits = geometry, settings.max_hits
        self.hit_channels = settings.channels
        self.embedding = HitEmbedding(geometry, in_features, settings.channels)
        self.blocks = nn.ModuleList(AttentionBlock(settings.channels, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.channels)
        self.to_code = nn.Linear(2 * settings.channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        refuse_large_events(hits, self.max_hits, "attention")
        padding = Padding(hits)
        mask = padding.attention_mask()
        unit = padding.pad(self.geometry.unit_positions(hits.pos))
        h = padding.pad(self.embedding(hits))  # (B, L, C)
        for block in self.blocks:
            h = block(h, unit, mask)
        h = padding.unpad(self.norm(h))
        return Encoding(self.to_code(pooled(h, hits)), h)


def refuse_large_events(hits: HitBatch, max_hits: int, name: str) -> None:
    """Refuse events whose all-pairs cost would exhaust memory, and name the networks that can.

    Raises:
        DataError: with the event and its number of hits.
    """
    if hits.batch_size and int(hits.counts.max()) > max_hits:
        event = int(hits.counts.argmax())
        raise DataError(
            f"event {event} has {int(hits.counts[event])} hits, {name} takes at most {max_hits}",
            fix="use a sparse or pointnet encoder, whose cost is linear in the hits",
        )

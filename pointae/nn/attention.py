"""Set attention over an event's hits, aware of their distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointae.config import AttentionSettings
from pointae.errors import UsageError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.segments import Padding, pooled
from pointae.nn.track_mixture import PooledTrackMixtureHead, refuse_other_grids


class RotaryPositions(nn.Module):
    """Turns queries and keys by their hit's position, so that a score sees position differences.

    Rotary embedding with learned frequencies that mix the three axes, after "RoPE-Mixed" (Heo et
    al. 2024, arXiv:2403.13298): each head becomes a learned kernel in (x, y, t) differences.

    Args:
        channels: C of the attention.
        spread: standard deviation of the first frequencies, radians per half axis.
    """

    def __init__(self, channels: int, spread: float = 6.0) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(3, channels // 2) * spread)

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (B, L, C / 2) for positions (B, L, 3) in [-1, 1]."""
        angles = unit.to(self.frequencies.dtype) @ self.frequencies
        return angles.cos(), angles.sin()


def rotate(pairs: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs (B, L, 2, C / 2), first and second members of each pair, by their angles."""
    cos, sin = turn
    first, second = pairs.unbind(2)
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=2)


def weighted_values(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """``softmax(q k^T / sqrt(E)) v`` for (B, H, L, E); ``mask`` (B, 1, 1, L) is true at hits."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # torch's fused kernel has no fast bf16 backward on CPUs: plain products train three times faster.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores += torch.where(mask, 0.0, -torch.inf).to(scores.dtype)
        return scores.softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class AttentionBlock(nn.Module):
    """Pre-norm transformer block (Vaswani et al. 2017, arXiv:1706.03762) on padded hits."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.rotary = RotaryPositions(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, h: Tensor, unit: Tensor, mask: Tensor | None) -> Tensor:
        h = h + self.attend(self.norm_1(h), unit, mask)
        return h + self.mlp(self.norm_2(h))

    def attend(self, h: Tensor, unit: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, C) -> (B, L, C): every hit reads from every hit of its event."""
        q, k, v = self.to_qkv(h).unflatten(-1, (3, 2, -1)).unbind(2)  # 3 x (B, L, 2, C / 2)
        cos, sin = self.rotary(unit)
        turn = (cos.to(q.dtype), sin.to(q.dtype))
        q, k, v = (self.by_head(pairs) for pairs in (rotate(q, turn), rotate(k, turn), v))
        read = weighted_values(q, k, v, mask)
        return self.to_out(read.transpose(1, 2).flatten(-2))

    def by_head(self, pairs: Tensor) -> Tensor:
        """(B, L, 2, C / 2) -> (B, H, L, E): pairs lie side by side only here, so that turning them is wide."""
        return pairs.unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4).flatten(-2)


class AttentionEncoder(nn.Module):
    """Transformer over the hits of each event; events never see each other.

    Time grows with the square of an event's hits; :class:`~pointae.nn.autoencoder.Autoencoder` refuses events above
    ``max_hits``.

    Args:
        settings: width, layers, heads, ``max_hits``.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).

    With ``proposals``, one more layer and a head guess the event's tracks, an auxiliary target.

    Raises:
        UsageError: channels that the heads do not divide into even widths; proposals on another grid than TORCH.
    """

    def __init__(
        self, settings: AttentionSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        if settings.channels % (2 * settings.heads):
            raise UsageError(f"attention with {settings.heads} heads needs channels divisible by {2 * settings.heads}")
        self.geometry, self.max_hits = geometry, settings.max_hits
        self.hit_channels = settings.channels
        self.embedding = HitEmbedding(geometry, in_features, settings.channels, settings.categories, settings.ranks)
        self.blocks = nn.ModuleList(AttentionBlock(settings.channels, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.channels)
        self.to_code = nn.Linear(2 * settings.channels, code_size)
        self.to_tracks: nn.ModuleList | None = None
        if settings.proposals:
            refuse_other_grids(geometry)
            block = AttentionBlock(settings.channels, settings.heads)
            self.to_tracks = nn.ModuleList([block, PooledTrackMixtureHead(settings.channels, settings.proposals)])

    def forward(self, hits: HitBatch) -> Encoding:
        padding = Padding(hits)
        mask = padding.attention_mask()
        unit = padding.pad(self.geometry.unit_positions(hits.pos))
        h = padding.pad(self.embedding(hits))  # (B, L, C)
        for block in self.blocks:
            h = block(h, unit, mask)
        tracks = None
        if self.to_tracks is not None:
            block, head = self.to_tracks
            assert isinstance(head, PooledTrackMixtureHead)
            tracks = head.from_hits(block(h, unit, mask), padding)
        h = padding.unpad(self.norm(h))
        return Encoding(self.to_code(pooled(h, hits)), h, tracks)

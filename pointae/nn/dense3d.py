"""Dense 3D convolutions on a coarse grid: what sparse ones are to be compared with."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from pointae.config import Dense3dSettings, DenseSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.cells import cell_centres, cell_offsets
from pointae.nn.embedding import HitEmbedding
from pointae.nn.feature_scale import feature_scale
from pointae.nn.outputs import Encoding, Volume
from pointae.voxels import coarse_shape, gather_at, to_dense, voxelize

SEED_CELLS = 64
"""The dense decoder starts from a volume of at most so many cells."""
EMPTY_LOGIT = -4.6
"""First guess of a decoded voxel: 1 % occupied, so that the empty ones do not drown the first
epochs (the prior of Lin et al. 2017, arXiv:1708.02002)."""


class Dense3dEncoder(nn.Module):
    """Residual 3D convolutions at one declared stride.

    A cell holds log(1 + its hits), the mean place of its hits inside it, the mean of their
    features, and its own position (Liu et al. 2018, arXiv:1807.03247), for an image of a track is
    not the same everywhere. Time and memory follow the volume: meant for coarse strides.

    Args:
        settings: channels and stride.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).
    """

    def __init__(
        self, settings: Dense3dSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        channels = settings.channels
        self.hit_channels = channels
        self.stride = settings.stride
        self.embedding = HitEmbedding(geometry, in_features, channels)
        self.feature_scale = feature_scale(in_features)
        self.enter = nn.Conv3d(1 + 3 + in_features + 3, channels, 3, padding=1)
        self.fine = nn.Sequential(DenseBlock(channels), DenseBlock(channels), _norm(channels))
        self.down = nn.Conv3d(channels, 2 * channels, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(DenseBlock(2 * channels), _norm(2 * channels))
        self.to_hits = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.to_code = nn.Linear(4 * channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        volume = self.fine(self.enter(self._cells(hits)))  # (B, C, X, Y, T)
        coarse = self.coarse(self.down(volume)).flatten(2)  # (B, 2 C, cells)
        code = self.to_code(torch.cat([coarse.mean(2), coarse.amax(2)], dim=1))
        h = self.embedding(hits) + self.to_hits(gather_at(volume, hits, self.stride))
        return Encoding(code, self.norm(h))

    def _cells(self, hits: HitBatch) -> Tensor:
        """(B, 1 + 3 + C + 3, X, Y, T) what each cell holds."""
        dtype = self.enter.weight.dtype
        features = self.feature_scale(hits.features.to(dtype))
        measured = torch.cat([cell_offsets(hits, self.stride, dtype), features], dim=1)
        voxels, voxel_of_hit = voxelize(hits, measured, self.stride)
        count = torch.bincount(voxel_of_hit, minlength=voxels.num_voxels)[:, None].to(dtype)
        held = to_dense(voxels.replace_features(torch.cat([count.log1p(), voxels.features], dim=1)))
        centres = cell_centres(voxels.spatial_shape, hits.device, dtype)
        return torch.cat([held, centres.expand(hits.batch_size, *centres.shape)], dim=1)


class DenseDecoder(nn.Module):
    """A volume of logits at a declared stride, from the code alone.

    A linear layer makes a small volume, transposed convolutions double it until it covers the
    grid, and what juts out is cut off.

    Args:
        settings: stride and channels at the end; twice as many one step before, at most 4 times.
        geometry: the detector's grid.
        code_size: D of z.
        hit_channels, in_features: not used; the same signature for every decoder.

    Shapes:
        z (B, D) -> logits (B, 1, X, Y, T) at the stride.
    """

    def __init__(
        self,
        settings: DenseSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int = 0,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        self.stride = settings.stride
        self.spatial_shape = coarse_shape(geometry.spatial_shape, settings.stride)
        small, widths = self.spatial_shape, [settings.channels]
        while prod(small) > SEED_CELLS:
            small = coarse_shape(small, (2, 2, 2))
            widths.insert(0, min(2 * widths[0], 4 * settings.channels))
        self.small = (widths[0], *small)
        self.from_code = nn.Linear(code_size, prod(self.small))
        self.grow = nn.Sequential(*(_double(a, b) for a, b in pairwise(widths)))
        self.to_logits = nn.Sequential(_norm(widths[-1]), nn.GELU(), nn.Conv3d(widths[-1], 1, 3, padding=1))
        nn.init.constant_(self.to_logits[-1].bias, EMPTY_LOGIT)  # type: ignore[arg-type]

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> Volume:
        volume = self.grow(self.from_code(z).unflatten(1, self.small))
        x, y, t = self.spatial_shape
        logits = self.to_logits(volume[..., :x, :y, :t])  # (B, 1, X, Y, T)
        return Volume(logits.to(torch.promote_types(logits.dtype, torch.float32)), self.stride)


class DenseBlock(nn.Module):
    """Two 3 x 3 x 3 convolutions beside a straight way: (B, C, X, Y, T) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(channels),
            nn.GELU(),
            nn.Conv3d(channels, channels, 3, padding=1),
            _norm(channels),
            nn.GELU(),
            nn.Conv3d(channels, channels, 3, padding=1),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)  # each event by itself, whatever its batch


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        _norm(in_channels), nn.GELU(), nn.ConvTranspose3d(in_channels, out_channels, 4, stride=2, padding=1)
    )

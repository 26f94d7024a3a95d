"""Sparse convolutional U-Net on occupied voxels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pointae.config import SparseSettings
from pointae.errors import ConfigError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.cells import cell_offsets
from pointae.nn.embedding import HitEmbedding
from pointae.nn.outputs import Encoding
from pointae.nn.sparse.engines import build_levels, resolve_engine
from pointae.nn.sparse.layers import DownConv, DownPool, ResidualBlock, UpConv
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.rows import RowLinear, RowNorm, pooled_rows
from pointae.voxels import Triple, VoxelBatch, voxelize

HITS_A_THREAD = {"torch": 4_000, "spconv": 12_000, "dense": 12_000}
"""Hits from which a thread is better off with events of its own, as measured, by engine."""


class SparseEncoder(nn.Module):
    """U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of submanifold sparse convolutions
    (Graham et al. 2018, arXiv:1711.10275).

    It starts at a stride at which hits have neighbours (``analysis.neighbour_counts``): at the
    native one a kernel sees single hits. What lies inside a voxel is told to it by its hits'
    places there, averaged, and comes back to the hits at the end; every block also hears of the
    whole event. Cost follows the occupied voxels: neither the volume nor the number of time bins
    matters.

    Args:
        settings: channels, strides of the levels, kernel, engine.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).

    Raises:
        ConfigError: a stride is no multiple of the one before.
        ComponentError: the engine named cannot run here.
    """

    def __init__(
        self, settings: SparseSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        channels = settings.channels
        self.hit_channels = channels
        self.stride = settings.strides[0]
        self.ratios = stride_ratios(settings.strides)
        self.engine, self.engine_reason = resolve_engine(settings.engine)
        self.hits_a_thread = HITS_A_THREAD[self.engine]
        self.embedding = HitEmbedding(
            geometry, in_features, channels, settings.categories, settings.ranks, settings.octaves
        )
        self.in_cell = nn.Linear(3, channels, bias=False)
        self.kernel_size, self.dilation = settings.kernel_size, settings.dilation
        self.unet = SparseUNet(channels, self.ratios, settings.kernel_size, settings.down)
        self.to_hits = RowLinear(channels, channels)
        self.norm = RowNorm(channels)
        self.to_code = nn.Linear(2 * channels, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        offsets = cell_offsets(hits, self.stride, self.in_cell.weight.dtype)
        h = self.embedding(hits) + self.in_cell(offsets)  # (N, C)
        voxels, voxel_of_hit = voxelize(hits, h, self.stride)  # M voxels
        v = self.unet(voxels.features, self.levels(voxels))  # (M, C)
        h = self.norm(h + self.to_hits(v).index_select(0, voxel_of_hit))
        return Encoding(self.to_code(pooled_rows(h, hits)), h)

    def levels(self, voxels: VoxelBatch) -> list[Level]:
        """The levels that the network's convolutions work on, finest first."""
        return build_levels(self.engine, voxels, self.ratios, self.kernel_size, self.dilation)


class SparseUNet(nn.Module):
    """One level of the U and, inside it, all coarser ones.

    What goes down, and what comes out at the bottom, is normalised: without that the straight
    ways add up and training diverges.

    Args:
        channels: C.
        ratios: of each level to the next.
        kernel_size: of the convolutions within a level.
        down: ``"conv"``, or ``"max"`` or ``"mean"`` for pooling.

    Shapes:
        (M, C) -> (M, C) on its finest level.
    """

    def __init__(
        self, channels: int, ratios: list[Triple], kernel_size: Triple = (3, 3, 3), down: str = "conv"
    ) -> None:
        super().__init__()
        self.enter = ResidualBlock(channels, kernel_size)
        self.norm = RowNorm(channels)
        self.has_inner = bool(ratios)
        if ratios:
            self.down = DownConv(channels, channels, ratios[0]) if down == "conv" else DownPool(down)
            self.inner = SparseUNet(channels, ratios[1:], kernel_size, down)
            self.up = UpConv(channels, channels, ratios[0])
            self.leave = ResidualBlock(channels, kernel_size)

    def forward(self, h: Tensor, levels: list[Level]) -> Tensor:
        level, *coarser = levels
        h = self.enter(h, level)
        n = self.norm(h)
        if not self.has_inner:
            return n
        below = self.inner(self.down(n, level), coarser)
        return self.leave(h + self.up(below, level), level)


def stride_ratios(strides: list[Triple]) -> list[Triple]:
    """Voxels of each level that make one of the next.

    Raises:
        ConfigError: a stride is no multiple of the one before, or the same.
    """
    ratios = []
    for fine, coarse in pairwise(strides):
        if fine == coarse or any(b % a for a, b in zip(fine, coarse, strict=True)):
            raise ConfigError(f"each stride must be a multiple of the one before, got {fine} then {coarse}")
        ratios.append((coarse[0] // fine[0], coarse[1] // fine[1], coarse[2] // fine[2]))
    return ratios

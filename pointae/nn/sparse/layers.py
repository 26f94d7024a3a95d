"""Sparse convolutions as modules: they own the weights, a level of any engine computes."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor, nn

from pointae.nn.sparse.event_groups import EventGroups
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.rows import ContextReLU, RowNorm, RowNormReLU
from pointae.nn.sparse.whole_block import whole_block
from pointae.voxels import Triple


class SparseConv(nn.Module):
    """Weights of a sparse convolution: ``weight`` (K, C_in, C_out), offsets in C order, and ``bias`` (C_out,).

    Args:
        in_channels, out_channels: C_in, C_out.
        kernel_size: K = its product.
        terms: occupied offsets to expect at once. Counting all K, as for a dense convolution,
            would start a network on sparse events with vanishing outputs.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Triple, terms: float) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        bound = sqrt(3 / (in_channels * terms))  # unit variance in, unit variance out
        self.weight = nn.Parameter(torch.empty(prod(kernel_size), in_channels, out_channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def extra_repr(self) -> str:
        _, in_channels, out_channels = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={self.kernel_size}"


class SubmanifoldConv(SparseConv):
    """Convolution whose outputs exist where inputs do (arXiv:1711.10275): (M, C_in) -> (M, C_out)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Triple = (3, 3, 3)) -> None:
        super().__init__(in_channels, out_channels, kernel_size, terms=sqrt(prod(kernel_size)))

    def forward(self, features: Tensor, level: Level) -> Tensor:
        return level.submanifold(features, self.weight, self.bias)


class DownConv(SparseConv):
    """To the next coarser level, kernel = stride = ratio: (M, C_in) -> (M', C_out)."""

    def __init__(self, in_channels: int, out_channels: int, ratio: Triple) -> None:
        super().__init__(in_channels, out_channels, ratio, terms=sqrt(prod(ratio)))

    def forward(self, features: Tensor, level: Level) -> Tensor:
        return level.down(features, self.weight, self.bias)


class DownPool(nn.Module):
    """To the next coarser level by the largest or the mean of its voxels: (M, C) -> (M', C).

    Args:
        reduce: ``"max"`` or ``"mean"``.
    """

    def __init__(self, reduce: str) -> None:
        super().__init__()
        self.reduce = {"max": "amax", "mean": "mean"}[reduce]

    def forward(self, features: Tensor, level: Level) -> Tensor:
        return level.pool(features, self.reduce)


class UpConv(SparseConv):
    """From the next coarser level back to this one's voxels: (M', C_in) -> (M, C_out)."""

    def __init__(self, in_channels: int, out_channels: int, ratio: Triple) -> None:
        super().__init__(in_channels, out_channels, ratio, terms=1)

    def forward(self, features: Tensor, level: Level) -> Tensor:
        return level.up(features, self.weight, self.bias)


class ResidualBlock(nn.Module):
    """Two submanifold convolutions, and the event's context, beside a straight way: (M, C) -> (M, C).

    Normalised voxel by voxel, so an event does not feel the others of its batch.
    """

    def __init__(self, channels: int, kernel_size: Triple = (3, 3, 3)) -> None:
        super().__init__()
        self.norm_1 = RowNorm(channels)
        self.context = ContextReLU(channels)
        self.conv_1 = SubmanifoldConv(channels, channels, kernel_size)
        self.norm_2 = RowNormReLU(channels)
        self.conv_2 = SubmanifoldConv(channels, channels, kernel_size)

    def forward(self, h: Tensor, level: Level) -> Tensor:
        if groups := self._groups(h, level):
            return whole_block(h, groups, (self.norm_1.eps, self.norm_2.eps), tuple(self.parameters()))
        n = self.conv_1(self.context(self.norm_1(h), level), level)
        return h + self.conv_2(self.norm_2(n), level)

    def _groups(self, h: Tensor, level: Level) -> EventGroups | None:
        """Groups of events for the block as one operation; ``None``: one operation after the other."""
        exact = h.dtype == self.conv_1.weight.dtype and h.dtype in (torch.float32, torch.float64)
        return level.event_groups(h.shape[1]) if exact and not torch.is_autocast_enabled("cpu") else None

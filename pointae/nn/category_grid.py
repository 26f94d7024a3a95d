"""Dense variational autoencoders of a small grid of kinds: the networks that sets are compared with.

The grid holds kind / Q in each cell, 0 where it is empty, and the networks give it back so. Six of them, the same at
both ends: fully connected, convolutional, with pooling, with a skip connection at both ends, deep, deep with batch
norm. With a latent of 2 on robots (11 x 11 x 11) they have 1,629,495, 1,825,285, 1,825,285, 2,001,158, 6,142,469 and
6,255,365 parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointae.config import CategoryGridSettings
from pointae.errors import ConfigError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.batch_norm import BatchNorm1d, BatchNorm3d
from pointae.nn.outputs import CategoryGrid, Encoding
from pointae.robots import GRID, KINDS

CELLS = GRID**3
SIDE, SMALL = 6, 3
"""Cells along an axis after one and after two strides of 2."""


class CategoryGridEncoder(nn.Module):
    """Grid of kinds -> code.

    Args:
        settings: which of the six.
        geometry: must be the robots' grid.
        code_size: D.
        in_features: not used.

    Shapes:
        N hits of B events, with ``category`` -> code (B, D); no hit features.

    Raises:
        ConfigError: another grid.
    """

    hit_channels = 0

    def __init__(
        self, settings: CategoryGridSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        if geometry.spatial_shape != (GRID, GRID, GRID):
            raise ConfigError(f"category_grid is for a grid of {GRID} x {GRID} x {GRID}", where="model.encoder")
        body, flat = ENCODERS[settings.network]()
        self.body = body
        self.to_code = nn.Linear(flat, code_size)

    def forward(self, hits: HitBatch) -> Encoding:
        return Encoding(self.to_code(self.body(kind_grid(hits).to(self.to_code.weight))))


class CategoryGridDecoder(nn.Module):
    """Code -> grid of kinds; arguments as of the encoder.

    Shapes:
        z (B, D) -> values (B, X, Y, Z) in (0, 1).
    """

    def __init__(
        self,
        settings: CategoryGridSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int = 0,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        if geometry.spatial_shape != (GRID, GRID, GRID):
            raise ConfigError(f"category_grid is for a grid of {GRID} x {GRID} x {GRID}", where="model.decoder")
        self.body = DECODERS[settings.network](code_size)

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> CategoryGrid:
        values = self.body(z).sigmoid().reshape(len(z), GRID, GRID, GRID)
        return CategoryGrid(values if values.dtype == torch.float64 else values.float(), len(KINDS))


def kind_grid(hits: HitBatch) -> Tensor:
    """(B, 1, X, Y, Z) float32: kind / Q of each cell, 0 where it is empty."""
    assert hits.category is not None
    grid = torch.zeros(hits.batch_size, 1, *hits.geometry.spatial_shape, device=hits.device)
    x, y, z = hits.coords.long().unbind(1)
    grid[hits.batch, 0, x, y, z] = hits.category.float() / len(KINDS)
    return grid


# ---- the six --------------------------------------------------------------------------------------------


def _fc_encoder() -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), nn.Linear(CELLS, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()), 256


def _fc_decoder(code_size: int) -> nn.Module:
    return nn.Sequential(nn.Linear(code_size, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, CELLS))


def _conv_encoder() -> tuple[nn.Module, int]:
    layers = [nn.Conv3d(1, 128, 3, 2, 1), nn.ReLU(), nn.Conv3d(128, 256, 3, 2, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers), 256 * SMALL**3


def _conv_decoder(code_size: int) -> nn.Module:
    return nn.Sequential(
        *_seed(code_size, 256, SMALL),
        nn.ConvTranspose3d(256, 128, 3, 2, 1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose3d(128, 1, 3, 2, 1),
    )  # fmt: skip


def _conv_pool_encoder() -> tuple[nn.Module, int]:
    layers = [
        nn.Conv3d(1, 128, 3, 1, 1), nn.ReLU(), nn.MaxPool3d(2, ceil_mode=True),
        nn.Conv3d(128, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool3d(2, ceil_mode=True), nn.Flatten(),
    ]  # fmt: skip
    return nn.Sequential(*layers), 256 * SMALL**3


def _conv_pool_decoder(code_size: int) -> nn.Module:
    return nn.Sequential(
        *_seed(code_size, 256, SMALL),
        nn.Upsample(size=(SIDE,) * 3), nn.ConvTranspose3d(256, 128, 3, 1, 1), nn.ReLU(),
        nn.Upsample(size=(GRID,) * 3), nn.ConvTranspose3d(128, 1, 3, 1, 1),
    )  # fmt: skip


class _SkippedEncoder(nn.Module):
    """Two strided convolutions, and one of the same reach beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 128, 3, 2, 1), nn.Conv3d(128, 256, 3, 2, 1)
        self.beside = nn.Conv3d(1, 256, 7, 2)

    def forward(self, grid: Tensor) -> Tensor:
        h = self.second(functional.relu(self.first(grid)))  # (B, 256, 3, 3, 3)
        return functional.relu(h + self.beside(grid)).flatten(1)


class _SkippedDecoder(nn.Module):
    """Two transposed convolutions, and one of the same reach beside them."""

    def __init__(self, code_size: int) -> None:
        super().__init__()
        self.seed = nn.Sequential(*_seed(code_size, 256, SMALL))
        self.first = nn.ConvTranspose3d(256, 128, 3, 2, 1, output_padding=1)
        self.second = nn.ConvTranspose3d(128, 1, 3, 2, 1)
        self.beside = nn.ConvTranspose3d(256, 1, 7, 2)

    def forward(self, z: Tensor) -> Tensor:
        h = self.seed(z)  # (B, 256, 3, 3, 3)
        made: Tensor = self.second(functional.relu(self.first(h))) + self.beside(h)
        return made


def _skipped_encoder() -> tuple[nn.Module, int]:
    return _SkippedEncoder(), 256 * SMALL**3


def _deep_encoder(norm: bool = False) -> tuple[nn.Module, int]:
    body = nn.Sequential(
        *_block(nn.Conv3d(1, 64, 3, 2, 1), norm),
        *_block(nn.Conv3d(64, 128, 3, 1, 1), norm),
        *_block(nn.Conv3d(128, 256, 3, 1, 1), norm),
        *_block(nn.Conv3d(256, 256, 3, 1, 1), norm),
        nn.Flatten(),
    )
    return body, 256 * SIDE**3


def _deep_decoder(code_size: int, norm: bool = False) -> nn.Module:
    flat = 256 * SIDE**3
    seed = [nn.Linear(code_size, flat), *([BatchNorm1d(flat)] if norm else []), nn.LeakyReLU()]
    return nn.Sequential(
        *seed,
        nn.Unflatten(1, (256, SIDE, SIDE, SIDE)),
        *_block(nn.Conv3d(256, 256, 3, 1, 1), norm),
        *_block(nn.Conv3d(256, 128, 3, 1, 1), norm),
        *_block(nn.ConvTranspose3d(128, 64, 3, 2, 1), norm),
        nn.Conv3d(64, 1, 3, 1, 1),
    )


def _seed(code_size: int, channels: int, side: int) -> list[nn.Module]:
    """From the code to the volume that a decoder starts from."""
    return [nn.Linear(code_size, channels * side**3), nn.ReLU(), nn.Unflatten(1, (channels, side, side, side))]


def _block(layer: nn.Conv3d | nn.ConvTranspose3d, norm: bool) -> list[nn.Module]:
    return [layer, *([BatchNorm3d(layer.out_channels)] if norm else []), nn.LeakyReLU()]


ENCODERS: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "fc": _fc_encoder,
    "conv": _conv_encoder,
    "conv_pool": _conv_pool_encoder,
    "conv_skip": _skipped_encoder,
    "deep": _deep_encoder,
    "batch_norm": lambda: _deep_encoder(norm=True),
}
"""Layers from (B, 1, X, Y, Z) to (B, F), and F."""

DECODERS: dict[str, Callable[[int], nn.Module]] = {
    "fc": _fc_decoder,
    "conv": _conv_decoder,
    "conv_pool": _conv_pool_decoder,
    "conv_skip": _SkippedDecoder,
    "deep": _deep_decoder,
    "batch_norm": lambda code_size: _deep_decoder(code_size, norm=True),
}
"""Layers from z (B, D) to logits of X * Y * Z cells, by the code size."""

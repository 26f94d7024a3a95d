"""DeepClean3D's autoencoder on the image with embedded time of flight: the honest baseline.

Layer for layer that network (1,510,985 parameters with a code of 24 on 128 x 88 pixels), sizes
computed from the grid. It sees one hit a pixel and keeps nothing of a hit but its image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointae.config import Dense2dSettings, ImageSettings
from pointae.errors import ConfigError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise
from pointae.nn.batch_norm import BatchNorm1d, BatchNorm2d
from pointae.nn.outputs import Encoding, TofImage

MARGIN = 4
"""Zeros added on each side of the image."""


class Dense2dEncoder(nn.Module):
    """Three strided convolutions and three linear layers, image -> code.

    Batch normalisation as in the original: in training an event feels its batch; in evaluation it
    does not. A training batch of one event has no variance to normalise its hidden layers by:
    there, as in evaluation, the running statistics serve and stay as they are.

    Args:
        settings: channels, hidden width, gap of the normalisation.
        geometry: the detector's grid, at least 7 x 7 pixels.
        code_size: D.
        in_features: not used: a pixel holds a time only.

    Shapes:
        N hits of B events -> code (B, D), no hit features.

    Raises:
        ConfigError: the image is too small.
    """

    hit_channels = 0

    def __init__(
        self, settings: Dense2dSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        self.gap, self.steps = settings.gap, geometry.t.bins
        channels, hidden = (1, *settings.channels), settings.hidden
        rows, columns = code_image_shape(geometry)
        self.convolutions = nn.Sequential(*(_down(a, b) for a, b in pairwise(channels)))
        self.to_code = nn.Sequential(
            _linear(channels[-1] * rows * columns, hidden), _linear(hidden, hidden), nn.Linear(hidden, code_size)
        )

    def forward(self, hits: HitBatch) -> Encoding:
        steps, _ = embed_tof(hits)  # (B, 1, Y, X)
        return Encoding(self.code_of(gapped_normalise(steps, self.steps, self.gap)))

    def code_of(self, image: Tensor) -> Tensor:
        """(B, D) of images (B, 1, Y, X) by gapped normalisation."""
        h = self.convolutions(F.pad(image.to(next(self.parameters()).dtype), [MARGIN] * 4))  # (B, C, Y', X')
        return self.to_code(h.flatten(1))


class ImageDecoder(nn.Module):
    """Three linear layers and three transposed convolutions, code -> image.

    Args:
        settings: channels, hidden width, gap of the normalisation.
        geometry: the detector's grid, at least 7 x 7 pixels.
        code_size: D of z.
        hit_channels, in_features: not used; the same signature for every decoder.

    Shapes:
        z (B, D) -> image (B, 1, Y, X) in (0, 1).

    Raises:
        ConfigError: the image is too small.
    """

    def __init__(
        self,
        settings: ImageSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int = 0,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        self.gap, self.size = settings.gap, (geometry.y.bins, geometry.x.bins)
        (first, second, third), hidden = settings.channels, settings.hidden
        self.small = (first, *code_image_shape(geometry))
        self.from_code = nn.Sequential(
            _linear(code_size, hidden),
            _linear(hidden, hidden),
            _linear(hidden, first * self.small[1] * self.small[2]),
        )
        self.convolutions = nn.Sequential(
            _up(first, second, padding=0),
            _up(second, third, padding=1),
            nn.ConvTranspose2d(third, 1, 3, stride=2, padding=1, output_padding=1),
        )

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> TofImage:
        image = self.convolutions(self.from_code(z).unflatten(1, self.small))  # (B, 1, > Y, > X)
        # Half precision cannot tell hundreds of steps apart.
        wide = image.to(torch.promote_types(image.dtype, torch.float32))
        return TofImage(_crop(wide, self.size).sigmoid(), self.gap)


def code_image_shape(geometry: DetectorGeometry) -> tuple[int, int]:
    """Rows and columns that the encoder's convolutions leave of the image.

    Raises:
        ConfigError: nothing is left.
    """

    def after(bins: int) -> int:
        padded = bins + 2 * MARGIN
        for _ in range(3):
            padded = (padded - 1) // 2
        return padded

    rows, columns = after(geometry.y.bins), after(geometry.x.bins)
    if min(rows, columns) < 1:
        raise ConfigError(f"an image of {geometry.y.bins} x {geometry.x.bins} pixels is too small for dense2d: 7 x 7")
    return rows, columns


def _down(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, bias=False), BatchNorm2d(out_channels), nn.ReLU()
    )


def _up(in_channels: int, out_channels: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 3, 2, padding, output_padding=1, bias=False),
        BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _linear(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, out_channels), BatchNorm1d(out_channels), nn.ReLU())


def _crop(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of an image (..., H, W); the convolutions leave a margin for any size of input."""
    top, left = (image.shape[-2] - size[0]) // 2, (image.shape[-1] - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]

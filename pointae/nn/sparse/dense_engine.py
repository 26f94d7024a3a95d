"""The convolutions of a sparse network as dense ones, on the box that a batch's voxels lie in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from pointae.errors import DataError
from pointae.nn.sparse.levels import Level, biased
from pointae.voxels import Triple

MOST_BYTES = 2**32
"""Of the volumes that one convolution reads and writes; more is refused."""


class _Box(NamedTuple):
    """The smallest box that holds the voxels of all events, and the cell (M,) of each in (B, *shape)."""

    shape: Triple
    cells: Tensor


class DenseLevel(Level):
    """``torch.nn.functional.conv3d``, read at the occupied voxels; see :class:`Level`.

    Cost follows the volume: for coarse strides, where most voxels are occupied, and to compare with.

    Raises:
        DataError: volumes that would take more than :data:`MOST_BYTES`, before they are made.
    """

    def submanifold(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        padding = tuple(size // 2 * step for size, step in zip(self.kernel_size, self.dilation, strict=True))
        filters = _filters(weight, self.kernel_size)
        box, _ = self._boxes
        return self._convolve(
            lambda volume: F.conv3d(volume, filters, padding=padding, dilation=self.dilation),
            features,
            weight,
            box,
            box,
            bias,
        )

    def down(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ratio, (fine, coarse) = self.next.ratio, self._boxes
        filters = _filters(weight, ratio)
        return self._convolve(
            lambda volume: F.conv3d(volume, filters, stride=ratio), features, weight, fine, coarse, bias
        )

    def up(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ratio, (fine, coarse) = self.next.ratio, self._boxes
        filters = _filters(weight, ratio).transpose(0, 1)
        return self._convolve(
            lambda volume: F.conv_transpose3d(volume, filters, stride=ratio), features, weight, coarse, fine, bias
        )

    def _convolve(
        self,
        operation: Callable[[Tensor], Tensor],
        features: Tensor,
        weight: Tensor,
        read: _Box,
        written: _Box,
        bias: Tensor | None,
    ) -> Tensor:
        """Rows put into their cells, the operation on the volume (B, C_in, X, Y, T), rows read from theirs."""
        if not len(features):
            return biased(features @ weight.sum(0), bias)  # no rows, but a way for the gradients
        _, channels, out_channels = weight.shape
        self._check_size(prod(read.shape) * channels + prod(written.shape) * out_channels, features.element_size())
        rows = features.new_zeros(self.batch_size * prod(read.shape), channels).index_copy(0, read.cells, features)
        volume = operation(rows.view(self.batch_size, *read.shape, channels).permute(0, 4, 1, 2, 3))
        return biased(volume.permute(0, 2, 3, 4, 1).reshape(-1, out_channels).index_select(0, written.cells), bias)

    def _check_size(self, numbers_an_event: int, bytes_a_number: int) -> None:
        needed = self.batch_size * numbers_an_event * bytes_a_number
        if needed > MOST_BYTES:
            grid = " x ".join(map(str, self.spatial_shape))
            raise DataError(
                f"dense convolution of {self.batch_size} events on {grid} voxels would need {needed / 1e9:,.1f} GB, "
                f"at most {MOST_BYTES / 1e9:.1f} GB are used",
                fix="coarser strides, smaller batches, or engine 'torch'",
            )

    @cached_property
    def _boxes(self) -> tuple[_Box, _Box]:
        """Of this level, in whole voxels of the next, and the same box on the next."""
        ratio = self.indices.new_tensor((1, 1, 1) if self.coarsening is None else self.coarsening.ratio)
        coarse = self.indices[:, 1:].div(ratio, rounding_mode="floor")
        first, last = (coarse.amin(0), coarse.amax(0)) if len(coarse) else (ratio * 0, ratio * 0)
        size = last - first + 1
        fine_box = _box(self.indices, first * ratio, size * ratio)
        return fine_box, fine_box if self.coarsening is None else _box(self.coarsening.indices, first, size)


def _box(indices: Tensor, first: Tensor, size: Tensor) -> _Box:
    batch, (x, y, t) = indices[:, 0].long(), (indices[:, 1:] - first).long().unbind(1)
    shape_x, shape_y, shape_t = size.tolist()
    return _Box((shape_x, shape_y, shape_t), ((batch * shape_x + x) * shape_y + y) * shape_t + t)


def _filters(weight: Tensor, kernel_size: Triple) -> Tensor:
    """(K, C_in, C_out) -> (C_out, C_in, Kx, Ky, Kt), the layout of ``conv3d``."""
    return weight.unflatten(0, kernel_size).permute(4, 3, 0, 1, 2)

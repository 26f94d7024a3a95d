"""Sparse convolution by spconv (https://github.com/traveller59/spconv), made safe to trust.

What is guarded against, all seen with spconv 2.3.6: on the CPU its hash of int32 mixes events once
batch x volume passes 2^31, so large batches go in pieces; rows of a strided convolution come in
any order, so they are matched by key; a partial last voxel is dropped, so the grid is rounded up;
an empty batch raises; bfloat16 raises, as does float16 on a CPU: there the weights' dtype is used
whatever the autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointae.errors import ComponentError
from pointae.nn.sparse.levels import Coarsening, Level, biased
from pointae.optional import require
from pointae.ordering import stable_order
from pointae.voxels import Triple, pack_keys

MAX_CELLS = 2**31 - 1
"""Cells, over all events, that one call of spconv tells apart."""


MOST_IMPLICIT = 128
"""Offsets of a kernel up to which spconv itself takes the implicit GEMM."""


class _Piece(NamedTuple):
    """The pairs of some events of a batch.

    ``fine`` and ``coarse`` are the events' rows on this level and the next. ``order`` sorts
    spconv's output rows, ``rank`` undoes that; both are ``None`` where spconv keeps the order.
    """

    fine: slice
    coarse: slice
    pairs: _Native | _Implicit
    order: Tensor | None = None
    rank: Tensor | None = None


class _Native(NamedTuple):
    """Gather, product and scatter offset by offset: on a CPU, or of a large kernel."""

    pairs: Tensor
    counts: Tensor

    def convolve(self, spconv: Any, kind: str, features: Tensor, filters: Tensor, num_out: int) -> Tensor:
        names = {"submanifold": "indice_subm_conv", "down": "indice_conv", "up": "indice_inverse_conv"}
        function = getattr(spconv.functional, names[kind])
        return function(features, filters, self.pairs, self.counts, num_out, spconv.ConvAlgo.Native)


class _Implicit(NamedTuple):
    """All offsets in one kernel, on a GPU: of each direction the pairs, masks of offsets, and the order by mask."""

    pairs: tuple[Tensor, Tensor]
    masks_by_row: tuple[list[Tensor], list[Tensor]]
    orders: tuple[list[Tensor], list[Tensor]]
    masks: list[Any]

    def convolve(self, spconv: Any, kind: str, features: Tensor, filters: Tensor, num_out: int) -> Tensor:
        # The inverse convolution goes the other way through the same pairs.
        ways = [way[::-1] if kind == "up" else way for way in (self.pairs, self.masks_by_row, self.orders)]
        both = [tensor for way in ways for tensor in way]
        return spconv.functional.implicit_gemm(
            features, filters, *both, num_out, self.masks, True, kind == "submanifold"
        )


class SpconvLevel(Level):
    """spconv's native algorithm on a CPU, its implicit GEMM on a GPU; see :class:`Level`.

    Raises:
        ComponentError: spconv is missing, or a single event has too many cells for it.
    """

    def __init__(
        self,
        indices: Tensor,
        spatial_shape: Triple,
        batch_size: int,
        kernel_size: Triple,
        dilation: Triple,
        coarsening: Coarsening | None,
    ) -> None:
        super().__init__(indices, spatial_shape, batch_size, kernel_size, dilation, coarsening)
        self._spconv = require("spconv.pytorch", extra="gpu")

    def submanifold(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            rows = features[piece.fine]
            return piece.pairs.convolve(self._spconv, "submanifold", rows, filters, len(rows))

        return self._convolve(convolve, self._neighbours, features, weight, self.kernel_size, bias)

    def down(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            count = piece.coarse.stop - piece.coarse.start
            return piece.pairs.convolve(self._spconv, "down", features[piece.fine], filters, count)[piece.order]

        return self._convolve(convolve, self._children, features, weight, self.next.ratio, bias)

    def up(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            count = piece.fine.stop - piece.fine.start
            return piece.pairs.convolve(self._spconv, "up", features[piece.coarse][piece.rank], filters, count)

        return self._convolve(convolve, self._children, features, weight, self.next.ratio, bias)

    def _convolve(
        self,
        convolve: Callable[[Tensor, Tensor, _Piece], Tensor],
        pieces: list[_Piece],
        features: Tensor,
        weight: Tensor,
        kernel_size: Triple,
        bias: Tensor | None,
    ) -> Tensor:
        if not pieces:
            return biased(features @ weight.sum(0), bias)  # no rows, but a way for the gradients
        filters = weight.unflatten(0, kernel_size).permute(4, 0, 1, 2, 3)  # spconv's own layout
        dtype = _arithmetic(weight)
        features, filters = features.to(dtype), filters.to(dtype).contiguous()
        with torch.autocast(features.device.type, enabled=False):
            return biased(torch.cat([convolve(features, filters, piece) for piece in pieces]), bias)

    @cached_property
    def _neighbours(self) -> list[_Piece]:
        padding = [size // 2 * step for size, step in zip(self.kernel_size, self.dilation, strict=True)]
        pieces = []
        for fine, coarse, indices, events in self._split(self.spatial_shape):
            _, pairs = self._pairs(
                indices, events, self.spatial_shape, self.kernel_size, (1, 1, 1), padding, self.dilation, subm=True
            )
            pieces.append(_Piece(fine, coarse, pairs))
        return pieces

    @cached_property
    def _children(self) -> list[_Piece]:
        ratio, coarse_grid = self.next.ratio, self.next.spatial_shape
        whole = (coarse_grid[0] * ratio[0], coarse_grid[1] * ratio[1], coarse_grid[2] * ratio[2])
        pieces = []
        for fine, coarse, indices, events in self._split(whole):
            out, pairs = self._pairs(indices, events, whole, ratio, ratio, [0, 0, 0], (1, 1, 1), subm=False)
            order = stable_order(pack_keys(out, coarse_grid))
            if not torch.equal(out[order, 1:], self.next.indices[coarse, 1:]):
                raise ComponentError("spconv lost voxels of a strided convolution", fix="use engine 'torch'")
            pieces.append(_Piece(fine, coarse, pairs, order, stable_order(order)))
        return pieces

    def _pairs(
        self,
        indices: Tensor,
        events: int,
        spatial_shape: Triple,
        kernel_size: Triple,
        stride: Triple,
        padding: list[int],
        dilation: Triple,
        subm: bool,
    ) -> tuple[Tensor, _Native | _Implicit]:
        """spconv's output indices, and the pairs."""
        implicit = indices.is_cuda and prod(kernel_size) <= MOST_IMPLICIT
        algorithm = self._spconv.ConvAlgo.MaskImplicitGemm if implicit else self._spconv.ConvAlgo.Native
        find = self._spconv.ops.get_indice_pairs_implicit_gemm if implicit else self._spconv.ops.get_indice_pairs
        out, *found = find(
            indices,
            events,
            list(spatial_shape),
            algorithm,
            list(kernel_size),
            list(stride),
            padding,
            list(dilation),
            [0, 0, 0],  # output padding
            subm=subm,
        )
        if not implicit:
            return out, _Native(*found)
        _, forward, backward, mask_forward, mask_backward, order_forward, order_backward, masks = found
        ways = ((forward, backward), (mask_forward, mask_backward), (order_forward, order_backward))
        return out, _Implicit(*ways, masks)

    def _split(self, spatial_shape: Triple) -> Iterator[tuple[slice, slice, Tensor, int]]:
        """Runs of events that one call can tell apart; those without voxels are left out.

        Yields:
            rows on this level, rows on the next, indices counted from the run's first event,
            number of events.
        """
        events = min(MAX_CELLS // prod(spatial_shape), self.batch_size)
        if events == 0 and self.batch_size:
            raise ComponentError(
                f"spconv cannot tell apart the {prod(spatial_shape):,} cells of an event", fix="use engine 'torch'"
            )
        edges = torch.arange(0, self.batch_size + events, max(events, 1), device=self.indices.device).int()
        fine = torch.searchsorted(self.indices[:, 0].contiguous(), edges).tolist()
        coarse = fine
        if self.coarsening is not None:
            coarse = torch.searchsorted(self.coarsening.indices[:, 0].contiguous(), edges).tolist()
        for run, first in enumerate(edges[:-1].tolist()):
            rows = slice(fine[run], fine[run + 1])
            if rows.start < rows.stop:
                start = self.indices.new_tensor([first, 0, 0, 0])
                yield rows, slice(coarse[run], coarse[run + 1]), self.indices[rows] - start, events


def _arithmetic(weight: Tensor) -> torch.dtype:
    """float16 where autocast asks for it on a GPU, else the weights' dtype."""
    half = weight.is_cuda and torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.float16
    return torch.float16 if half else weight.dtype

"""Sparse convolution by spconv (https://github.com/traveller59/spconv), made safe to trust.

What is guarded against, all seen with spconv 2.3.6: on the CPU its hash of int32 mixes events once
batch x volume passes 2^31, so large batches go in pieces; rows of a strided convolution come in
any order, so they are matched by key; a partial last voxel is dropped, so the grid is rounded up;
an empty batch raises; bfloat16 raises, so the weights' dtype is used whatever the autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointae.errors import ComponentError
from pointae.nn.sparse.levels import Coarsening, Level
from pointae.optional import require
from pointae.voxels import Triple, pack_keys

MAX_CELLS = 2**31 - 1
"""Cells, over all events, that one call of spconv tells apart."""


class _Piece(NamedTuple):
    """The pairs of some events of a batch.

    ``fine`` and ``coarse`` are the events' rows on this level and the next. ``order`` sorts
    spconv's output rows, ``rank`` undoes that; both are ``None`` where spconv keeps the order.
    """

    fine: slice
    coarse: slice
    pairs: Tensor
    counts: Tensor
    order: Tensor | None = None
    rank: Tensor | None = None


class SpconvLevel(Level):
    """spconv's native algorithm, on CPU and GPU; see :class:`Level`.

    Raises:
        ComponentError: spconv is missing, or a single event has too many cells for it.
    """

    def __init__(
        self,
        indices: Tensor,
        spatial_shape: Triple,
        batch_size: int,
        kernel_size: Triple,
        coarsening: Coarsening | None,
    ) -> None:
        super().__init__(indices, spatial_shape, batch_size, kernel_size, coarsening)
        self._spconv = require("spconv.pytorch", extra="gpu")

    def submanifold(self, features: Tensor, weight: Tensor) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            rows = features[piece.fine]
            return self._run("indice_subm_conv", rows, filters, piece, len(rows))

        return self._convolve(convolve, self._neighbours, features, weight, self.kernel_size)

    def down(self, features: Tensor, weight: Tensor) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            count = piece.coarse.stop - piece.coarse.start
            return self._run("indice_conv", features[piece.fine], filters, piece, count)[piece.order]

        return self._convolve(convolve, self._children, features, weight, self.next.ratio)

    def up(self, features: Tensor, weight: Tensor) -> Tensor:
        def convolve(features: Tensor, filters: Tensor, piece: _Piece) -> Tensor:
            count = piece.fine.stop - piece.fine.start
            return self._run("indice_inverse_conv", features[piece.coarse][piece.rank], filters, piece, count)

        return self._convolve(convolve, self._children, features, weight, self.next.ratio)

    def _convolve(
        self,
        convolve: Callable[[Tensor, Tensor, _Piece], Tensor],
        pieces: list[_Piece],
        features: Tensor,
        weight: Tensor,
        kernel_size: Triple,
    ) -> Tensor:
        if not pieces:
            return features @ weight.sum(0)  # no rows, but a way for the gradients
        filters = weight.unflatten(0, kernel_size).permute(4, 0, 1, 2, 3).contiguous()  # spconv's own layout
        with torch.autocast(features.device.type, enabled=False):
            return torch.cat([convolve(features.to(weight.dtype), filters, piece) for piece in pieces])

    def _run(self, operation: str, features: Tensor, filters: Tensor, piece: _Piece, num_out: int) -> Tensor:
        function = getattr(self._spconv.functional, operation)
        return function(features, filters, piece.pairs, piece.counts, num_out, self._spconv.ConvAlgo.Native)

    @cached_property
    def _neighbours(self) -> list[_Piece]:
        padding = [size // 2 for size in self.kernel_size]
        pieces = []
        for fine, coarse, indices, events in self._split(self.spatial_shape):
            _, pairs, counts = self._pairs(
                indices, events, self.spatial_shape, self.kernel_size, (1, 1, 1), padding, subm=True
            )
            pieces.append(_Piece(fine, coarse, pairs, counts))
        return pieces

    @cached_property
    def _children(self) -> list[_Piece]:
        ratio, coarse_grid = self.next.ratio, self.next.spatial_shape
        whole = (coarse_grid[0] * ratio[0], coarse_grid[1] * ratio[1], coarse_grid[2] * ratio[2])
        pieces = []
        for fine, coarse, indices, events in self._split(whole):
            out, pairs, counts = self._pairs(indices, events, whole, ratio, ratio, [0, 0, 0], subm=False)
            order = torch.argsort(pack_keys(out, coarse_grid))
            if not torch.equal(out[order, 1:], self.next.indices[coarse, 1:]):
                raise ComponentError("spconv lost voxels of a strided convolution", fix="use engine 'torch'")
            pieces.append(_Piece(fine, coarse, pairs, counts, order, torch.argsort(order)))
        return pieces

    def _pairs(
        self,
        indices: Tensor,
        events: int,
        spatial_shape: Triple,
        kernel_size: Triple,
        stride: Triple,
        padding: list[int],
        subm: bool,
    ) -> Any:
        """spconv's output indices, pairs (2, K, M) and their number for each offset (K,)."""
        return self._spconv.ops.get_indice_pairs(
            indices,
            events,
            list(spatial_shape),
            self._spconv.ConvAlgo.Native,
            list(kernel_size),
            list(stride),
            padding,
            [1, 1, 1],  # dilation
            [0, 0, 0],  # output padding
            subm=subm,
        )

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

"""How a hit enters a network: its position at every scale of the grid, and its measured features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from pointae.errors import DataError
from pointae.geometry import Axis, DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.cells import outward_order
from pointae.nn.feature_scale import feature_scale
from pointae.nn.loops import ROW_LOOPS, array_of, loops_for
from pointae.ordering import stable_order

MAX_OCTAVES = 10
"""Finest period is 2^-9 of an axis: enough for 1000 bins, and still smooth between them."""

MAX_TABLE = 1 << 14
"""Bins of all axes together up to which each bin is embedded once, and hits look up theirs."""


class HitEmbedding(nn.Module):
    """Fourier features of a hit's position, joined with its features, to ``channels``.

    Each axis contributes sines and cosines of periods 2, 1, 1/2, ... of its length down to about
    four bins (Tancik et al. 2020, arXiv:2006.10739): a plain coordinate would have to be
    sharpened layer by layer before a network could tell 25 ps apart. Hits lie at bin centres and
    the layer is linear: a hit is the sum of three rows of a table with a row for each bin.

    Args:
        geometry: the detector's grid.
        in_features: C, columns of ``hits.features``.
        channels: width of the result.
        categories: Q > 0: a hit's ``category`` 1..Q is embedded too.
        ranks: K > 0: so is its number in :func:`~pointae.nn.cells.outward_order`, the last one being shared by
            all behind it. A code that says which hit is the third is easier to tell from than one that says what
            is there.
        most_octaves: periods of an axis, at most; 0: the position alone.

    Shapes:
        hits of N hits -> (N, channels), of ``dtype`` if given: of half precision it is the bins' rows that are rounded.
    """

    def __init__(
        self,
        geometry: DetectorGeometry,
        in_features: int,
        channels: int,
        categories: int = 0,
        ranks: int = 0,
        most_octaves: int = MAX_OCTAVES,
    ) -> None:
        super().__init__()
        self.geometry, self.in_features = geometry, in_features
        counts = [min(most_octaves, octaves(axis)) for axis in geometry.axes]
        rows = []
        for i, count in enumerate(counts):
            for octave in range(count):
                row = [0.0, 0.0, 0.0]
                row[i] = math.pi / 2 * 2**octave
                rows.append(row)
        self.register_buffer("frequencies", torch.tensor(rows).view(-1, 3).T.contiguous(), persistent=False)  # (3, F)
        self.frequencies: Tensor
        self.feature_scale = feature_scale(in_features)
        self.linear = nn.Linear(3 + 2 * len(rows) + in_features, channels)
        self.category = nn.Embedding(categories + 1, channels) if categories else None
        self.rank = nn.Embedding(ranks, channels) if ranks else None
        self._kept: tuple[Tensor, ...] | None = None
        self.has_table = sum(geometry.spatial_shape) <= MAX_TABLE
        if self.has_table:
            self._make_table(geometry, counts)

    def forward(self, hits: HitBatch, dtype: torch.dtype | None = None) -> Tensor:
        dtype = dtype or self.linear.weight.dtype
        on_table = self.has_table and (hits.geometry is self.geometry or hits.geometry == self.geometry)
        return self.named(self.looked_up(hits, dtype) if on_table else self.computed(hits), hits).to(dtype)

    def named(self, h: Tensor, hits: HitBatch) -> Tensor:
        """With what a hit is besides its place: its category, its number."""
        if self.category is not None:
            h = h + self.category(category_of(hits, self.category.num_embeddings - 1))
        if self.rank is not None:
            order = outward_order(hits)
            rank = torch.empty_like(order).index_copy(0, order, hits.local_index())
            h = h + self.rank(rank.clamp(max=self.rank.num_embeddings - 1))
        return h

    def computed(self, hits: HitBatch) -> Tensor:
        """The embedding hit by hit, for hits of any grid."""
        return self.at(self.geometry.unit_positions(hits.pos), hits)

    def at(self, unit: Tensor, hits: HitBatch) -> Tensor:
        """The same with the hits at positions (N, 3) of their own, in half axes."""
        unit = unit.to(self.frequencies.dtype)
        features = self.feature_scale(hits.features.to(unit.dtype))
        return self.linear(torch.cat([self.fourier(unit), features], dim=1))

    def looked_up(self, hits: HitBatch, dtype: torch.dtype) -> Tensor:
        """The same for hits of the detector's own grid: a sine is taken for a bin, not for a hit."""
        weight = self.linear.weight
        with torch.autocast(weight.device.type, enabled=False):  # 25 ps are lost in half precision
            keeps = not torch.is_grad_enabled() and weight.device.type == "cpu"  # a GPU would have to wait to compare
            table = self._kept_table(dtype) if keeps else self._table(dtype)
            h = summed_rows(table, hits.coords + self.first_row)
            if self.in_features:
                features = self.feature_scale(hits.features.to(weight.dtype))
                h = h + features @ weight[:, -self.in_features :].T
        return h

    def _table(self, dtype: torch.dtype) -> Tensor:
        """(X + Y + T, channels), what the layer makes of each bin of each axis."""
        positions = self.linear.weight[:, : self.linear.in_features - self.in_features]
        return torch.addmm(self.first_bins * self.linear.bias, self.bins, positions.T).to(dtype)

    def _kept_table(self, dtype: torch.dtype) -> Tensor:
        """The same, kept for as long as the layer's numbers stay: without it finer bins would cost time."""
        made_of = self.linear.weight, self.linear.bias
        if self._kept is not None:
            table, *before = self._kept
            if table.dtype == dtype and all(map(torch.equal, made_of, before)):
                return table
        table = self._table(dtype)
        self._kept = table, *(values.detach().clone() for values in made_of)
        return table

    def fourier(self, unit: Tensor) -> Tensor:
        """(N, 3 + 2 F) positions, their sines and their cosines, of positions (N, 3) in [-1, 1]."""
        angles = unit @ self.frequencies  # (N, F)
        return torch.cat([unit, angles.sin(), angles.cos()], dim=1)

    def _make_table(self, geometry: DetectorGeometry, counts: list[int]) -> None:
        """Fourier features of each axis' bins, ``counts`` octaves of each, those of the other axes left out."""
        total, first, features = sum(counts), 0, []
        rows = torch.tensor([0, *geometry.spatial_shape]).cumsum(0)
        for i, (axis, count) in enumerate(zip(geometry.axes, counts, strict=True)):
            coords = torch.zeros(axis.bins, 3, dtype=torch.int32)
            coords[:, i] = torch.arange(axis.bins)
            of_axis = torch.arange(first, first + count)
            columns = torch.cat([torch.tensor([i]), 3 + of_axis, 3 + total + of_axis])
            values = self.fourier(geometry.unit_positions(geometry.positions(coords)))
            features.append(torch.zeros_like(values).index_copy(1, columns, values[:, columns]))
            first += count
        self.register_buffer("first_row", rows[:3].int(), persistent=False)
        self.first_row: Tensor
        self.register_buffer("bins", torch.cat(features), persistent=False)  # (X + Y + T, 3 + 2 F)
        self.bins: Tensor
        # The bias is told once a hit: by its bin of the first axis.
        first_bins = torch.arange(len(self.bins)) < geometry.x.bins
        self.register_buffer("first_bins", first_bins.to(self.bins.dtype)[:, None], persistent=False)
        self.first_bins: Tensor


def category_of(hits: HitBatch, categories: int) -> Tensor:
    """(N,) int64 category of each hit, 1..Q.

    Raises:
        DataError: the hits have none, or others.
    """
    if hits.category is None:
        raise DataError("the hits have no 'category'", fix="this network was made for hits of several kinds")
    category = hits.category.long()
    if hits.num_hits and (int(category.min()) < 1 or int(category.max()) > categories):
        raise DataError(
            f"categories must be in 1..{categories}, got {int(category.min())} to {int(category.max())}",
            fix="set model.encoder.categories and model.decoder.categories to the number of kinds",
        )
    return category


def summed_rows(table: Tensor, rows: Tensor) -> Tensor:
    """(N, C): the sum of the rows (N, R) int32 of a table (K, C)."""
    return _SummedRows.apply(table, rows)


class _SummedRows(Function):
    """``embedding_bag`` whose gradient is a compiled loop or a bag of the hits of each row: faster than its own."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.length = len(table)
        return F.embedding_bag(rows, table, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        if loops := loops_for(grad, ROW_LOOPS):
            sums = grad.new_zeros(ctx.length, grad.shape[1], dtype=torch.promote_types(grad.dtype, torch.float32))
            loops.add_by_number(array_of(grad.to(sums.dtype)), array_of(rows), array_of(sums))
            return sums.to(grad.dtype), None
        if not len(grad):
            return grad.new_zeros(ctx.length, grad.shape[1]), None
        flat = rows.T.flatten().long()
        hit = stable_order(flat) % len(grad)
        ends = torch.bincount(flat, minlength=ctx.length).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends])
        return F.embedding_bag(hit, grad.contiguous(), starts, mode="sum", include_last_offset=True), None


def octaves(axis: Axis) -> int:
    """Number of periods at which an axis is looked at."""
    return max(1, min(MAX_OCTAVES, int(math.log2(max(2, axis.bins))) - 1))

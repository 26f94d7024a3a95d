"""Convolution by compiled loops: products of gathered rows are summed into their targets without being stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pointae.nn.loops import array_of
from pointae.nn.sparse.convolve import Route
from pointae.threads import parts_of, side_by_side

ROWS_AN_OFFSET = 4096
"""Of pairs of each row with itself."""


@dataclass(frozen=True, eq=False)
class Pairs(Route):
    """Pairs ordered by offset.

    bf16 and fp16 are multiplied and summed as fp32, which a CPU does as fast, and rounded at the end.

    Args:
        source, target: (P,) int64 arrays, of one offset ascending or descending, no row twice.
        starts: (K + 1,) int64 array, pairs of offset k are ``starts[k]`` to ``starts[k + 1] - 1``.
        num_sources, num_targets: M, M'.
        loops: :mod:`pointae.nn.sparse.compiled`.
        centre: an offset that joins every row to itself: a plain product, its pairs are not listed.
    """

    source: Any
    target: Any
    starts: Any
    num_sources: int
    num_targets: int
    loops: Any
    centre: int | None = None

    @classmethod
    def build(
        cls,
        offset: Tensor,
        source: Tensor,
        target: Tensor,
        num_offsets: int,
        num_sources: int,
        num_targets: int,
        loops: Any,
        centre: int | None = None,
    ) -> Pairs:
        """From pairs (P,) int64 ordered by offset, of K offsets."""
        counts = np.bincount(offset.numpy(), minlength=num_offsets)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls(source.numpy(), target.numpy(), starts, num_sources, num_targets, loops, centre)

    @classmethod
    def of_rows(cls, rows: int, loops: Any) -> Pairs:
        """Each row with itself; an offset for so many rows, that threads can share out the gradient of weights too."""
        every = np.arange(rows)
        return cls(every, every, np.append(np.arange(0, rows, ROWS_AN_OFFSET), rows), rows, rows, loops)

    @cached_property
    def reversed(self) -> Pairs:
        return replace(
            self, source=self.target, target=self.source, num_sources=self.num_targets, num_targets=self.num_sources
        )

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, w = _exact(features), _filled(_exact(weight), self.loops.LANES)
        parts = parts_of((len(self.source) + len(x)) * weight[0].numel())
        out = x.new_empty(self.num_targets + parts, w.shape[2])  # a row to spare for each part
        rows, weights, sums = map(array_of, (x, w, out))
        start = np.zeros(w.shape[2], rows.dtype)
        if bias is not None:
            start[: len(bias)] = array_of(_exact(bias))
        ranges = max(parts, self._cached_ranges(x.shape[1] + w.shape[2]))
        edges, begin, end = self._cut(ranges)
        pairs = self.source, self.target, edges, begin, end, self.middle

        def work(part: int) -> None:
            own = part * ranges // parts, (part + 1) * ranges // parts
            sums[edges[own[0]] : edges[own[1]]] = start
            self.loops.products(rows, 0, weights, *pairs, *own, sums, 0, self.num_targets + part)

        side_by_side(work, parts)
        return _as_given(out[: self.num_targets], weight.shape[2:], features.dtype)

    def backward(self, grad: Tensor, weight: Tensor) -> Tensor:
        return self.reversed.forward(grad, weight.transpose(1, 2), None)

    def outer(self, features: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
        x, g = _filled(_exact(features), self.loops.ROWS), _filled(_exact(grad), self.loops.LANES)
        offsets, shape = weight.shape[0], weight.shape[1:]
        out = x.new_zeros(offsets, x.shape[1], g.shape[1])
        ends = self.starts.copy()
        if self.centre is not None:
            ends[self.centre + 1 :] += len(x)
        parts = parts_of(int(ends[-1]) * shape.numel())
        # Ranges of offsets with about as many pairs each; what one offset sums, one thread sums.
        edges = np.searchsorted(ends, np.linspace(0, ends[-1], parts + 1))
        edges[0], edges[-1] = 0, offsets
        ranges = self._cached_ranges(x.shape[1] + g.shape[1])
        rows, grads, sums = map(array_of, (x, g, out))
        pairs = self.source, self.target, *self._cut(ranges), self.middle

        def work(part: int) -> None:
            own = edges[part], edges[part + 1]
            self.loops.outer_products(rows, 0, grads, 0, *pairs, 0, ranges, *own, sums)

        side_by_side(work, parts)
        return _as_given(out, shape, weight.dtype)

    @property
    def middle(self) -> int:
        """``centre`` for compiled loops: -1 if there is none."""
        return -1 if self.centre is None else self.centre

    def cut_at(self, edges: Any) -> tuple[Any, Any, Any, Any]:
        """Source, target, and begin and end (R, K) of the pairs in ranges of targets with edges (R + 1,)."""
        return self.source, self.target, *self.loops.cut(self.target, self.starts, edges)

    def _cached_ranges(self, numbers: int) -> int:
        """Ranges of targets that, with as many sources, the second cache holds, with ``numbers`` to both rows."""
        return max(1, -(-self.num_targets * numbers // self.loops.RANGE))

    def _cut(self, ranges: int) -> tuple[Any, Any, Any]:
        """Edges (ranges + 1,) of ranges of targets, and begin and end (ranges, K) of their pairs."""
        if ranges not in self._known_cuts:
            edges = np.linspace(0, self.num_targets, ranges + 1).astype(np.int64)
            self._known_cuts[ranges] = edges, *self.loops.cut(self.target, self.starts, edges)
        return self._known_cuts[ranges]

    @cached_property
    def _known_cuts(self) -> dict[int, tuple[Any, Any, Any]]:
        return {}


def _exact(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _filled(values: Tensor, width: int) -> Tensor:
    """With columns of zeros behind, so that they are a multiple of ``width``."""
    missing = -values.shape[-1] % width
    return F.pad(values, (0, missing)) if missing else values


def _as_given(values: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Without what was filled behind the last dimensions, of the type asked for."""
    for dimension, size in enumerate(reversed(shape), 1):
        if values.shape[-dimension] > size:
            values = values.narrow(-dimension, 0, size)
    return values.to(dtype).contiguous()

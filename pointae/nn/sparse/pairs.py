"""Convolution by compiled loops: products of gathered rows are summed into their targets without being stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
        x, channels = _exact(features), weight.shape[2]
        w = _filled(_exact(weight), self.loops.LANES)
        parts = parts_of((len(self.source) + len(x)) * weight[0].numel())
        out = x.new_empty(self.num_targets + parts, w.shape[2])  # a row to spare for each part
        edges, begin, end = self._ranges(parts)
        start = x.new_zeros(w.shape[2])
        if bias is not None:
            start[:channels] = bias
        rows, weights, first, sums = _array(x), _array(w), _array(start), _array(out)

        def work(part: int) -> None:
            pairs = self.source, self.target, begin[part], end[part], self._centre
            spare = self.num_targets + part
            self.loops.products(rows, weights, first, *pairs, edges[part], edges[part + 1], sums, spare)

        side_by_side(work, parts)
        return out[: self.num_targets, :channels].to(features.dtype).contiguous()

    def backward(self, grad: Tensor, weight: Tensor) -> Tensor:
        return self.reversed.forward(grad, weight.transpose(1, 2), None)

    def outer(self, features: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
        x, g = _filled(_exact(features), self.loops.ROWS), _filled(_exact(grad), self.loops.LANES)
        offsets, channels, out_channels = weight.shape
        out = x.new_empty(offsets, x.shape[1], g.shape[1])
        ends = self.starts.copy()
        if self.centre is not None:
            ends[self.centre + 1 :] += len(x)
        parts = parts_of(int(ends[-1]) * weight[0].numel())
        # Ranges of offsets with about as many pairs each; what one offset sums, one thread sums.
        edges = np.searchsorted(ends, np.linspace(0, ends[-1], parts + 1))
        edges[0], edges[-1] = 0, offsets
        rows, grads, sums = _array(x), _array(g), _array(out)

        def work(part: int) -> None:
            pairs = self.source, self.target, self.starts, self._centre
            self.loops.outer_products(rows, grads, *pairs, edges[part], edges[part + 1], sums)

        side_by_side(work, parts)
        return out[:, :channels, :out_channels].to(weight.dtype).contiguous()

    @property
    def _centre(self) -> int:
        return -1 if self.centre is None else self.centre

    def _ranges(self, parts: int) -> tuple[Any, Any, Any]:
        """Edges (parts + 1,) of ranges of targets, and begin and end (parts, K) of their pairs."""
        if parts not in self._known_ranges:
            edges = np.linspace(0, self.num_targets, parts + 1).astype(np.int64)
            self._known_ranges[parts] = edges, *self.loops.cut(self.target, self.starts, edges)
        return self._known_ranges[parts]

    @cached_property
    def _known_ranges(self) -> dict[int, tuple[Any, Any, Any]]:
        return {}


def _exact(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32)).contiguous()


def _filled(values: Tensor, width: int) -> Tensor:
    """With columns of zeros behind, so that they are a multiple of ``width``."""
    missing = -values.shape[-1] % width
    return F.pad(values, (0, missing)) if missing else values


def _array(values: Tensor) -> Any:
    return values.detach().numpy()

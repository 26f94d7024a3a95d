"""Norms, linear layers and the context of events by compiled loops on a CPU with numba, else by torch."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pointae.nn.loops import EVENT_LOOPS, NORM_LOOPS, arrays_of, loops_for
from pointae.nn.segments import EventContext, Rows, pooled
from pointae.nn.sparse.convolve import convolve
from pointae.nn.sparse.pairs import Pairs
from pointae.threads import parts_of, side_by_side

COST = 32
"""Work on a number here, in products of numbers of a convolution, of which many are done at once."""


MANY_ROWS = 1024
"""Rows from which compiled loops are worth their call in place of one product of torch's."""


class RowNorm(nn.LayerNorm):
    """Layer norm: (M, C) -> (M, C)."""

    def forward(self, h: Tensor) -> Tensor:
        if loops := _loops_for(h, self.weight, NORM_LOOPS):
            return _Norm.apply(h, self.weight, self.bias, self.eps, -inf, loops)
        return super().forward(h)


class RowNormReLU(nn.LayerNorm):
    """Layer norm, then ReLU: (M, C) -> (M, C)."""

    def forward(self, h: Tensor) -> Tensor:
        if loops := _loops_for(h, self.weight, NORM_LOOPS):
            return _Norm.apply(h, self.weight, self.bias, self.eps, 0.0, loops)
        return super().forward(h).relu()


class RowLinear(nn.Linear):
    """Linear layer of many rows: (M, C_in) -> (M, C_out), a convolution of each row with itself.

    The tiles of one take half the time of torch's products of tall matrices on an AMD processor.
    """

    def forward(self, h: Tensor) -> Tensor:
        if loops := self._loops_for(h):
            pairs = Pairs.of_rows(len(h), loops)
            return convolve(h, self.weight.T.expand(len(pairs.starts) - 1, -1, -1), pairs, self.bias)
        return super().forward(h)

    def _loops_for(self, h: Tensor) -> Any:
        """The compiled loops for fp32 and whole vectors of channels; processors have units of their own for bf16."""
        single = h.ndim == 2 and h.dtype == self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        loops = loops_for(h) if single and len(h) >= MANY_ROWS else None
        return loops if loops and not any(size % loops.LANES for size in self.weight.shape) else None


class ContextReLU(EventContext):
    """``relu(h + context)``, the context being that of h's event: (M, C) -> (M, C)."""

    def forward(self, h: Tensor, rows: Rows) -> Tensor:
        message = self.linear(pooled_rows(h, rows))  # (B, C)
        if loops := _loops_for(h, message, EVENT_LOOPS):
            return _Tell.apply(h, message, _starts(rows), loops)
        return (h + message.index_select(0, rows.batch)).relu()


def pooled_rows(h: Tensor, rows: Rows) -> Tensor:
    """As :func:`~pointae.nn.segments.pooled`, (B, 2 C): mean and max of h (M, C) over each event."""
    loops = _loops_for(h, h, EVENT_LOOPS)
    return _Pool.apply(h, _starts(rows), loops) if loops else pooled(h, rows)


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, eps: float, floor: float, loops: Any) -> Tensor:
        h = h.contiguous()
        out, stats = torch.empty_like(h), h.new_empty(2, len(h))
        given, filled = arrays_of(h, weight, bias), arrays_of(out, stats)
        limits = given[0].dtype.type(eps), given[0].dtype.type(floor)
        _in_ranges(len(h), h.numel(), lambda *own: loops.norm(*given, *limits, *own, *filled))
        ctx.save_for_backward(h, weight, stats, out)
        ctx.floor, ctx.loops = limits[1], loops
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, stats, out = ctx.saved_tensors
        blocks = -(-len(h) // ctx.loops.BLOCK)
        to_h, (to_weight, to_bias) = torch.empty_like(h), h.new_empty(2, blocks, h.shape[1])
        given, filled = arrays_of(stats, out, grad.contiguous()), arrays_of(to_h, to_weight, to_bias)
        own = *arrays_of(h, weight), ctx.floor
        _in_ranges(blocks, h.numel(), lambda *rows: ctx.loops.norm_gradients(*own, *given, *rows, *filled))
        return to_h, to_weight.sum(0), to_bias.sum(0), None, None, None


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, starts: Any, loops: Any) -> Tensor:
        h = h.contiguous()
        out = h.new_empty(len(starts) - 1, 2 * h.shape[1])
        x, pools = arrays_of(h, out)
        _in_ranges(len(out), h.numel(), lambda *own: loops.pool(x, starts, *own, pools))
        ctx.save_for_backward(h, out)
        ctx.starts, ctx.loops = starts, loops
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        h, out = ctx.saved_tensors
        to_h = torch.empty_like(h)
        x, pools, given, filled = arrays_of(h, out, grad.contiguous(), to_h)
        own = x, ctx.starts, pools, given
        _in_ranges(len(out), h.numel(), lambda *events: ctx.loops.pool_gradients(*own, *events, filled))
        return to_h, None, None


class _Tell(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, message: Tensor, starts: Any, loops: Any) -> Tensor:
        h = h.contiguous()
        out = torch.empty_like(h)
        x, told, filled = arrays_of(h, message.contiguous(), out)
        _in_ranges(len(told), h.numel(), lambda *own: loops.tell(x, told, starts, *own, filled))
        ctx.save_for_backward(out)
        ctx.starts, ctx.loops = starts, loops
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        to_h, to_message = torch.empty_like(out), out.new_empty(len(ctx.starts) - 1, out.shape[1])
        given, filled = (*arrays_of(out, grad.contiguous()), ctx.starts), arrays_of(to_h, to_message)
        _in_ranges(len(to_message), out.numel(), lambda *own: ctx.loops.tell_gradients(*given, *own, *filled))
        return to_h, to_message, None, None


def _loops_for(h: Tensor, partner: Tensor, modules: tuple[str, ...]) -> Any:
    """The compiled loops for two tensors of one dtype that a loop computes in and whole vectors of channels;
    ``None``: torch alone."""
    known = h.dtype == partner.dtype and h.dtype in (torch.float32, torch.float64)
    loops = loops_for(h, modules) if known else None
    return loops if loops and h.shape[1] % loops.WHOLE == 0 else None


def _starts(rows: Rows) -> Any:
    """(B + 1,) int64 array, rows of event b are ``starts[b]`` to ``starts[b + 1] - 1``."""
    counts = rows.counts
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).numpy()


def _in_ranges(total: int, numbers: int, work: Callable[[int, int], object]) -> None:
    """``work(first, last)`` on ranges of ``total`` blocks or events with so many numbers, in torch's threads."""
    parts = max(1, min(total, parts_of(numbers * COST)))
    edges = [round(part * total / parts) for part in range(parts + 1)]
    side_by_side(lambda part: work(edges[part], edges[part + 1]), parts)

"""A residual block as one operation of compiled loops, where a CPU can: the same numbers in less time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pointae.nn.loops import BLOCK_LOOPS, array_of, arrays_of, loops_for
from pointae.nn.loops.part_sums import PartSums
from pointae.nn.sparse.event_groups import EventGroups
from pointae.threads import parts_of, side_by_side


def whole_block(h: Tensor, groups: EventGroups, eps: tuple[float, float], weights: Sequence[Tensor]) -> Tensor:
    """What :class:`~pointae.nn.sparse.layers.ResidualBlock` does with h: (M, C) -> (M, C).

    Args:
        h: (M, C).
        groups: of h's level.
        eps: of the two norms.
        weights: in the block's order: first norm, context, first convolution, second norm, second convolution, of each
            its weight and its bias.
    """
    return _Block.apply(h, groups, eps, loops_for(h, BLOCK_LOOPS), *weights)


class _Block(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, groups: EventGroups, eps: Any, loops: Any, *weights: Tensor) -> Tensor:
        channels, events, shares = h.shape[1], len(groups.starts) - 1, _shares(groups, h.shape[1])
        c, out = h.new_empty(2, len(h) + len(shares), channels)  # a row to spare for each part
        pools, messages = h.new_empty(events, 2 * channels), h.new_empty(events, channels)
        x, own, limits = array_of(h), arrays_of(*weights), np.array(eps, array_of(pools).dtype)
        scratch = np.empty((len(shares), 2, groups.largest, channels), limits.dtype)
        given = x, own, limits, groups.there, groups.pairs.middle, *groups.places
        filled = arrays_of(pools, messages, c, out)

        def work(part: int) -> None:
            loops.block(*given, *shares[part], len(x) + part, *filled, scratch[part])

        side_by_side(work, len(shares))
        ctx.save_for_backward(h, pools, messages, c, *weights)
        ctx.groups, ctx.limits, ctx.loops = groups, limits, loops
        return out[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, pools, messages, c, *weights = ctx.saved_tensors
        groups, loops, shares = ctx.groups, ctx.loops, _shares(ctx.groups, h.shape[1])
        to_h = torch.empty_like(h)
        own, sums = arrays_of(*weights), PartSums(weights, len(shares))
        scratch = np.empty((len(shares), 5, groups.largest + 1, h.shape[1]), ctx.limits.dtype)
        pairs = groups.there, groups.back, groups.pairs.middle
        given = array_of(h), own, ctx.limits, *pairs, *groups.places
        saved = arrays_of(pools, messages, c, grad, to_h)

        def work(part: int) -> None:
            loops.block_gradients(*given, *shares[part], *saved, sums.of(part), scratch[part])

        side_by_side(work, len(shares))
        return to_h, None, None, None, *sums.gradients()


def _shares(groups: EventGroups, channels: int) -> list[tuple[int, int]]:
    """The groups of each part of the work."""
    work = 2 * (len(groups.pairs.source) + groups.pairs.num_sources) * channels**2
    parts = min(groups.number, parts_of(work))
    return list(pairwise(part * groups.number // parts for part in range(parts + 1)))

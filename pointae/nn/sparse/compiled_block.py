"""A residual block of a sparse network at once, compiled by numba when first called and kept in its cache.

Group of events by group: what a group's operations hand on stays in the second cache. Its
gradients compute again what is cheap to compute, so that little is written and read back.
"""

from __future__ import annotations

import numpy as np

from pointae.nn.loops.compile import compiled, within
from pointae.nn.loops.norms import norm, norm_row_gradients
from pointae.nn.loops.rows import add, add_sum, fill, shift
from pointae.nn.sparse.compiled import LANES, outer_products, products
from pointae.nn.sparse.compiled_events import pool, pool_gradients, tell, tell_gradients

WHOLE = LANES
"""A block's channels are a multiple of it."""


@within
def _times(rows, weight, start, pairs):  # type: ignore[no-untyped-def]
    """``rows @ weight + start``: (B, C_in), (1, C_in, C_out), (C_out,) -> (B, C_out); no use is made of ``pairs``."""
    source, target, begin, end = pairs
    count = len(rows)
    out = np.empty((count + 1, weight.shape[2]), rows.dtype)  # a row to spare
    fill(out, start, 0, count)
    edges = np.array([0, count])
    products(rows, 0, weight, source, target, edges, begin, end, 0, 0, 1, out, 0, count)
    return out[:count]


@within
def _outer(rows, grad, pairs, out):  # type: ignore[no-untyped-def]
    """``out[0] += rows.T @ grad``: (B, C_in), (B, C_out), (1, C_in, C_out); no use is made of ``pairs``."""
    source, target, begin, end = pairs
    edges = np.array([0, len(rows)])
    outer_products(rows, 0, grad, 0, source, target, edges, begin, end, 0, 0, 1, 0, 1, out)


@within
def _turned(weight):  # type: ignore[no-untyped-def]
    """(K, C_in, C_out) -> (K, C_out, C_in)."""
    return np.ascontiguousarray(np.transpose(weight, (0, 2, 1)))


@compiled
def block(  # type: ignore[no-untyped-def]
    h, weights, eps, pairs, centre, starts, groups, edges, ranges, first, last, spare, pools, messages, c, out, scratch,
):  # fmt: skip
    """Groups ``first`` to ``last - 1`` of events through the block.

    Args:
        h, c, out: (M, C) and, of the last two, rows to spare; ``c`` is filled with the first convolution's result.
        weights: scale and shift (C,) of the first norm, weight (C, 2 C) and bias (C,) of the context's linear layer,
            weight (K, C, C) and bias (C,) of the first convolution, then of the second norm and convolution.
        eps: (2,), of the norms.
        pairs: source, target (P,), begin and end (R, K), as of :func:`products`.
        starts: (B + 1,), rows of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        groups: (G + 1,), events of group g are ``groups[g]`` to ``groups[g + 1] - 1``.
        edges: (R + 1,), of ranges of rows.
        ranges: (G + 1,), those of group g are ``ranges[g]`` to ``ranges[g + 1] - 1``.
        spare: row of ``c`` and ``out`` that is lost.
        pools, messages: (B, 2 C), (B, C), filled.
        scratch: (2, largest group, C).
    """
    scale_1, shift_1, context, context_bias, weight_1, bias_1, scale_2, shift_2, weight_2, bias_2 = weights
    to_message = np.ascontiguousarray(context.T).reshape((1, context.shape[1], context.shape[0]))
    source, target, begin, end = pairs
    zero, lowest = h.dtype.type(0), h.dtype.type(-np.inf)
    heard, normed = scratch[0], scratch[1]
    stats = np.empty((2, scratch.shape[1]), h.dtype)
    for g in range(first, last):
        events, row, behind = slice(groups[g], groups[g + 1]), starts[groups[g]], starts[groups[g + 1]]
        count, rows, own = groups[g + 1] - groups[g], behind - row, starts[groups[g] : groups[g + 1] + 1] - row
        norm(h[row:behind], scale_1, shift_1, eps[0], lowest, 0, rows, heard, stats)
        pool(heard, own, 0, count, pools[events])
        messages[events] = _times(pools[events], to_message, context_bias, pairs)
        tell(heard, messages[events], own, 0, count, heard)
        fill(c, bias_1, row, behind)
        products(heard, row, weight_1, source, target, edges, begin, end, centre, ranges[g], ranges[g + 1], c, 0, spare)
        norm(c[row:behind], scale_2, shift_2, eps[1], zero, 0, rows, normed, stats)
        shift(h[row:behind], bias_2, out[row:behind])
        products(
            normed, row, weight_2, source, target, edges, begin, end, centre, ranges[g], ranges[g + 1], out, 0, spare
        )


@compiled
def block_gradients(  # type: ignore[no-untyped-def]
    h, weights, eps, pairs, back, centre, starts, groups, edges, ranges, first, last, pools, messages, c, grad,
    to_h, to_weights, scratch,
):  # fmt: skip
    """Gradients of :func:`block` in groups ``first`` to ``last - 1``; those of the weights are added.

    Args:
        weights: as of :func:`block`.
        back: source, target, begin and end of the pairs the other way.
        grad, to_h: (M, C).
        to_weights: as ``weights`` of :func:`block`.
        scratch: (5, largest group + 1, C), the last row of each is lost.
    """
    scale_1, shift_1, context, _, weight_1, _, scale_2, shift_2, weight_2, _ = weights
    back_1, back_2 = _turned(weight_1), _turned(weight_2)
    to_scale_1, to_shift_1, to_context, to_context_bias, to_weight_1, to_bias_1 = to_weights[:6]
    to_scale_2, to_shift_2, to_weight_2, to_bias_2 = to_weights[6:]
    source, target, begin, end = pairs
    back_source, back_target, back_begin, back_end = back
    offsets, channels = weight_1.shape[0], h.shape[1]
    zero, lowest = h.dtype.type(0), h.dtype.type(-np.inf)
    plain, heard, normed, one, two = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    spare = scratch.shape[1] - 1
    stats_1, stats_2 = np.empty((2, spare), h.dtype), np.empty((2, spare), h.dtype)
    zeros, no_pools = np.zeros(channels, h.dtype), np.zeros(2 * channels, h.dtype)
    for g in range(first, last):
        events, row, behind = slice(groups[g], groups[g + 1]), starts[groups[g]], starts[groups[g + 1]]
        count, rows, own = groups[g + 1] - groups[g], behind - row, starts[groups[g] : groups[g + 1] + 1] - row
        norm(h[row:behind], scale_1, shift_1, eps[0], lowest, 0, rows, plain, stats_1)
        tell(plain, messages[events], own, 0, count, heard)
        norm(c[row:behind], scale_2, shift_2, eps[1], zero, 0, rows, normed, stats_2)

        add_sum(grad[row:behind], to_bias_2)
        outer_products(
            normed, row, grad, 0, source, target, edges, begin, end, centre, ranges[g], ranges[g + 1], 0, offsets,
            to_weight_2,
        )  # fmt: skip
        fill(one, zeros, 0, rows)
        products(
            grad, 0, back_2, back_source, back_target, edges, back_begin, back_end, centre, ranges[g], ranges[g + 1],
            one, row, spare,
        )  # fmt: skip
        norm_row_gradients(c[row:behind], scale_2, zero, stats_2, normed, one, 0, rows, two, to_scale_2, to_shift_2)

        add_sum(two[:rows], to_bias_1)
        outer_products(
            heard, row, two, row, source, target, edges, begin, end, centre, ranges[g], ranges[g + 1], 0, offsets,
            to_weight_1,
        )  # fmt: skip
        fill(one, zeros, 0, rows)
        products(
            two, row, back_1, back_source, back_target, edges, back_begin, back_end, centre, ranges[g], ranges[g + 1],
            one, row, spare,
        )  # fmt: skip

        to_messages = np.empty((count, channels), h.dtype)
        tell_gradients(heard, one, own, 0, count, two, to_messages)
        to_pools = _times(to_messages, context.reshape((1, *context.shape)), no_pools, pairs)
        _outer(to_messages, pools[events], pairs, to_context.reshape((1, *context.shape)))
        add_sum(to_messages, to_context_bias)
        pool_gradients(plain, own, pools[events], to_pools, 0, count, one)
        add(one[:rows], two[:rows])
        norm_row_gradients(
            h[row:behind], scale_1, lowest, stats_1, plain, two, 0, rows, to_h[row:behind], to_scale_1, to_shift_1
        )
        add(grad[row:behind], to_h[row:behind])

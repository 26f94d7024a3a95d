"""Layer norm row by row, compiled by numba when first called and kept in its cache.

What waits for a sum over a row is done for :data:`AT_ONCE` rows at once, so that a processor has
others to go on with. The order of a sum does not depend on who does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from pointae.nn.loops.compile import compiled
from pointae.nn.loops.lanes import LANES, Lanes

WHOLE = LANES
"""A norm's channels are a multiple of it."""
BLOCK = 4096
"""Rows over which the gradients of a norm's scale and shift are summed at once."""
AT_ONCE = 16


@intrinsic
def _sum(typing, x, at, channels):  # type: ignore[no-untyped-def]
    """The sum of ``x[at]`` to ``x[at + channels - 1]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        _, at, channels = arguments
        total = lanes.variable(lanes.all(lanes.constant(0)))

        def add(c: Any) -> None:
            value = lanes.load(lanes.place(lanes.flat(0), builder.add(at, c)))
            builder.store(lanes.add(builder.load(total), value), total)

        lanes.each(channels, add)
        return lanes.sum(total)

    return x.dtype(x, at, channels), generate


@intrinsic
def _squares(typing, x, at, channels, mean):  # type: ignore[no-untyped-def]
    """The sum of the squares of the same, less ``mean``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        _, at, channels, mean = arguments
        total, means = lanes.variable(lanes.all(lanes.constant(0))), lanes.all(mean)

        def add(c: Any) -> None:
            centred = lanes.subtract(lanes.load(lanes.place(lanes.flat(0), builder.add(at, c))), means)
            builder.store(lanes.add(builder.load(total), lanes.multiply(centred, centred)), total)

        lanes.each(channels, add)
        return lanes.sum(total)

    return x.dtype(x, at, channels, mean), generate


@intrinsic
def _normed(typing, x, at, channels, mean, scale, weight, bias, floor, out):  # type: ignore[no-untyped-def]
    """The same, normalised and cut at ``floor``, into ``out`` from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        values, weights, biases, results = (lanes.flat(i) for i in (0, 5, 6, 8))
        at, channels = arguments[1:3]
        means, scales, floors = (lanes.all(arguments[i]) for i in (3, 4, 7))

        def write(c: Any) -> None:
            place = builder.add(at, c)
            factor, shift = lanes.load(lanes.place(weights, c)), lanes.load(lanes.place(biases, c))
            centred = lanes.subtract(lanes.load(lanes.place(values, place)), means)
            normed = lanes.add(lanes.multiply(centred, scales, factor), shift)
            below = builder.fcmp_ordered("<", normed, floors)
            lanes.store(builder.select(below, floors, normed), lanes.place(results, place))

        lanes.each(channels, write)
        return context.get_dummy_value()

    return types.void(x, at, channels, mean, scale, weight, bias, floor, out), generate


@intrinsic
def _scaled(typing, x, at, channels, mean, scale, weight, floor, out, grad, to_x, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """Gradients of one row's scale and shift, added; of what was normalised, into ``to_x``; its sums for the rest."""
    given = x, at, channels, mean, scale, weight, floor, out, grad, to_x, to_weight, to_bias

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        values, weights, results, grads, own, of_weight, of_bias = (lanes.flat(i) for i in (0, 5, 7, 8, 9, 10, 11))
        at, channels = arguments[1:3]
        means, scales, floors = (lanes.all(arguments[i]) for i in (3, 4, 6))
        zeros = lanes.all(lanes.constant(0))
        total, along = lanes.variable(zeros), lanes.variable(zeros)

        def add_to(pointer: Any, number: Any) -> None:
            lanes.store(lanes.add(lanes.load(pointer), number), pointer)

        def gather(c: Any) -> None:
            place = builder.add(at, c)
            is_told = builder.fcmp_ordered(">", lanes.load(lanes.place(results, place)), floors)
            told = builder.select(is_told, lanes.load(lanes.place(grads, place)), zeros)
            normed = lanes.multiply(lanes.subtract(lanes.load(lanes.place(values, place)), means), scales)
            add_to(lanes.place(of_bias, c), told)
            add_to(lanes.place(of_weight, c), lanes.multiply(told, normed))
            scaled = lanes.multiply(told, lanes.load(lanes.place(weights, c)))
            lanes.store(scaled, lanes.place(own, place))
            builder.store(lanes.add(builder.load(total), scaled), total)
            builder.store(lanes.add(builder.load(along), lanes.multiply(scaled, normed)), along)

        lanes.each(channels, gather)
        return context.make_tuple(builder, signature.return_type, [lanes.sum(total), lanes.sum(along)])

    return types.UniTuple(x.dtype, 2)(*given), generate


@intrinsic
def _less(typing, x, at, channels, mean, scale, total, along, to_x):  # type: ignore[no-untyped-def]
    """From :func:`_scaled`'s ``to_x`` and the means of its sums to the gradient of ``x``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        values, own = lanes.flat(0), lanes.flat(7)
        at, channels = arguments[1:3]
        means, scales, totals, alongs = (lanes.all(arguments[i]) for i in (3, 4, 5, 6))

        def write(c: Any) -> None:
            place = builder.add(at, c)
            normed = lanes.multiply(lanes.subtract(lanes.load(lanes.place(values, place)), means), scales)
            pointer = lanes.place(own, place)
            rest = lanes.subtract(lanes.load(pointer), lanes.add(totals, lanes.multiply(normed, alongs)))
            lanes.store(lanes.multiply(scales, rest), pointer)

        lanes.each(channels, write)
        return context.get_dummy_value()

    return types.void(x, at, channels, mean, scale, total, along, to_x), generate


@compiled
def norm(x, weight, bias, eps, floor, first, last, out, stats):  # type: ignore[no-untyped-def]
    """Layer norm of rows ``first`` to ``last - 1``, cut at ``floor``.

    Args:
        x, out: (M, C), C a multiple of :data:`WHOLE`.
        weight, bias: (C,).
        stats: (2, M), filled with the mean of each row and one over its deviation.
    """
    channels = x.shape[1]
    means, scales = stats[0], stats[1]
    one, share = x.dtype.type(1), x.dtype.type(1) / x.dtype.type(channels)
    for start in range(first, last, AT_ONCE):
        end = min(start + AT_ONCE, last)
        for row in range(start, end):
            means[row] = _sum(x, row * channels, channels) * share
        for row in range(start, end):
            scales[row] = _squares(x, row * channels, channels, means[row])
        for row in range(start, end):
            scales[row] = one / np.sqrt(scales[row] * share + eps)
        for row in range(start, end):
            _normed(x, row * channels, channels, means[row], scales[row], weight, bias, floor, out)


@compiled
def norm_row_gradients(x, weight, floor, stats, out, grad, first, last, to_x, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """Gradients of :func:`norm` from those of its result, of rows ``first`` to ``last - 1``.

    Args:
        grad, to_x: (M, C).
        to_weight, to_bias: (C,), to which those of all rows are added.
    """
    channels = x.shape[1]
    means, scales, share = stats[0], stats[1], x.dtype.type(1) / x.dtype.type(channels)
    totals, alongs = np.empty(AT_ONCE, x.dtype), np.empty(AT_ONCE, x.dtype)
    for start in range(first, last, AT_ONCE):
        count = min(AT_ONCE, last - start)
        for i in range(count):
            row = start + i
            totals[i], alongs[i] = _scaled(
                x, row * channels, channels, means[row], scales[row], weight, floor, out, grad, to_x, to_weight, to_bias
            )
        for i in range(count):
            row = start + i
            total, along = totals[i] * share, alongs[i] * share
            _less(x, row * channels, channels, means[row], scales[row], total, along, to_x)


@compiled
def norm_gradients(x, weight, floor, stats, out, grad, first, last, to_x, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """As :func:`norm_row_gradients`, in blocks ``first`` to ``last - 1`` of :data:`BLOCK` rows.

    Args:
        to_weight, to_bias: (blocks, C), the sums of each block.
    """
    for block in range(first, last):
        to_weight[block], to_bias[block] = 0, 0
        rows = block * BLOCK, min((block + 1) * BLOCK, len(x))
        norm_row_gradients(x, weight, floor, stats, out, grad, rows[0], rows[1], to_x, to_weight[block], to_bias[block])

"""What a sparse network does row by row and event by event, compiled by numba when first called and kept in its cache.

A row is read once for all that is done to it. Ranges of rows or of events are the caller's: what is
summed within one is summed in the same order whoever does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from pointae.nn.sparse.lanes import LANES, Lanes

compiled = njit(cache=True, nogil=True, error_model="numpy")

WHOLE = LANES
"""A norm's channels are a multiple of it."""
BLOCK = 4096
"""Rows over which the gradients of a norm's scale and shift are summed at once."""


@intrinsic
def _norm_row(typing, x, weight, bias, eps, floor, at, channels, out, stats, row):  # type: ignore[no-untyped-def]
    """The row of ``x`` from ``at`` on, normalised into ``out``; its mean and one over its deviation into ``stats``."""
    signature = types.void(x, weight, bias, eps, floor, at, channels, out, stats, row)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        values, weights, biases, results, kept = (lanes.flat(i) for i in (0, 1, 2, 7, 8))
        eps, floor, at, channels, row = (arguments[i] for i in (3, 4, 5, 6, 9))
        share = builder.fdiv(lanes.constant(1), builder.sitofp(channels, lanes.scalar))
        zeros = lanes.all(lanes.constant(0))
        total, squares = lanes.variable(zeros), lanes.variable(zeros)

        def value(c: Any) -> Any:
            return lanes.load(lanes.place(values, builder.add(at, c)))

        lanes.each(channels, lambda c: builder.store(lanes.add(builder.load(total), value(c)), total))
        mean = builder.fmul(lanes.sum(total), share)
        means = lanes.all(mean)

        def add_square(c: Any) -> None:
            centred = lanes.subtract(value(c), means)
            builder.store(lanes.add(builder.load(squares), lanes.multiply(centred, centred)), squares)

        lanes.each(channels, add_square)
        variance = builder.fadd(builder.fmul(lanes.sum(squares), share), eps)
        root = builder.call(builder.module.declare_intrinsic("llvm.sqrt", [lanes.scalar]), [variance])
        scale = builder.fdiv(lanes.constant(1), root)
        scales, floors = lanes.all(scale), lanes.all(floor)
        first = builder.mul(row, row.type(2))
        builder.store(mean, builder.gep(kept, [first]))
        builder.store(scale, builder.gep(kept, [builder.add(first, row.type(1))]))

        def write(c: Any) -> None:
            factor, shift = lanes.load(lanes.place(weights, c)), lanes.load(lanes.place(biases, c))
            normed = lanes.add(lanes.multiply(lanes.subtract(value(c), means), scales, factor), shift)
            below = builder.fcmp_ordered("<", normed, floors)
            lanes.store(builder.select(below, floors, normed), lanes.place(results, builder.add(at, c)))

        lanes.each(channels, write)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _norm_row_gradients(typing, x, weight, mean, scale, floor, at, channels, out, grad, to_x, to_weight, to_bias, sums):  # type: ignore[no-untyped-def]
    """Of one row; those of weight and bias are added to ``to_weight`` and ``to_bias`` from ``sums`` on."""
    signature = types.void(x, weight, mean, scale, floor, at, channels, out, grad, to_x, to_weight, to_bias, sums)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        values, weights, results, given, own, of_weight, of_bias = (lanes.flat(i) for i in (0, 1, 7, 8, 9, 10, 11))
        means, scales, floors = (lanes.all(arguments[i]) for i in (2, 3, 4))
        at, channels, sums = (arguments[i] for i in (5, 6, 12))
        zeros = lanes.all(lanes.constant(0))
        total, along = lanes.variable(zeros), lanes.variable(zeros)

        def of_row(base: Any, c: Any) -> Any:
            return lanes.place(base, builder.add(at, c))

        def centred(c: Any) -> Any:
            return lanes.multiply(lanes.subtract(lanes.load(of_row(values, c)), means), scales)

        def add_to(pointer: Any, number: Any) -> None:
            lanes.store(lanes.add(lanes.load(pointer), number), pointer)

        def gather(c: Any) -> None:
            is_told = builder.fcmp_ordered(">", lanes.load(of_row(results, c)), floors)
            told, normed = builder.select(is_told, lanes.load(of_row(given, c)), zeros), centred(c)
            place = builder.add(sums, c)
            add_to(lanes.place(of_bias, place), told)
            add_to(lanes.place(of_weight, place), lanes.multiply(told, normed))
            scaled = lanes.multiply(told, lanes.load(lanes.place(weights, c)))
            lanes.store(scaled, of_row(own, c))
            builder.store(lanes.add(builder.load(total), scaled), total)
            builder.store(lanes.add(builder.load(along), lanes.multiply(scaled, normed)), along)

        lanes.each(channels, gather)
        share = builder.fdiv(lanes.constant(1), builder.sitofp(channels, lanes.scalar))
        totals, alongs = (lanes.all(builder.fmul(lanes.sum(part), share)) for part in (total, along))

        def write(c: Any) -> None:
            rest = lanes.subtract(lanes.load(of_row(own, c)), lanes.add(totals, lanes.multiply(centred(c), alongs)))
            lanes.store(lanes.multiply(scales, rest), of_row(own, c))

        lanes.each(channels, write)
        return context.get_dummy_value()

    return signature, generate


@compiled
def norm(x, weight, bias, eps, floor, first, last, out, stats):  # type: ignore[no-untyped-def]
    """Layer norm of rows ``first`` to ``last - 1``, cut at ``floor``.

    Args:
        x, out: (M, C), C a multiple of :data:`WHOLE`.
        weight, bias: (C,).
        stats: (M, 2), filled with the mean of each row and one over its deviation.
    """
    channels = x.shape[1]
    for row in range(first, last):
        _norm_row(x, weight, bias, eps, floor, row * channels, channels, out, stats, row)


@compiled
def norm_gradients(x, weight, floor, stats, out, grad, first, last, to_x, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """Gradients of :func:`norm` from those of its result, in blocks ``first`` to ``last - 1`` of :data:`BLOCK` rows.

    Args:
        grad, to_x: (M, C).
        to_weight, to_bias: (blocks, C), the sums of each block.
    """
    rows, channels = x.shape
    for block in range(first, last):
        to_weight[block], to_bias[block] = 0, 0
        for row in range(block * BLOCK, min((block + 1) * BLOCK, rows)):
            _norm_row_gradients(
                x, weight, stats[row, 0], stats[row, 1], floor, row * channels, channels, out, grad,
                to_x, to_weight, to_bias, block * channels,
            )  # fmt: skip


@compiled
def pool(x, starts, first, last, out):  # type: ignore[no-untyped-def]
    """Mean and largest of the rows of events ``first`` to ``last - 1``; 0 for an event without rows.

    Args:
        x: (M, C), rows of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        out: (B, 2 C).
    """
    channels = x.shape[1]
    for event in range(first, last):
        mean, largest = out[event, :channels], out[event, channels:]
        mean[:] = 0
        largest[:] = -np.inf if starts[event + 1] > starts[event] else 0
        for row in range(starts[event], starts[event + 1]):
            values = x[row]
            for c in range(channels):
                mean[c] += values[c]
                largest[c] = max(largest[c], values[c])
        mean /= x.dtype.type(max(starts[event + 1] - starts[event], 1))


@compiled
def pool_gradients(x, starts, out, grad, first, last, to_x):  # type: ignore[no-untyped-def]
    """Gradients of :func:`pool`; rows that are equally large share that of the largest."""
    channels = x.shape[1]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    shares = np.empty(channels, x.dtype)
    for event in range(first, last):
        rows = starts[event + 1] - starts[event]
        largest, of_mean, of_largest = out[event, channels:], grad[event, :channels], grad[event, channels:]
        each = of_mean / x.dtype.type(max(rows, 1))
        shares[:] = 0
        for row in range(starts[event], starts[event + 1]):
            values = x[row]
            for c in range(channels):
                shares[c] += one if values[c] == largest[c] else zero
        for c in range(channels):
            shares[c] = of_largest[c] / max(shares[c], one)
        for row in range(starts[event], starts[event + 1]):
            values, own = x[row], to_x[row]
            for c in range(channels):
                own[c] = each[c] + (shares[c] if values[c] == largest[c] else zero)


@compiled
def tell(x, message, starts, first, last, out):  # type: ignore[no-untyped-def]
    """``max(x + message, 0)`` of each row and its event's message.

    Args:
        x, out: (M, C).
        message: (B, C).
    """
    zero = x.dtype.type(0)
    for event in range(first, last):
        told = message[event]
        for row in range(starts[event], starts[event + 1]):
            values, own = x[row], out[row]
            for c in range(values.size):
                heard = values[c] + told[c]
                own[c] = zero if heard < zero else heard  # what is no number stays none


@compiled
def tell_gradients(out, grad, starts, first, last, to_x, to_message):  # type: ignore[no-untyped-def]
    """Gradients of :func:`tell`."""
    zero = grad.dtype.type(0)
    for event in range(first, last):
        total = to_message[event]
        total[:] = 0
        for row in range(starts[event], starts[event + 1]):
            result, given, own = out[row], grad[row], to_x[row]
            for c in range(result.size):
                own[c] = given[c] if result[c] > zero else zero
                total[c] += own[c]

"""What a sparse network does row by row and event by event, compiled by numba when first called and kept in its cache.

A row is read once for all that is done to it. Ranges of rows or of events are the caller's: what is
summed within one is summed in the same order whoever does it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
summing = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
"""For sums along a row: they may be split among the lanes of a vector."""

BLOCK = 4096
"""Rows over which the gradients of a norm's scale and shift are summed at once."""


@summing
def norm(x, weight, bias, eps, floor, first, last, out, stats):  # type: ignore[no-untyped-def]
    """Layer norm of rows ``first`` to ``last - 1``, cut at ``floor``.

    Args:
        x, out: (M, C).
        weight, bias: (C,).
        stats: (M, 2), filled with the mean of each row and one over its deviation.
    """
    number = x.dtype.type
    channels = x.shape[1]
    count = number(channels)
    for row in range(first, last):
        values, own = x[row], out[row]
        total, squares = number(0), number(0)
        for c in range(channels):
            total += values[c]
        mean = total / count
        for c in range(channels):
            squares += (values[c] - mean) * (values[c] - mean)
        scale = number(1) / np.sqrt(squares / count + eps)
        stats[row, 0], stats[row, 1] = mean, scale
        for c in range(channels):
            own[c] = max((values[c] - mean) * scale * weight[c] + bias[c], floor)


@summing
def norm_gradients(x, weight, floor, stats, out, grad, first, last, to_x, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """Gradients of :func:`norm` from those of its result, in blocks ``first`` to ``last - 1`` of :data:`BLOCK` rows.

    Args:
        grad, to_x: (M, C).
        to_weight, to_bias: (blocks, C), the sums of each block.
    """
    rows, channels = x.shape
    zero, count = x.dtype.type(0), x.dtype.type(channels)
    for block in range(first, last):
        of_weight, of_bias = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        for row in range(block * BLOCK, min((block + 1) * BLOCK, rows)):
            values, result, given, own = x[row], out[row], grad[row], to_x[row]
            mean, scale = stats[row, 0], stats[row, 1]
            total, along = zero, zero
            for c in range(channels):  # a loop of its own, that it is a choice of lanes and not a branch to mispredict
                own[c] = given[c] if result[c] > floor else zero
            for c in range(channels):
                centred = (values[c] - mean) * scale
                of_bias[c] += own[c]
                of_weight[c] += own[c] * centred
                own[c] *= weight[c]
                total += own[c]
                along += own[c] * centred
            total, along = total / count, along / count
            for c in range(channels):
                own[c] = scale * (own[c] - total - (values[c] - mean) * scale * along)
        to_weight[block], to_bias[block] = of_weight, of_bias


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
                own[c] = max(values[c] + told[c], zero)


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

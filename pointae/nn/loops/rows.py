"""What is done to rows number by number, compiled by numba when first called and kept in its cache."""

from __future__ import annotations

from pointae.nn.loops.compile import compiled, within


@compiled
def fill(out, bias, first, last):  # type: ignore[no-untyped-def]
    """``bias`` (C,) into rows ``first`` to ``last - 1`` of ``out`` (M, C)."""
    for row in range(first, last):
        own = out[row]
        for c in range(own.size):
            own[c] = bias[c]


@compiled
def add_by_number(values, rows, out):  # type: ignore[no-untyped-def]
    """``out[rows[n, r]] += values[n]`` for all n and r, in their order.

    Args:
        values: (N, C).
        rows: (N, R) int32, of ``out``.
        out: (K, C).
    """
    for n in range(len(values)):
        own = values[n]
        for r in range(rows.shape[1]):
            total = out[rows[n, r]]
            for c in range(own.size):
                total[c] += own[c]


@within
def add(x, out):  # type: ignore[no-untyped-def]
    """``out += x``, both (M, C)."""
    for row in range(len(x)):
        values, own = x[row], out[row]
        for c in range(values.size):
            own[c] += values[c]


@within
def add_sum(rows, out):  # type: ignore[no-untyped-def]
    """The sum of all rows (M, C), added to ``out`` (C,)."""
    for row in range(len(rows)):
        values = rows[row]
        for c in range(values.size):
            out[c] += values[c]


@within
def shift(x, bias, out):  # type: ignore[no-untyped-def]
    """``x + bias`` into ``out``: (M, C), (C,)."""
    for row in range(len(x)):
        values, own = x[row], out[row]
        for c in range(values.size):
            own[c] = values[c] + bias[c]

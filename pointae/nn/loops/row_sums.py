"""Sums of rows by number, compiled by numba when first called and kept in its cache."""

from __future__ import annotations

from pointae.nn.loops.compile import compiled


@compiled
def add_rows(values, rows, out):  # type: ignore[no-untyped-def]
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

"""How matrices of bf16 lie in memory, compiled by numba when first called and kept in its cache.

A word (int32) holds two numbers, as the processors' instruction takes them: their products with another word's two are
added to a sum. So a matrix (M, C) lies in one of two ways:

rows
    (M, C / 2), a word holds two neighbours in a row, the left one in its lower half: what torch calls bfloat16.
pairs
    (M / 2, C), a word holds two neighbours in a column, the upper one in its lower half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pointae.nn.half.lanes import HALF, WORD, HalfLanes
from pointae.nn.loops.compile import compiled
from pointae.nn.loops.lanes import LANES

TILE = 8
"""Rows of a tile of a product: with two vectors of columns 16 sums, enough to keep the multipliers busy."""
_BOTH = ir.VectorType(HALF, 2 * LANES)


@intrinsic
def _rounded(typing, x, out, count):  # type: ignore[no-untyped-def]
    """The first ``count`` numbers of x, a flat array of float32, as bf16 into ``out``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = HalfLanes(context, builder, signature.args, arguments)
        values, results = lanes.flat(0), lanes.flat(1)
        lanes.each(arguments[2], lambda c: lanes.write(lanes.load(lanes.place(values, c)), results, lanes.word(c)))
        return context.get_dummy_value()

    return types.void(x, out, count), generate


@intrinsic
def _paired(typing, rows, upper, lower, out, out_at, count):  # type: ignore[no-untyped-def]
    """``count`` numbers of two rows, that begin with words ``upper`` and ``lower``, alternate in ``out``."""
    given = rows, upper, lower, out, out_at, count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = HalfLanes(context, builder, signature.args, arguments)
        values, results = lanes.flat(0), lanes.flat(3)
        _, upper, lower, _, out_at, count = arguments
        order = ir.Constant(ir.VectorType(WORD, 2 * LANES), [i // 2 + LANES * (i % 2) for i in range(2 * LANES)])

        def write(c: Any) -> None:
            places = (builder.add(first, lanes.word(c)) for first in (upper, lower))
            both = (builder.load(lanes.halves(values, place), align=4) for place in places)
            pointer = builder.bitcast(builder.gep(results, [builder.add(out_at, c)]), _BOTH.as_pointer())
            builder.store(builder.shuffle_vector(*both, order), pointer, align=4)

        lanes.each(count, write)
        return context.get_dummy_value()

    return types.void(*given), generate


@compiled
def round_rows(x, out):  # type: ignore[no-untyped-def]
    """x (M, C) float32, C a multiple of 16, as rows into ``out``."""
    _rounded(x.reshape(-1), out.reshape(-1), x.size)


@compiled
def pair(rows, first, count, out):  # type: ignore[no-untyped-def]
    """The first ``count`` rows, an even number, from word ``first`` on, as pairs into ``out`` (M / 2, C)."""
    words, columns = rows.shape[1], out.shape[1]
    flat, flat_out = rows.reshape(-1), out.reshape(-1)
    for i in range(count // 2):
        upper = 2 * i * words + first
        _paired(flat, upper, upper + words, flat_out, i * columns, columns)


@compiled
def turn(rows, out):  # type: ignore[no-untyped-def]
    """The transpose of a matrix (M, C) as rows, as pairs (C / 2, M) into ``out``."""
    for c in range(rows.shape[1]):
        own = out[c]
        for i in range(own.size):
            own[i] = rows[i, c]


@compiled
def as_rows(x):  # type: ignore[no-untyped-def]
    """A matrix (M, C) float32 as rows; C a multiple of 16."""
    out = np.empty((x.shape[0], x.shape[1] // 2), np.int32)
    round_rows(x, out)
    return out


@compiled
def as_pairs(x):  # type: ignore[no-untyped-def]
    """A matrix (M, C) float32 as pairs (M / 2, C); C a multiple of 16."""
    out = np.empty((x.shape[0] // 2, x.shape[1]), np.int32)
    pair(as_rows(x), 0, x.shape[0], out)
    return out


@compiled
def as_turned(x):  # type: ignore[no-untyped-def]
    """The transpose of a matrix (M, C) float32 as pairs (C / 2, M); C a multiple of 16."""
    out = np.empty((x.shape[1] // 2, x.shape[0]), np.int32)
    turn(as_rows(x), out)
    return out


@compiled
def copy(x, first, out, out_first, words, count):  # type: ignore[no-untyped-def]
    """``count`` rows of ``words`` words, from word ``first`` of a row on, into ``out`` from word ``out_first`` on.

    Assigned as an array they would go one by one, which takes four times as long.
    """
    for i in range(count):
        values, own = x[i, first : first + words], out[i, out_first : out_first + words]
        for c in range(values.size):
            own[c] = values[c]


@compiled
def clear(out, first, last):  # type: ignore[no-untyped-def]
    """Zeros into rows ``first`` to ``last - 1``."""
    for i in range(first, last):
        own = out[i]
        for c in range(own.size):
            own[c] = 0


@compiled
def take_in(rows, whole, out):  # type: ignore[no-untyped-def]
    """Rows to an array of their own, zeros behind them up to row ``whole``."""
    copy(rows, 0, out, 0, rows.shape[1], len(rows))
    clear(out, len(rows), whole)


@compiled
def tiles(count):  # type: ignore[no-untyped-def]
    """So many rows, made up to whole tiles."""
    return -(-count // TILE) * TILE


@compiled
def longest(starts, first, last):  # type: ignore[no-untyped-def]
    """The same of the largest of events ``first`` to ``last - 1``."""
    count = 0
    for event in range(first, last):
        count = max(count, starts[event + 1] - starts[event])
    return tiles(count)

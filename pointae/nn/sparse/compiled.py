"""The inner loops of sparse convolution on a CPU, compiled by numba when first called and kept in its cache.

Products of gathered rows add up in registers, tile by tile of 8 rows and 16 or 32 columns; LLVM lays
a tile out for the vectors that the processor has. The order of a sum does not depend on the machine's
threads, so results repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pointae.nn.sparse.lanes import LANES, Lanes

ROWS = 8
"""Rows of a tile: with two vectors of columns 16 sums, which with their factors fill the registers of AVX-512."""
PAIRS_AT_ONCE = 256
"""Pairs whose rows meet all tiles of the gradient of the weights in turn: few enough to stay in the first cache."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


def _tile(vectors: int) -> Callable[..., None]:
    """A tile of :data:`ROWS` rows and ``vectors`` x :data:`LANES` columns, kept in registers while it adds up.

    The function, of flat arrays and places in them (int64), is::

        for c in range(count):
            for i, column in rows and columns of the tile:
                out[places[i] + first + column] += x[rows[i] + x_at[c]] * w[start + w_at[c] + column]
    """

    @intrinsic
    def tile(typing, x, rows, x_at, w, start, w_at, count, out, places, first):  # type: ignore[no-untyped-def]
        signature = types.void(x, rows, x_at, w, start, w_at, count, out, places, first)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = Lanes(context, builder, signature.args, arguments)
            inputs, rows_of, x_at, weights, w_at, outputs, places_of = (lanes.flat(i) for i in (0, 1, 2, 3, 5, 7, 8))
            start, count, first = (arguments[i] for i in (4, 6, 9))

            def numbers(base: Any) -> list[Any]:
                return [lanes.at(base, ir.Constant(ir.IntType(64), i)) for i in range(ROWS)]

            def pointers(base: Any, place: Any) -> list[Any]:
                return [lanes.place(base, builder.add(place, place.type(LANES * i))) for i in range(vectors)]

            rows, places = numbers(rows_of), [builder.add(place, first) for place in numbers(places_of)]
            sums = []  # LLVM moves them into registers
            for pointer in [pointer for place in places for pointer in pointers(outputs, place)]:
                sums.append((lanes.variable(lanes.load(pointer)), pointer))
            with cgutils.for_range(builder, count) as loop:
                factors_at = pointers(weights, builder.add(start, lanes.at(w_at, loop.index)))
                factors = [lanes.load(pointer) for pointer in factors_at]
                column = builder.gep(inputs, [lanes.at(x_at, loop.index)])
                for i, row in enumerate(rows):
                    number = lanes.all(lanes.at(column, row))
                    for factor, (own, _) in zip(factors, sums[vectors * i :], strict=False):
                        builder.store(lanes.add(builder.load(own), lanes.multiply(number, factor)), own)
                latch = builder.block
            latch.terminator.set_metadata("llvm.loop", _not_unrolled(builder.module))
            for own, pointer in sums:
                lanes.store(builder.load(own), pointer)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _not_unrolled(module: Any) -> Any:
    """Of a loop: unrolled, it would load ahead more than the registers hold, and lose a third of its speed."""
    loop = module.add_metadata([module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])])
    loop.operands = (loop, *loop.operands)  # a loop's metadata begin with themselves
    return loop


_narrow, _wide = _tile(1), _tile(2)


@compiled
def _tiles(x, rows, x_at, w, start, w_at, count, out, places, columns):  # type: ignore[no-untyped-def]
    """:data:`ROWS` whole rows of ``columns``, a multiple of :data:`LANES`."""
    for c in range(0, columns - LANES, 2 * LANES):
        _wide(x, rows, x_at, w, start + c, w_at, count, out, places, c)
    if columns % (2 * LANES):
        _narrow(x, rows, x_at, w, start + columns - LANES, w_at, count, out, places, columns - LANES)


@compiled
def _reached(rows, first, last, edge, falls):  # type: ignore[no-untyped-def]
    """First place from ``first`` to ``last`` where rows, ascending or not, have reached or passed an edge."""
    while first < last:
        middle = (first + last) // 2
        if (rows[middle] < edge) != falls:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def cut(rows, starts, edges):  # type: ignore[no-untyped-def]
    """The pairs of each offset whose row is in each of some ranges of rows.

    Args:
        rows: (P,) int64, of the pairs of one offset ascending or descending.
        starts: (K + 1,) int64, pairs of offset k are ``starts[k]`` to ``starts[k + 1] - 1``.
        edges: (R + 1,) int64, range r is ``edges[r]`` to ``edges[r + 1] - 1``.

    Returns:
        begin, end: (R, K) int64, its pairs of offset k are ``begin[r, k]`` to ``end[r, k] - 1``.
    """
    offsets, ranges = starts.size - 1, edges.size - 1
    begin, end = np.empty((ranges, offsets), np.int64), np.empty((ranges, offsets), np.int64)
    for k in range(offsets):
        first, last = starts[k], starts[k + 1]
        falls = last > first and rows[last - 1] < rows[first]
        for r in range(ranges):
            if falls:
                begin[r, k] = _reached(rows, first, last, edges[r + 1], falls)
                end[r, k] = _reached(rows, first, last, edges[r], falls)
            else:
                begin[r, k] = _reached(rows, first, last, edges[r], falls)
                end[r, k] = _reached(rows, first, last, edges[r + 1], falls)
    return begin, end


@compiled
def products(x, w, bias, source, target, begin, end, centre, first_row, last_row, out, spare):  # type: ignore[no-untyped-def]
    """``out[target]``, ``bias`` and the sum of ``x[source] @ w[k]`` over its pairs, for the targets of a range.

    Args:
        x: (M, C_in).
        w: (K, C_in, C_out), C_out a multiple of :data:`LANES`.
        bias: (C_out,).
        source, target: (P,) int64, ordered by offset; no target comes twice under one offset.
        begin, end: (K,) int64, pairs of offset k with a target of the range are ``begin[k]`` to ``end[k] - 1``.
        centre: an offset that joins each row to itself, its pairs are not listed; -1: there is none.
        first_row, last_row: the range is ``first_row`` to ``last_row - 1``.
        out: (M', C_out).
        spare: a row of ``out`` that is no target; what it holds is lost.
    """
    offsets, channels, columns = w.shape
    x_flat, w_flat, out_flat = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    rows, places = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    x_at, w_at = np.arange(channels), np.arange(channels) * columns
    for row in range(first_row, last_row):
        for c in range(columns):
            out[row, c] = bias[c]
    for k in range(offsets):
        start, listed = k * channels * columns, k != centre
        first_pair, last_pair = (begin[k], end[k]) if listed else (first_row, last_row)
        for first in range(first_pair, last_pair, ROWS):
            for i in range(ROWS):
                pair = first + i if first + i < last_pair else first
                rows[i] = (source[pair] if listed else pair) * channels
                places[i] = (target[pair] if listed else pair) * columns
                if pair < first + i:  # after the last: added to nothing
                    places[i] = spare * columns
            _tiles(x_flat, rows, x_at, w_flat, start, w_at, channels, out_flat, places, columns)


@compiled
def outer_products(x, grad, source, target, starts, centre, first_offset, last_offset, out):  # type: ignore[no-untyped-def]
    """``out[k] = x[source].T @ grad[target]`` of the pairs of offsets ``first_offset`` to ``last_offset - 1``.

    Args:
        x: (M, C_in), C_in a multiple of :data:`ROWS`.
        grad: (M', C_out), C_out a multiple of :data:`LANES`.
        source, target: (P,) int64.
        starts: (K + 1,) int64, pairs of offset k are ``starts[k]`` to ``starts[k + 1] - 1``.
        centre: an offset that joins each row to itself, its pairs are not listed; -1: there is none.
        out: (K, C_in, C_out).
    """
    _, channels, columns = out.shape
    x_flat, grad_flat, out_flat = x.reshape(-1), grad.reshape(-1), out.reshape(-1)
    rows, places = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    x_at, grad_at = np.empty(PAIRS_AT_ONCE, np.int64), np.empty(PAIRS_AT_ONCE, np.int64)
    for k in range(first_offset, last_offset):
        for i in range(channels):
            for c in range(columns):
                out[k, i, c] = 0
        listed = k != centre
        first_pair, last_pair = (starts[k], starts[k + 1]) if listed else (0, len(x))
        for first in range(first_pair, last_pair, PAIRS_AT_ONCE):
            count = min(PAIRS_AT_ONCE, last_pair - first)
            for i in range(count):
                x_at[i] = (source[first + i] if listed else first + i) * channels
                grad_at[i] = (target[first + i] if listed else first + i) * columns
            for row in range(0, channels, ROWS):
                for i in range(ROWS):
                    rows[i], places[i] = row + i, (k * channels + row + i) * columns
                _tiles(x_flat, rows, x_at, grad_flat, 0, grad_at, count, out_flat, places, columns)


@compiled
def _look(keys, step, source, target, i, j, found):  # type: ignore[no-untyped-def]
    """One step of a merge of ``keys`` with ``keys + step``, without branches to mispredict: the next (i, j, found)."""
    here, wanted = keys[i], keys[j] + step
    source[found], target[found] = i, j
    return i + (here <= wanted), j + (here >= wanted), found + (here == wanted)


@compiled
def match(keys, steps):  # type: ignore[no-untyped-def]
    """All (s, i, j) with ``keys[i] == keys[j] + steps[s]``, ordered by s, then j.

    Args:
        keys: (M,) int64, ascending, each once.
        steps: (S,) int64.

    Returns:
        s, i, j: (Q,) int64 each.
    """
    count = keys.size
    padded = np.zeros(-(-steps.size // 4) * 4, np.int64)
    padded[: steps.size] = steps
    source = np.empty((padded.size, count + 1), np.int64)  # only what is written takes memory
    target, found = np.empty_like(source), np.zeros(padded.size, np.int64)
    for s in range(0, padded.size, 4):  # four merges at once: while one waits for its keys the others go on
        i0, j0, i1, j1, i2, j2, i3, j3 = 0, 0, 0, 0, 0, 0, 0, 0
        f0, f1, f2, f3 = 0, 0, 0, 0
        while max(i0, j0, i1, j1, i2, j2, i3, j3) < count:
            i0, j0, f0 = _look(keys, padded[s], source[s], target[s], i0, j0, f0)
            i1, j1, f1 = _look(keys, padded[s + 1], source[s + 1], target[s + 1], i1, j1, f1)
            i2, j2, f2 = _look(keys, padded[s + 2], source[s + 2], target[s + 2], i2, j2, f2)
            i3, j3, f3 = _look(keys, padded[s + 3], source[s + 3], target[s + 3], i3, j3, f3)
        for own, i, j, f in ((s, i0, j0, f0), (s + 1, i1, j1, f1), (s + 2, i2, j2, f2), (s + 3, i3, j3, f3)):
            while i < count and j < count:
                i, j, f = _look(keys, padded[own], source[own], target[own], i, j, f)
            found[own] = f
    ends = found[: steps.size].cumsum()
    number, sources = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
    targets = np.empty_like(sources)
    for s in range(steps.size):
        place = slice(ends[s] - found[s], ends[s])
        number[place], sources[place], targets[place] = s, source[s, : found[s]], target[s, : found[s]]
    return number, sources, targets

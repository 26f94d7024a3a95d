"""The inner loops of sparse convolution on a CPU, compiled by numba when first called and kept in its cache.

Products of gathered rows add up in registers, tile by tile of 4 rows and 16 or 32 columns; LLVM lays
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

ROWS = 4
"""Rows of a tile."""
LANES = 16
"""Columns of a vector; a tile is one or two wide."""
PAIRS_AT_ONCE = 256
"""Pairs whose rows are gathered for the gradient of the weights: few enough to stay in the first cache."""
FUSED = ("contract",)
"""A product and a sum may be one instruction."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


def _tile(vectors: int) -> Callable[..., None]:
    """A tile of :data:`ROWS` rows and ``vectors`` x :data:`LANES` columns, kept in registers while it adds up.

    The function, of flat arrays and places in them (int64), is::

        for c in range(count):
            for i, column in rows and columns of the tile:
                out[t_i + column] += x[r_i + c * x_step] * w[start + c * w_step + column]
    """

    @intrinsic
    def tile(typing, x, r0, r1, r2, r3, x_step, w, start, w_step, count, out, t0, t1, t2, t3):  # type: ignore[no-untyped-def]
        signature = types.void(x, r0, r1, r2, r3, x_step, w, start, w_step, count, out, t0, t1, t2, t3)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def flat(number: int) -> Any:
                return context.make_array(signature.args[number])(context, builder, arguments[number]).data

            inputs, weights, outputs = flat(0), flat(6), flat(10)
            rows, x_step = arguments[1:5], arguments[5]
            start, w_step, count, places = arguments[7], arguments[8], arguments[9], arguments[11:]
            scalar = inputs.type.pointee
            vector, align = ir.VectorType(scalar, LANES), context.get_abi_alignment(scalar)
            lane_zero, nowhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None), vector(ir.Undefined)

            def pointers(base: Any, place: Any) -> list[Any]:
                steps = [builder.add(place, place.type(LANES * i)) for i in range(vectors)]
                return [builder.bitcast(builder.gep(base, [step]), vector.as_pointer()) for step in steps]

            def in_all_lanes(number: Any) -> Any:
                first = builder.insert_element(nowhere, number, ir.IntType(32)(0))
                return builder.shuffle_vector(first, nowhere, lane_zero)

            sums = []  # LLVM moves them into registers
            for pointer in [pointer for place in places for pointer in pointers(outputs, place)]:
                own = cgutils.alloca_once(builder, vector)
                builder.store(builder.load(pointer, align=align), own)
                sums.append((own, pointer))
            with cgutils.for_range(builder, count) as loop:
                factors_at = pointers(weights, builder.add(start, builder.mul(loop.index, w_step)))
                factors = [builder.load(pointer, align=align) for pointer in factors_at]
                for i, row in enumerate(rows):
                    place = builder.add(row, builder.mul(loop.index, x_step))
                    number = in_all_lanes(builder.load(builder.gep(inputs, [place])))
                    for factor, (own, _) in zip(factors, sums[vectors * i :], strict=False):
                        product = builder.fmul(number, factor, flags=FUSED)
                        builder.store(builder.fadd(builder.load(own), product, flags=FUSED), own)
            for own, pointer in sums:
                builder.store(builder.load(own), pointer, align=align)
            return context.get_dummy_value()

        return signature, generate

    return tile


_narrow, _wide = _tile(1), _tile(2)


@compiled
def _tiles(x, r0, r1, r2, r3, x_step, w, start, w_step, count, out, t0, t1, t2, t3, columns):  # type: ignore[no-untyped-def]
    """Four whole rows of ``columns``, a multiple of :data:`LANES`."""
    for c in range(0, columns - LANES, 2 * LANES):
        _wide(x, r0, r1, r2, r3, x_step, w, start + c, w_step, count, out, t0 + c, t1 + c, t2 + c, t3 + c)
    if columns % (2 * LANES):
        c = columns - LANES
        _narrow(x, r0, r1, r2, r3, x_step, w, start + c, w_step, count, out, t0 + c, t1 + c, t2 + c, t3 + c)


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
def products(x, w, source, target, begin, end, centre, first_row, last_row, out, spare):  # type: ignore[no-untyped-def]
    """``out[target]``, the sum of ``x[source] @ w[k]`` over its pairs, for the targets of a range.

    Args:
        x: (M, C_in).
        w: (K, C_in, C_out), C_out a multiple of :data:`LANES`.
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
    for row in range(first_row, last_row):
        for c in range(columns):
            out[row, c] = 0
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
            _tiles(
                x_flat, rows[0], rows[1], rows[2], rows[3], 1, w_flat, start, columns, channels,
                out_flat, places[0], places[1], places[2], places[3], columns,
            )  # fmt: skip


@compiled
def outer_products(x, grad, source, target, starts, first_offset, last_offset, out):  # type: ignore[no-untyped-def]
    """``out[k] = x[source].T @ grad[target]`` of the pairs of offsets ``first_offset`` to ``last_offset - 1``.

    Args:
        x: (M, C_in).
        grad: (M', C_out).
        source, target: (P,) int64.
        starts: (K + 1,) int64, pairs of offset k are ``starts[k]`` to ``starts[k + 1] - 1``.
        out: (K, C_in, C_out).
    """
    _, channels, out_channels = out.shape
    height, columns = -(-channels // ROWS) * ROWS, -(-out_channels // LANES) * LANES
    read = np.zeros((PAIRS_AT_ONCE, height), x.dtype)
    written = np.zeros((PAIRS_AT_ONCE, columns), x.dtype)
    sums = np.empty((height, columns), x.dtype)
    read_flat, written_flat, sums_flat = read.reshape(-1), written.reshape(-1), sums.reshape(-1)
    for k in range(first_offset, last_offset):
        for i in range(height):
            for c in range(columns):
                sums[i, c] = 0
        for first in range(starts[k], starts[k + 1], PAIRS_AT_ONCE):
            count = min(PAIRS_AT_ONCE, starts[k + 1] - first)
            for i in range(count):
                row, out_row = source[first + i], target[first + i]
                for c in range(channels):
                    read[i, c] = x[row, c]
                for c in range(out_channels):
                    written[i, c] = grad[out_row, c]
            for row in range(0, height, ROWS):
                t = row * columns
                _tiles(
                    read_flat, row, row + 1, row + 2, row + 3, height, written_flat, 0, columns, count,
                    sums_flat, t, t + columns, t + 2 * columns, t + 3 * columns, columns,
                )  # fmt: skip
        for i in range(channels):
            for c in range(out_channels):
                out[k, i, c] = sums[i, c]


@compiled
def match(keys, steps):  # type: ignore[no-untyped-def]
    """All (s, i, j) with ``keys[i] == keys[j] + steps[s]``, ordered by s, then j.

    Args:
        keys: (M,) int64, ascending, each once.
        steps: (S,) int64.

    Returns:
        s, i, j: (Q,) int64 each.
    """
    most = keys.size * steps.size + 1  # only what is written takes memory
    number, source, target = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    found = 0
    for s in range(steps.size):
        i, j = 0, 0
        while i < keys.size and j < keys.size:  # two ascending lists are merged, without branches to mispredict
            here, wanted = keys[i], keys[j] + steps[s]
            number[found], source[found], target[found] = s, i, j
            found += here == wanted
            i += here <= wanted
            j += here >= wanted
    return number[:found], source[:found], target[:found]

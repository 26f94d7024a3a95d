"""The inner loops of sparse convolution on a CPU, compiled by numba when first called and kept in its cache.

Products of gathered rows add up in registers, tile by tile of 8 rows and 16 or 32 columns; LLVM lays
a tile out for the vectors that the processor has. The order of a sum does not depend on the machine's
threads, so results repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pointae.nn.loops.compile import compiled, within
from pointae.nn.loops.lanes import LANES, Lanes

ROWS = 8
"""Rows of a tile: with two vectors of columns 16 sums, which with their factors fill the registers of AVX-512."""
PAIRS_AT_ONCE = 256
"""Pairs whose rows meet all tiles of the gradient of the weights in turn: few enough to stay in the first cache."""

AHEAD = 2 * ROWS
"""Pairs whose rows are asked for before they are needed."""
RANGE = 1 << 17
"""Numbers of the rows of a range, sources and targets: half of a second cache of a megabyte."""


def _tile(vectors: int) -> Callable[..., None]:
    """A tile of :data:`ROWS` rows and ``vectors`` x :data:`LANES` columns, kept in registers while it adds up.

    The function, of flat arrays and places in them (int64), is::

        for c in range(count):
            for i, column in rows and columns of the tile:
                read = x[x_from + rows[row + i] * width + x_at[c]]
                out[out_from + places[place + i] * columns + column] += read * w[w_from + w_at[c] + column]
    """

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing, x, x_from, rows, row, width, x_at, w, w_from, w_at, count, out, out_from, places, place, columns
    ):  # fmt: skip
        given = x, x_from, rows, row, width, x_at, w, w_from, w_at, count, out, out_from, places, place, columns

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = Lanes(context, builder, signature.args, arguments)
            inputs, rows, x_at, weights, w_at, outputs, places = (lanes.flat(i) for i in (0, 2, 5, 6, 8, 10, 12))
            x_from, row, width, w_from, count, out_from, place, columns = (
                arguments[i] for i in (1, 3, 4, 7, 9, 11, 13, 14)
            )

            def numbers(base: Any, first: Any, width: Any, start: Any) -> list[Any]:
                of_tile = [lanes.at(base, builder.add(first, first.type(i))) for i in range(ROWS)]
                return [builder.add(start, builder.mul(number, width)) for number in of_tile]

            def pointers(base: Any, place: Any) -> list[Any]:
                return [lanes.place(base, builder.add(place, place.type(LANES * i))) for i in range(vectors)]

            own_rows, own_places = numbers(rows, row, width, x_from), numbers(places, place, columns, out_from)
            sums = []  # LLVM moves them into registers
            for pointer in [pointer for own in own_places for pointer in pointers(outputs, own)]:
                sums.append((lanes.variable(lanes.load(pointer)), pointer))
            with cgutils.for_range(builder, count) as loop:
                factors_at = pointers(weights, builder.add(w_from, lanes.at(w_at, loop.index)))
                factors = [lanes.load(pointer) for pointer in factors_at]
                column = builder.gep(inputs, [lanes.at(x_at, loop.index)])
                for i, own_row in enumerate(own_rows):
                    number = lanes.all(lanes.at(column, own_row))
                    for factor, (own, _) in zip(factors, sums[vectors * i :], strict=False):
                        builder.store(lanes.add(builder.load(own), lanes.multiply(number, factor)), own)
                latch = builder.block
            lanes.keep_rolled(latch)
            for own, pointer in sums:
                lanes.store(builder.load(own), pointer)
            return context.get_dummy_value()

        return types.void(*given), generate

    return tile


_narrow, _wide = _tile(1), _tile(2)


@intrinsic
def _fetch(typing, x, place, count):  # type: ignore[no-untyped-def]
    """Ask for ``x[place]`` to ``x[place + count - 1]`` of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, builder, signature.args, arguments)
        _, place, count = arguments
        lanes.each(count, lambda c: lanes.fetch(lanes.flat(0), builder.add(place, c)))
        return context.get_dummy_value()

    return types.void(x, place, count), generate


@within
def _tiles(x, x_from, rows, row, width, x_at, w, w_from, w_at, count, out, out_from, places, place, columns):  # type: ignore[no-untyped-def]
    """:data:`ROWS` whole rows of ``columns``, a multiple of :data:`LANES`."""
    for c in range(0, columns - LANES, 2 * LANES):
        _wide(
            x, x_from, rows, row, width, x_at, w, w_from + c, w_at, count, out, out_from + c, places, place, columns
        )  # fmt: skip
    if columns % (2 * LANES):
        c = columns - LANES
        _narrow(
            x, x_from, rows, row, width, x_at, w, w_from + c, w_at, count, out, out_from + c, places, place, columns
        )  # fmt: skip


@within
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
def products(x, x_row, w, source, target, edges, begin, end, centre, first_range, last_range, out, out_row, spare):  # type: ignore[no-untyped-def]
    """``out[target] += x[source] @ w[k]`` over the pairs with a target in some ranges.

    One range after the other, so that its rows stay in the second cache for all offsets.

    Args:
        x: (M, C_in), of the sources from row ``x_row`` on.
        w: (K, C_in, C_out), C_out a multiple of :data:`LANES`.
        source, target: (P,) int64, ordered by offset; no target comes twice under one offset.
        edges: (R + 1,) int64, targets of range r are ``edges[r]`` to ``edges[r + 1] - 1``.
        begin, end: (R, K) int64, pairs of offset k with such a target are ``begin[r, k]`` to ``end[r, k] - 1``.
        centre: an offset that joins each row to itself, its pairs are not listed; -1: there is none.
        first_range, last_range: do ranges ``first_range`` to ``last_range - 1``.
        out: (M', C_out), of the targets from row ``out_row`` on.
        spare: a row of ``out`` that is no target; what it holds is lost.
    """
    offsets, channels, columns = w.shape
    x_flat, w_flat, out_flat = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    last_rows, last_places = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    x_at, w_at = np.arange(channels), np.arange(channels) * columns
    x_from, out_from = -x_row * channels, -out_row * columns
    for r in range(first_range, last_range):
        every = np.arange(edges[r], edges[r + 1])
        for k in range(offsets):
            listed, w_from = k != centre, k * channels * columns
            rows, places = (source, target) if listed else (every, every)
            first, behind = (begin[r, k], end[r, k]) if listed else (0, len(every))
            whole = behind - (behind - first) % ROWS
            for pair in range(first, whole, ROWS):
                for ahead in range(min(pair + AHEAD, behind), min(pair + AHEAD + ROWS, behind)):
                    _fetch(x_flat, x_from + rows[ahead] * channels, channels)
                    _fetch(out_flat, out_from + places[ahead] * columns, columns)
                _tiles(
                    x_flat, x_from, rows, pair, channels, x_at, w_flat, w_from, w_at, channels,
                    out_flat, out_from, places, pair, columns,
                )  # fmt: skip
            if whole < behind:
                for i in range(ROWS):
                    is_pair = whole + i < behind  # after the last: added to nothing
                    last_rows[i] = rows[whole + i] if is_pair else rows[whole]
                    last_places[i] = places[whole + i] if is_pair else out_row + spare
                _tiles(
                    x_flat, x_from, last_rows, 0, channels, x_at, w_flat, w_from, w_at, channels,
                    out_flat, out_from, last_places, 0, columns,
                )  # fmt: skip


@compiled
def outer_products(  # type: ignore[no-untyped-def]
    x, x_row, grad, grad_row, source, target, edges, begin, end, centre,
    first_range, last_range, first_offset, last_offset, out,
):  # fmt: skip
    """``out[k] += x[source].T @ grad[target]`` over the pairs of some offsets with a target in some ranges.

    Args:
        x: (M, C_in), C_in a multiple of :data:`ROWS`, of the sources from row ``x_row`` on.
        grad: (M', C_out), C_out a multiple of :data:`LANES`, of the targets from row ``grad_row`` on.
        source, target, edges, begin, end, centre, first_range, last_range: as of :func:`products`.
        first_offset, last_offset: do offsets ``first_offset`` to ``last_offset - 1``.
        out: (K, C_in, C_out).
    """
    _, channels, columns = out.shape
    x_flat, grad_flat, out_flat = x.reshape(-1), grad.reshape(-1), out.reshape(-1)
    every = np.arange(out.shape[0] * channels)
    x_at, grad_at = np.empty(PAIRS_AT_ONCE, np.int64), np.empty(PAIRS_AT_ONCE, np.int64)
    for r in range(first_range, last_range):
        for k in range(first_offset, last_offset):
            listed = k != centre
            first_pair, last_pair = (begin[r, k], end[r, k]) if listed else (edges[r], edges[r + 1])
            for first in range(first_pair, last_pair, PAIRS_AT_ONCE):
                count = min(PAIRS_AT_ONCE, last_pair - first)
                for i in range(count):
                    x_at[i] = ((source[first + i] if listed else first + i) - x_row) * channels
                    grad_at[i] = ((target[first + i] if listed else first + i) - grad_row) * columns
                    _fetch(x_flat, x_at[i], channels)
                    _fetch(grad_flat, grad_at[i], columns)
                for row in range(0, channels, ROWS):
                    _tiles(
                        x_flat, 0, every, row, 1, x_at, grad_flat, 0, grad_at, count,
                        out_flat, 0, every, k * channels + row, columns,
                    )  # fmt: skip


@within
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

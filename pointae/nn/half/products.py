"""Products of matrices of bf16, added up in float32, compiled by numba when first called and kept in its cache.

The matrices lie as :mod:`pointae.nn.half.layouts` tells. What a product begins with and what becomes of its sums is
done while a tile of it is in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pointae.nn.half.lanes import HalfLanes
from pointae.nn.half.layouts import TILE
from pointae.nn.loops.compile import compiled, within
from pointae.nn.loops.lanes import LANES


def _tile(vectors: int, begin: Callable[..., Any], finish: Callable[..., Any]) -> Callable[..., None]:
    """A tile of :data:`TILE` rows and ``vectors`` x :data:`LANES` columns, kept in registers while it adds up.

    The function, of flat arrays and places in them (int64), is::

        for i, column in rows and columns of the tile:
            sum = begin(own[own_from + i * own_row + column])
            for step in range(count):
                sum += dot(a[a_from + i * a_row + step * a_step], b[b_from + step * b_step + column])
            out[out_from + i * out_row + column] = finish(sum, own[own_from + i * own_row + column])

    Places in ``own`` and ``out`` are those of numbers, also where they are arrays of words.
    """

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing, a, a_from, a_row, a_step, b, b_from, b_step, count, own, own_from, own_row, out, out_from, out_row
    ):  # fmt: skip
        given = a, a_from, a_row, a_step, b, b_from, b_step, count, own, own_from, own_row, out, out_from, out_row

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = HalfLanes(context, builder, signature.args, arguments)
            left, right, start, result = (lanes.flat(i) for i in (0, 4, 8, 11))
            a_from, a_row, a_step, b_from, b_step, count = (arguments[i] for i in (1, 2, 3, 5, 6, 7))

            def places(first: Any, row: Any) -> list[Any]:
                rows = [builder.add(first, builder.mul(row, row.type(i))) for i in range(TILE)]
                return [builder.add(place, place.type(LANES * v)) for place in rows for v in range(vectors)]

            of_own, of_out = places(*arguments[9:11]), places(*arguments[12:14])
            sums = [lanes.variable(begin(lanes, start, place)) for place in of_own]  # LLVM moves them into registers
            rows = [builder.add(a_from, builder.mul(a_row, a_row.type(i))) for i in range(TILE)]
            with cgutils.for_range(builder, count) as loop:
                b_at = builder.add(b_from, builder.mul(loop.index, b_step))
                a_at = builder.mul(loop.index, a_step)
                factors = [lanes.words(right, builder.add(b_at, b_at.type(LANES * v))) for v in range(vectors)]
                for i, row in enumerate(rows):
                    word = lanes.all_words(lanes.at(left, builder.add(row, a_at)))
                    for factor, total in zip(factors, sums[vectors * i :], strict=False):
                        builder.store(lanes.dot(builder.load(total), word, factor), total)
                latch = builder.block
            lanes.keep_rolled(latch)
            for total, own_place, place in zip(sums, of_own, of_out, strict=True):
                finish(lanes, builder.load(total), start, own_place, result, place)
            return context.get_dummy_value()

        return types.void(*given), generate

    return tile


def _nothing(lanes: HalfLanes, own: Any, place: Any) -> Any:
    return lanes.number(0.0)


def _single(lanes: HalfLanes, own: Any, place: Any) -> Any:
    return lanes.load(lanes.place(own, place))


def _half(lanes: HalfLanes, own: Any, place: Any) -> Any:
    return lanes.read(own, lanes.word(place))


def _to_single(lanes: HalfLanes, value: Any, own: Any, own_place: Any, out: Any, place: Any) -> None:
    lanes.store(value, lanes.place(out, place))


def _to_half(lanes: HalfLanes, value: Any, own: Any, own_place: Any, out: Any, place: Any) -> None:
    lanes.write(value, out, lanes.word(place))


def _to_relu(lanes: HalfLanes, value: Any, own: Any, own_place: Any, out: Any, place: Any) -> None:
    below = lanes.builder.fcmp_ordered("<", value, lanes.number(0.0))  # what is no number stays none
    lanes.write(lanes.builder.select(below, lanes.number(0.0), value), out, lanes.word(place))


def _to_open(lanes: HalfLanes, value: Any, own: Any, own_place: Any, out: Any, place: Any) -> None:
    lanes.write(lanes.where_above_zero(_half(lanes, own, own_place), value), out, lanes.word(place))


def _matrix(begin: Callable[..., Any], finish: Callable[..., Any]) -> Callable[..., None]:
    """A whole matrix tile by tile, of arguments as of a tile, and of its rows and columns."""
    narrow, wide = _tile(1, begin, finish), _tile(2, begin, finish)

    @within
    def matrix(a, a_from, a_row, a_step, b, b_from, b_step, count, own, own_row, out, out_row, rows, columns):  # type: ignore[no-untyped-def]
        left, right, start, result = a.reshape(-1), b.reshape(-1), own.reshape(-1), out.reshape(-1)
        for row in range(0, rows, TILE):
            of_a, of_own, of_out = a_from + row * a_row, row * own_row, row * out_row
            for c in range(0, columns - LANES, 2 * LANES):
                wide(
                    left, of_a, a_row, a_step, right, b_from + c, b_step, count,
                    start, of_own + c, own_row, result, of_out + c, out_row,
                )  # fmt: skip
            if columns % (2 * LANES):
                c = columns - LANES
                narrow(
                    left, of_a, a_row, a_step, right, b_from + c, b_step, count,
                    start, of_own + c, own_row, result, of_out + c, out_row,
                )  # fmt: skip

    return matrix


_added, _plain = _matrix(_single, _to_single), _matrix(_nothing, _to_single)
_relu, _open, _residual = _matrix(_nothing, _to_relu), _matrix(_nothing, _to_open), _matrix(_half, _to_half)


@compiled
def add_products(a, first, b, rows, out):  # type: ignore[no-untyped-def]
    """``out += a[:, first:] @ b``, of as many columns as ``b`` has rows.

    Args:
        a: (M, ...), as rows.
        first: column of ``a``, an even number.
        b: (C, C'), as pairs, C' a multiple of :data:`LANES`.
        rows: of the result, a multiple of :data:`TILE`.
        out: (M, C') float32.
    """
    count, columns = b.shape
    _added(a, first // 2, a.shape[1], 1, b, 0, columns, count, out, columns, out, columns, rows, columns)


@compiled
def products(a, first, b, rows, out):  # type: ignore[no-untyped-def]
    """``out = a[:, first:] @ b``, arguments as of :func:`add_products`."""
    count, columns = b.shape
    _plain(a, first // 2, a.shape[1], 1, b, 0, columns, count, out, columns, out, columns, rows, columns)


@compiled
def relu_products(a, first, b, rows, out):  # type: ignore[no-untyped-def]
    """``relu(a[:, first:] @ b)`` as rows into ``out``, the others as of :func:`add_products`."""
    count, columns = b.shape
    _relu(a, first // 2, a.shape[1], 1, b, 0, columns, count, out, columns, out, columns, rows, columns)


@compiled
def open_products(a, first, b, rows, gate, out):  # type: ignore[no-untyped-def]
    """``a[:, first:] @ b`` as rows into the first columns of ``out``, 0 where ``gate``, as rows, is not above 0."""
    count, columns = b.shape
    width = 2 * out.shape[1]
    _open(a, first // 2, a.shape[1], 1, b, 0, columns, count, gate, columns, out, width, rows, columns)


@compiled
def residual_products(x, a, first, b, rows, out):  # type: ignore[no-untyped-def]
    """``x + a[:, first:] @ b`` as rows into ``out``, which may be x; x as rows."""
    count, columns = b.shape
    _residual(a, first // 2, a.shape[1], 1, b, 0, columns, count, x, columns, out, columns, rows, columns)


@compiled
def add_outer(a, first, b, b_first, count, out):  # type: ignore[no-untyped-def]
    """``out += a[:, first:].T @ b[:, b_first:]``, of as many columns of both as ``out`` has rows and columns.

    Args:
        a: (M, ...), as pairs.
        first: column of ``a``.
        b: (M, ...), as pairs.
        b_first: column of ``b``.
        count: M / 2.
        out: (C, C') float32, C a multiple of :data:`TILE`, C' of :data:`LANES`.
    """
    rows, columns = out.shape
    _added(a, first, 1, a.shape[1], b, b_first, b.shape[1], count, out, columns, out, columns, rows, columns)

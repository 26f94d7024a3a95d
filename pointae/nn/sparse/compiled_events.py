"""What the rows of an event say together and what is told to each, compiled by numba when first called and kept.

A vector of an event's channels is summed in registers, all its rows through. Ranges of events are
the caller's; channels are a multiple of :data:`WHOLE`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pointae.nn.loops.compile import compiled
from pointae.nn.loops.lanes import LANES, Lanes

WHOLE = LANES


class _Rows:
    """Vectors of an intrinsic's arrays, at ``at + row * width``; its last arguments are ``at``, ``rows``, ``width``."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.lanes = Lanes(context, builder, signature.args, arguments)
        self.builder, (self.at, self.rows, self.width) = builder, arguments[-3:]

    def each(self, step: Callable[[Any], None]) -> None:
        """``step(place)`` for each row's place."""
        with cgutils.for_range(self.builder, self.rows) as loop:
            step(self.builder.add(self.at, self.builder.mul(loop.index, self.width)))

    def read(self, number: int, place: Any) -> Any:
        """The vector at a place of an argument."""
        return self.lanes.load(self.lanes.place(self.lanes.flat(number), place))

    def write(self, values: Any, number: int, place: Any) -> None:
        """The vector to a place of an argument."""
        self.lanes.store(values, self.lanes.place(self.lanes.flat(number), place))


@intrinsic
def _pool(typing, x, out, mean_at, largest_at, count, at, rows, width):  # type: ignore[no-untyped-def]
    """Mean and largest over the rows into ``out``; ``count``: of rows, as a number of the arrays' kind."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        event = _Rows(context, builder, signature, arguments)
        lanes, (mean_at, largest_at, count) = event.lanes, arguments[2:5]
        total = lanes.variable(lanes.all(lanes.constant(0)))
        largest = lanes.variable(lanes.all(lanes.constant(-np.inf)))

        def take(place: Any) -> None:
            values, most = event.read(0, place), builder.load(largest)
            builder.store(lanes.add(builder.load(total), values), total)
            builder.store(builder.select(builder.fcmp_ordered(">", values, most), values, most), largest)

        event.each(take)
        event.write(builder.fdiv(builder.load(total), lanes.all(count)), 1, mean_at)
        event.write(builder.load(largest), 1, largest_at)
        return context.get_dummy_value()

    return types.void(x, out, mean_at, largest_at, count, at, rows, width), generate


@intrinsic
def _pool_gradients(typing, x, pools, grad, to_x, mean_at, largest_at, count, at, rows, width):  # type: ignore[no-untyped-def]
    """Gradients of :func:`_pool` into ``to_x``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        event = _Rows(context, builder, signature, arguments)
        lanes, (mean_at, largest_at, count) = event.lanes, arguments[4:7]
        zeros, ones = lanes.all(lanes.constant(0)), lanes.all(lanes.constant(1))
        largest, equal = event.read(1, largest_at), lanes.variable(zeros)

        def is_largest(place: Any) -> Any:
            return builder.fcmp_ordered("==", event.read(0, place), largest)

        def number(place: Any) -> None:
            one = builder.select(is_largest(place), ones, zeros)
            builder.store(lanes.add(builder.load(equal), one), equal)

        event.each(number)
        sharing = builder.load(equal)
        sharing = builder.select(builder.fcmp_ordered(">", sharing, ones), sharing, ones)
        each = builder.fdiv(event.read(2, mean_at), lanes.all(count))
        share = builder.fdiv(event.read(2, largest_at), sharing)

        def tell(place: Any) -> None:
            event.write(lanes.add(each, builder.select(is_largest(place), share, zeros)), 3, place)

        event.each(tell)
        return context.get_dummy_value()

    return types.void(x, pools, grad, to_x, mean_at, largest_at, count, at, rows, width), generate


@intrinsic
def _tell(typing, x, message, out, message_at, at, rows, width):  # type: ignore[no-untyped-def]
    """``max(x + message, 0)`` of all rows; what is no number stays none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        event = _Rows(context, builder, signature, arguments)
        lanes = event.lanes
        zeros, told = lanes.all(lanes.constant(0)), event.read(1, arguments[3])

        def tell(place: Any) -> None:
            heard = lanes.add(event.read(0, place), told)
            event.write(builder.select(builder.fcmp_ordered("<", heard, zeros), zeros, heard), 2, place)

        event.each(tell)
        return context.get_dummy_value()

    return types.void(x, message, out, message_at, at, rows, width), generate


@intrinsic
def _tell_gradients(typing, out, grad, to_x, to_message, message_at, at, rows, width):  # type: ignore[no-untyped-def]
    """Gradients of :func:`_tell`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        event = _Rows(context, builder, signature, arguments)
        lanes = event.lanes
        zeros = lanes.all(lanes.constant(0))
        total = lanes.variable(zeros)

        def tell(place: Any) -> None:
            is_told = builder.fcmp_ordered(">", event.read(0, place), zeros)
            own = builder.select(is_told, event.read(1, place), zeros)
            event.write(own, 2, place)
            builder.store(lanes.add(builder.load(total), own), total)

        event.each(tell)
        event.write(builder.load(total), 3, arguments[4])
        return context.get_dummy_value()

    return types.void(out, grad, to_x, to_message, message_at, at, rows, width), generate


@compiled
def pool(x, starts, first, last, out):  # type: ignore[no-untyped-def]
    """Mean and largest of the rows of events ``first`` to ``last - 1``; 0 for an event without rows.

    Args:
        x: (M, C), rows of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        out: (B, 2 C).
    """
    channels = x.shape[1]
    for event in range(first, last):
        rows, row, own = starts[event + 1] - starts[event], starts[event], event * 2 * channels
        if rows == 0:
            out[event] = 0
            continue
        for c in range(0, channels, LANES):
            _pool(x, out, own + c, own + channels + c, x.dtype.type(rows), row * channels + c, rows, channels)


@compiled
def pool_gradients(x, starts, out, grad, first, last, to_x):  # type: ignore[no-untyped-def]
    """Gradients of :func:`pool`; rows that are equally large share that of the largest."""
    channels = x.shape[1]
    for event in range(first, last):
        rows, row, own = starts[event + 1] - starts[event], starts[event], event * 2 * channels
        for c in range(0, channels, LANES):
            _pool_gradients(
                x, out, grad, to_x, own + c, own + channels + c, x.dtype.type(max(rows, 1)),
                row * channels + c, rows, channels,
            )  # fmt: skip


@compiled
def tell(x, message, starts, first, last, out):  # type: ignore[no-untyped-def]
    """``max(x + message, 0)`` of each row and its event's message.

    Args:
        x, out: (M, C), may be the same.
        message: (B, C).
    """
    channels = x.shape[1]
    for event in range(first, last):
        rows, row = starts[event + 1] - starts[event], starts[event]
        for c in range(0, channels, LANES):
            _tell(x, message, out, event * channels + c, row * channels + c, rows, channels)


@compiled
def tell_gradients(out, grad, starts, first, last, to_x, to_message):  # type: ignore[no-untyped-def]
    """Gradients of :func:`tell`."""
    channels = out.shape[1]
    for event in range(first, last):
        rows, row = starts[event + 1] - starts[event], starts[event]
        for c in range(0, channels, LANES):
            _tell_gradients(out, grad, to_x, to_message, event * channels + c, row * channels + c, rows, channels)

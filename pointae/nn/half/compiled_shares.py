"""Softmaxes of hits over tokens and of tokens over hits, and their gradients; compiled by numba when first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pointae.nn.half.lanes import HalfLanes
from pointae.nn.loops.compile import compiled
from pointae.nn.loops.lanes import LANES


class _Vectors:
    """``count`` vectors of an array, ``step`` numbers from one to the next; places are those of numbers."""

    def __init__(self, lanes: HalfLanes, array: int, at: Any, step: Any) -> None:
        self.lanes, self.base, self.at, self.step = lanes, lanes.flat(array), at, step

    def place(self, i: Any) -> Any:
        """Where vector i begins."""
        return self.lanes.builder.add(self.at, self.lanes.builder.mul(self.step, i))

    def pointer(self, i: Any) -> Any:
        """Pointer to a vector of float32."""
        return self.lanes.place(self.base, self.place(i))

    def single(self, i: Any) -> Any:
        """A vector of float32."""
        return self.lanes.load(self.pointer(i))

    def half(self, i: Any) -> Any:
        """A vector of bf16."""
        return self.lanes.read(self.base, self.lanes.word(self.place(i)))

    def write(self, values: Any, i: Any) -> None:
        """A vector to where bf16 lie."""
        self.lanes.write(values, self.base, self.lanes.word(self.place(i)))


def _each(lanes: HalfLanes, count: Any, step: Callable[[Any], None]) -> None:
    with cgutils.for_range(lanes.builder, count) as loop:
        step(loop.index)


def _softmax(across: bool) -> Callable[..., None]:
    """Softmax of vectors of float32, over all of their numbers or lane by lane, as bf16 into ``out``."""

    @intrinsic
    def softmax(typing, logits, at, step, count, out, out_at, out_step):  # type: ignore[no-untyped-def]
        given = logits, at, step, count, out, out_at, out_step

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = HalfLanes(context, builder, signature.args, arguments)
            values, results = _Vectors(lanes, 0, *arguments[1:3]), _Vectors(lanes, 4, *arguments[5:7])
            top, total = lanes.variable(lanes.number(-np.inf)), lanes.variable(lanes.number(0.0))

            def look(i: Any) -> None:
                builder.store(lanes.larger(values.single(i), builder.load(top)), top)

            _each(lanes, arguments[3], look)
            highest = lanes.all(lanes.largest(builder.load(top))) if across else builder.load(top)

            def add(i: Any) -> None:
                value = lanes.exp(lanes.subtract(values.single(i), highest))
                lanes.store(value, values.pointer(i))
                builder.store(lanes.add(builder.load(total), value), total)

            _each(lanes, arguments[3], add)
            summed = lanes.all(lanes.sum(total)) if across else builder.load(total)
            share = builder.fdiv(lanes.number(1.0), summed)
            _each(lanes, arguments[3], lambda i: results.write(lanes.multiply(values.single(i), share), i))
            return context.get_dummy_value()

        return types.void(*given), generate

    return softmax


def _gradients(across: bool) -> Callable[..., None]:
    """Gradients of the logits of shares, vectors of bf16, from those of the shares in float32; as bf16 into ``out``."""

    @intrinsic
    def gradients(typing, shares, at, step, grad, grad_at, grad_step, count, out, out_at, out_step):  # type: ignore[no-untyped-def]
        given = shares, at, step, grad, grad_at, grad_step, count, out, out_at, out_step

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = HalfLanes(context, builder, signature.args, arguments)
            values, grads, results = (_Vectors(lanes, i, *arguments[i + 1 : i + 3]) for i in (0, 3, 7))
            total = lanes.variable(lanes.number(0.0))

            def add(i: Any) -> None:
                builder.store(lanes.add(builder.load(total), lanes.multiply(values.half(i), grads.single(i))), total)

            _each(lanes, arguments[6], add)
            mean = lanes.all(lanes.sum(total)) if across else builder.load(total)

            def write(i: Any) -> None:
                results.write(lanes.multiply(values.half(i), lanes.subtract(grads.single(i), mean)), i)

            _each(lanes, arguments[6], write)
            return context.get_dummy_value()

        return types.void(*given), generate

    return gradients


_softmax_along, _softmax_down = _softmax(across=True), _softmax(across=False)
_gradients_along, _gradients_down = _gradients(across=True), _gradients(across=False)


@compiled
def shares_of(logits, count, taken, told, out):  # type: ignore[no-untyped-def]
    """Of each hit's logits (M, 2 K) the first K over all hits, the others over the K; as rows into ``out``.

    Args:
        logits: float32; what they hold is lost.
        count: hits, whose rows are written.
        taken, told: columns of ``out`` where the shares begin.
    """
    columns, width = logits.shape[1], 2 * out.shape[1]
    tokens = columns // 2
    flat, flat_out = logits.reshape(-1), out.reshape(-1)
    for c in range(0, tokens, LANES):
        _softmax_down(flat, c, columns, count, flat_out, taken + c, width)
    for i in range(count):
        _softmax_along(flat, i * columns + tokens, LANES, tokens // LANES, flat_out, i * width + told, LANES)


@compiled
def shares_gradients(shares, to_taken, to_told, count, out, first):  # type: ignore[no-untyped-def]
    """Gradients of the logits of :func:`shares_of` from those of the shares, as rows into ``out`` from a column on.

    Args:
        shares: (M, 2 K) as rows: what was taken, what was told.
        to_taken, to_told: (M, K) float32.
        count: hits, whose rows are written.
    """
    tokens, own, width = to_taken.shape[1], 2 * shares.shape[1], 2 * out.shape[1]
    flat, flat_out = shares.reshape(-1), out.reshape(-1)
    flat_taken, flat_told = to_taken.reshape(-1), to_told.reshape(-1)
    for c in range(0, tokens, LANES):
        _gradients_down(flat, c, own, flat_taken, c, tokens, count, flat_out, first + c, width)
    for i in range(count):
        at, out_at = i * own + tokens, i * width + first + tokens
        _gradients_along(flat, at, LANES, flat_told, i * tokens, LANES, tokens // LANES, flat_out, out_at, LANES)

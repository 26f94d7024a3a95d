"""The decoder of hits, event by event, forward and back; compiled by numba when first called.

The same as :class:`~pointae.nn.decoders.PerHitDecoder` does with its layers. Nothing is kept for the gradients: they
compute again what the hits become on their way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from pointae.nn.half.lanes import HalfLanes
from pointae.nn.half.layouts import as_pairs, as_turned, clear, copy, longest, pair, round_rows, take_in, tiles
from pointae.nn.half.products import add_outer, add_products, products
from pointae.nn.loops.compile import compiled, within
from pointae.nn.loops.rows import fill


class HeadWeights(NamedTuple):
    """Weights and biases of the layers behind the event's message, or their gradients: C channels, H hidden."""

    hit: Any  # (H, C)
    hidden: Any  # (H, H)
    hidden_bias: Any  # (H,)
    logit: Any  # (1, H)
    logit_bias: Any  # (1,)


class Way(NamedTuple):
    """What the hits of an event become on their way and back, made up to whole tiles."""

    own: Any  # (M, C) as rows
    pairs: Any
    first: Any  # (M, H) float32: what the first layer makes of it, then its slope
    inner: Any  # as rows: gelu of that
    inner_pairs: Any
    second: Any  # (M, H) float32, then its gradient
    back: Any  # a gradient as rows
    back_pairs: Any
    to_own: Any  # (M, C) float32


def _gelu(with_slope: bool) -> Callable[..., None]:
    """gelu(x) of ``count`` numbers as bf16 into ``out``; then its slope into x."""

    @intrinsic
    def gelu(typing, x, count, out):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = HalfLanes(context, builder, signature.args, arguments)
            values, results = lanes.flat(0), lanes.flat(2)

            def write(c: Any) -> None:
                pointer = lanes.place(values, c)
                value = lanes.load(pointer)
                below, density = lanes.normal(value)
                lanes.write(lanes.multiply(value, below), results, lanes.word(c))
                if with_slope:
                    lanes.store(lanes.add(below, lanes.multiply(value, density)), pointer)

            lanes.each(arguments[1], write)
            return context.get_dummy_value()

        return types.void(x, count, out), generate

    return gelu


_plain_gelu, _gelu_and_slope = _gelu(with_slope=False), _gelu(with_slope=True)


@intrinsic
def _weighed(typing, x, at, count, weight):  # type: ignore[no-untyped-def]
    """The sum of ``weight`` times gelu(x) over ``count`` numbers of x from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = HalfLanes(context, builder, signature.args, arguments)
        _, at, count, _ = arguments
        values, weights, total = lanes.flat(0), lanes.flat(3), lanes.variable(lanes.number(0.0))

        def add(c: Any) -> None:
            value = lanes.load(lanes.place(values, builder.add(at, c)))
            told = lanes.multiply(value, lanes.normal(value)[0], lanes.load(lanes.place(weights, c)))
            builder.store(lanes.add(builder.load(total), told), total)

        lanes.each(count, add)
        return lanes.sum(total)

    return types.float32(x, at, count, weight), generate


@intrinsic
def _weighed_back(typing, x, at, count, weight, grad, to_weight, to_bias):  # type: ignore[no-untyped-def]
    """Gradients of :func:`_weighed`: of the weight and of what was added to x before, added; of x, in its place."""
    given = x, at, count, weight, grad, to_weight, to_bias

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = HalfLanes(context, builder, signature.args, arguments)
        _, at, count, _, grad, _, _ = arguments
        values, weights, sums, shifts = (lanes.flat(i) for i in (0, 3, 5, 6))
        grads = lanes.all(grad)

        def write(c: Any) -> None:
            own, total, shift = lanes.place(values, builder.add(at, c)), lanes.place(sums, c), lanes.place(shifts, c)
            value = lanes.load(own)
            below, density = lanes.normal(value)
            lanes.store(lanes.add(lanes.load(total), lanes.multiply(value, below, grads)), total)
            slope = lanes.add(below, lanes.multiply(value, density))
            told = lanes.multiply(slope, grads, lanes.load(lanes.place(weights, c)))
            lanes.store(lanes.add(lanes.load(shift), told), shift)
            lanes.store(told, own)

        lanes.each(count, write)
        return context.get_dummy_value()

    return types.void(*given), generate


@compiled
def head_events(h, messages, starts, w, first, last, logits):  # type: ignore[no-untyped-def]
    """Logits of the hits of events ``first`` to ``last - 1``.

    Args:
        h: (N, C) as rows.
        messages: (B, H) float32, what the first layer adds in each event.
        starts: (B + 1,) int64, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        w: :class:`HeadWeights`, float32.
        logits: (N,) float32, filled.
    """
    from_hit, from_inner = as_turned(w.hit), as_turned(w.hidden)
    way, weight = _way(longest(starts, first, last), *w.hit.shape), w.logit.reshape(-1)
    hidden = len(weight)
    for event in range(first, last):
        start, end = starts[event], starts[event + 1]
        rows = tiles(end - start)
        take_in(h[start:end], rows, way.own)
        fill(way.first, messages[event], 0, rows)
        add_products(way.own, 0, from_hit, rows, way.first)
        _plain_gelu(way.first.reshape(-1), rows * hidden, way.inner.reshape(-1))
        fill(way.second, w.hidden_bias, 0, rows)
        add_products(way.inner, 0, from_inner, rows, way.second)
        values, own = way.second.reshape(-1), logits[start:end]
        for i in range(len(own)):
            own[i] = w.logit_bias[0] + _weighed(values, i * hidden, hidden, weight)


@compiled
def head_back(h, messages, starts, w, first, last, grad, to_h, to_messages, to_w):  # type: ignore[no-untyped-def]
    """Gradients of :func:`head_events`; those of the weights are added.

    Args:
        grad: (N,) float32.
        to_h: (N, C) as rows, filled.
        to_messages: (B, H), filled.
        to_w: :class:`HeadWeights`.
    """
    from_hit, from_inner = as_turned(w.hit), as_turned(w.hidden)
    to_hit, to_inner = as_pairs(w.hit), as_pairs(w.hidden)
    way, weight, to_weight = (
        _way(longest(starts, first, last), *w.hit.shape),
        w.logit.reshape(-1),
        to_w.logit.reshape(-1),
    )
    hidden = len(weight)
    for event in range(first, last):
        start, end = starts[event], starts[event + 1]
        hits, rows = end - start, tiles(end - start)
        take_in(h[start:end], rows, way.own)
        pair(way.own, 0, rows, way.pairs)
        fill(way.first, messages[event], 0, rows)
        add_products(way.own, 0, from_hit, rows, way.first)
        _gelu_and_slope(way.first.reshape(-1), rows * hidden, way.inner.reshape(-1))
        pair(way.inner, 0, rows, way.inner_pairs)
        fill(way.second, w.hidden_bias, 0, rows)
        add_products(way.inner, 0, from_inner, rows, way.second)

        values, own = way.second.reshape(-1), grad[start:end]
        for i in range(hits):
            to_w.logit_bias[0] += own[i]
            _weighed_back(values, i * hidden, hidden, weight, own[i], to_weight, to_w.hidden_bias)
        clear(way.second, hits, rows)
        round_rows(way.second[:rows], way.back[:rows])
        pair(way.back, 0, rows, way.back_pairs)
        add_outer(way.back_pairs, 0, way.inner_pairs, 0, rows // 2, to_w.hidden)
        products(way.back, 0, to_inner, rows, way.second)
        _add_sloped(way.second, way.first, rows, to_messages[event])
        round_rows(way.second[:rows], way.back[:rows])
        pair(way.back, 0, rows, way.back_pairs)
        add_outer(way.back_pairs, 0, way.pairs, 0, rows // 2, to_w.hit)
        products(way.back, 0, to_hit, rows, way.to_own)
        round_rows(way.to_own[:rows], way.own[:rows])
        copy(way.own, 0, to_h[start:end], 0, h.shape[1], hits)


@within
def _way(rows, hidden, channels):  # type: ignore[no-untyped-def]
    """A :class:`Way` to be filled."""
    half, f, i = rows // 2, np.float32, np.int32
    return Way(
        np.empty((rows, channels // 2), i), np.empty((half, channels), i),
        np.empty((rows, hidden), f), np.empty((rows, hidden // 2), i), np.empty((half, hidden), i),
        np.empty((rows, hidden), f), np.empty((rows, hidden // 2), i), np.empty((half, hidden), i),
        np.empty((rows, channels), f),
    )  # fmt: skip


@within
def _add_sloped(grad, slope, rows, out):  # type: ignore[no-untyped-def]
    """``grad *= slope``, and its sum over the first rows into ``out``."""
    for c in range(out.size):
        out[c] = 0
    for i in range(rows):
        own, slopes = grad[i], slope[i]
        for c in range(own.size):
            own[c] *= slopes[c]
            out[c] += own[c]

"""What the tokens of some events make of what they read, forward and back; compiled by numba when first called.

The same as :class:`~pointae.nn.perceiver.TokenRound` does with its layers ``read``, ``mixer`` and ``tell``: products in
bf16, all else in float32. The tokens of G events are taken together: their layers' matrices and those'
gradients then go through the registers once for all of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pointae.nn.half.layouts import pair, round_rows, turn
from pointae.nn.half.products import add_outer, add_products, products
from pointae.nn.loops.compile import within
from pointae.nn.loops.norms import norm, norm_row_gradients
from pointae.nn.loops.rows import add, add_sum, fill, shift

EPS = np.float32(1e-5)
"""Of the norms, as torch's."""


@within
def think(tokens, seen, w, ways, made, out, told):  # type: ignore[no-untyped-def]
    """Tokens that have read, have thought, and what they tell.

    Args:
        tokens: (G K, D) float32.
        seen: (G K, C) as rows.
        w: :class:`~pointae.nn.half.token_rooms.TokenWeights`.
        ways: as of :func:`~pointae.nn.half.token_rooms.matrices`.
        made: :class:`~pointae.nn.half.token_rooms.Thought`, filled.
        out: (G K, D), filled.
        told: (G K, C) float32, filled.
    """
    rows, count, lowest = len(tokens), len(w.across_2), np.float32(-np.inf)
    shift(tokens, w.read_bias, made.read)
    add_products(seen, 0, ways.read, rows, made.read)
    norm(made.read, w.norm_1, w.norm_1_bias, EPS, lowest, 0, rows, made.normed_1, made.stats[0])
    round_rows(made.normed_1, made.normed_1_rows)
    fill(made.inside, w.inside_1_bias, 0, rows)
    add_products(made.normed_1_rows, 0, ways.inside_1, rows, made.inside)
    _cut(made.inside)
    round_rows(made.inside, made.inside_rows)
    shift(made.read, w.inside_2_bias, made.mixed)
    add_products(made.inside_rows, 0, ways.inside_2, rows, made.mixed)
    norm(made.mixed, w.norm_2, w.norm_2_bias, EPS, lowest, 0, rows, made.normed_2, made.stats[1])
    round_rows(made.normed_2, made.normed_2_rows)
    for first in range(0, rows, count):
        own, wide = slice(first, first + count), slice(2 * first, 2 * (first + count))
        pair(made.normed_2_rows[own], 0, count, made.pairs)
        _fill_columns(made.across[wide], w.across_1_bias)
        add_products(ways.across_1, 0, made.pairs, 2 * count, made.across[wide])
        _cut(made.across[wide])
        round_rows(made.across[wide], made.across_rows[wide])
        pair(made.across_rows[wide], 0, 2 * count, made.wide_pairs)
        _shift_columns(made.mixed[own], w.across_2_bias, out[own])
        add_products(ways.across_2, 0, made.wide_pairs, count, out[own])
    norm(out, w.norm_3, w.norm_3_bias, EPS, lowest, 0, rows, made.normed_3, made.stats[2])
    round_rows(made.normed_3, made.normed_3_rows)
    fill(told, w.tell_bias, 0, rows)
    add_products(made.normed_3_rows, 0, ways.tell, rows, told)


@within
def think_back(thought, seen, w, back, made, way, to_tokens, to_told, to_seen, to_w):  # type: ignore[no-untyped-def]
    """Gradients of :func:`think`; those of the weights are added.

    Args:
        thought: (G K, D), the result.
        back: as of :func:`~pointae.nn.half.token_rooms.matrices_back`.
        made: as :func:`think` filled it.
        way: :class:`~pointae.nn.half.token_rooms.Return`.
        to_tokens: (G K, D), of the result; becomes that of the tokens.
        to_told: (G K, C).
        to_seen: (G K, C), filled.
        to_w: :class:`~pointae.nn.half.token_rooms.TokenWeights`.
    """
    _layer_back(
        to_told, made.normed_3_rows, back.tell, way.told_rows, way.told_pairs, way.normed_pairs,
        to_w.tell, to_w.tell_bias, way.one,
    )  # fmt: skip
    _norm_back(thought, w.norm_3, made.stats[2], made.normed_3, way, to_w.norm_3, to_w.norm_3_bias, to_tokens)
    _across_back(w, back, made, way, to_tokens, to_w)
    _norm_back(made.mixed, w.norm_2, made.stats[1], made.normed_2, way, to_w.norm_2, to_w.norm_2_bias, to_tokens)
    _layer_back(
        to_tokens, made.inside_rows, back.inside_2, way.rows, way.pairs, way.hidden_pairs,
        to_w.inside_2, to_w.inside_2_bias, way.inside,
    )  # fmt: skip
    _close(way.inside, made.inside)
    _layer_back(
        way.inside, made.normed_1_rows, back.inside_1, way.inside_rows, way.inside_pairs, way.normed_pairs,
        to_w.inside_1, to_w.inside_1_bias, way.one,
    )  # fmt: skip
    _norm_back(made.read, w.norm_1, made.stats[0], made.normed_1, way, to_w.norm_1, to_w.norm_1_bias, to_tokens)
    _layer_back(
        to_tokens, seen, back.read, way.rows, way.pairs, way.seen_pairs, to_w.read, to_w.read_bias, to_seen
    )  # fmt: skip


@within
def _layer_back(grad, x_rows, weight, rows, pairs, x_pairs, to_weight, to_bias, to_x):  # type: ignore[no-untyped-def]
    """Gradients of a linear layer of rows: of its weights, added, and of what it took.

    Args:
        grad: (M, C') float32.
        x_rows: (M, C) as rows, what it took.
        weight: (C', C) as pairs.
        rows, pairs, x_pairs: filled with ``grad`` and with what it took.
        to_x: (M, C) float32, filled.
    """
    count = len(grad)
    add_sum(grad, to_bias)
    round_rows(grad, rows)
    pair(rows, 0, count, pairs)
    pair(x_rows, 0, count, x_pairs)
    add_outer(pairs, 0, x_pairs, 0, count // 2, to_weight)
    products(rows, 0, weight, count, to_x)


@within
def _norm_back(x, scale, stats, normed, way, to_scale, to_shift, to_x):  # type: ignore[no-untyped-def]
    """Gradients of a norm of x from those of its result in ``way.one``: all are added."""
    lowest = np.float32(-np.inf)
    norm_row_gradients(x, scale, lowest, stats, normed, way.one, 0, len(x), way.two, to_scale, to_shift)
    add(way.two, to_x)


@within
def _across_back(w, back, made, way, to_tokens, to_w):  # type: ignore[no-untyped-def]
    """Of the layers across the tokens of each event: from the gradients of their sum with the tokens to ``way.one``."""
    rows, count = len(to_tokens), len(w.across_2)
    _add_columns(to_tokens, to_w.across_2_bias)
    round_rows(to_tokens, way.rows)
    pair(way.rows, 0, rows, way.pairs)
    for first in range(0, rows, count):
        own, wide = slice(first, first + count), slice(2 * first, 2 * (first + count))
        turn(made.across_rows[wide], way.across_turned)
        add_products(way.rows[own], 0, way.across_turned, count, to_w.across_2)
        products(back.across_2, 0, way.pairs[first // 2 : (first + count) // 2], 2 * count, way.across)
        _close(way.across, made.across[wide])
        _add_columns(way.across, to_w.across_1_bias)
        round_rows(way.across, way.across_rows)
        turn(made.normed_2_rows[own], way.normed_turned)
        add_products(way.across_rows, 0, way.normed_turned, 2 * count, to_w.across_1)
        pair(way.across_rows, 0, 2 * count, way.across_pairs)
        products(back.across_1, 0, way.across_pairs, count, way.one[own])


@within
def _shift_columns(x, bias, out):  # type: ignore[no-untyped-def]
    """``x + bias`` into ``out``, a bias a row."""
    for i in range(len(x)):
        values, own, shift = x[i], out[i], bias[i]
        for c in range(values.size):
            own[c] = values[c] + shift


@within
def _fill_columns(out, bias):  # type: ignore[no-untyped-def]
    """A bias a row, in all columns."""
    for i in range(len(out)):
        own, value = out[i], bias[i]
        for c in range(own.size):
            own[c] = value


@within
def _cut(x):  # type: ignore[no-untyped-def]
    """``relu(x)`` in its place; what is no number stays none."""
    zero = np.float32(0)
    for i in range(len(x)):
        own = x[i]
        for c in range(own.size):
            own[c] = zero if own[c] < zero else own[c]


@within
def _close(x, gate):  # type: ignore[no-untyped-def]
    """``x``, 0 where ``gate`` is not above 0, in its place."""
    zero = np.float32(0)
    for i in range(len(x)):
        own, values = x[i], gate[i]
        for c in range(own.size):
            own[c] = own[c] if values[c] > zero else zero


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})  # a sum in whole vectors
def _add_columns(x, out):  # type: ignore[no-untyped-def]
    """The sum of all columns, added to ``out``, to which rows come back after its last."""
    for i in range(len(x)):
        values, total = x[i], np.float32(0)
        for c in range(values.size):
            total += values[c]
        out[i % out.size] += total

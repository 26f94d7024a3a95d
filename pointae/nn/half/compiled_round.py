"""A round of the perceiver, a few events at a time, forward and back; compiled by numba when first called.

What an event's operations hand on stays in the second cache, and hits are not padded to the longest event.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pointae.nn.half.compiled_shares import shares_gradients, shares_of
from pointae.nn.half.compiled_tokens import think, think_back
from pointae.nn.half.layouts import (
    as_pairs,
    as_rows,
    as_turned,
    clear,
    copy,
    longest,
    pair,
    round_rows,
    take_in,
    tiles,
    turn,
)
from pointae.nn.half.products import add_outer, open_products, products, relu_products, residual_products
from pointae.nn.half.token_rooms import TokenWeights, matrices, matrices_back, room, room_back
from pointae.nn.loops.compile import compiled, within

__all__ = ["HitWeights", "TokenWeights", "round_back", "round_events"]

GROUP = 4
"""Events whose tokens are taken together."""


class HitWeights(NamedTuple):
    """Matrices of the hits' layers, or their gradients: of C channels, K tokens."""

    logits: Any  # (2 K, C)
    hidden: Any  # (C, C)
    hits: Any  # (C, C)


class Way(NamedTuple):
    """What the hits of an event become on their way, made up to whole tiles."""

    own: Any  # as rows: the K shares that the tokens take of a hit, its C channels, the K shares it takes of them
    pairs: Any  # of its first K + C columns
    logits: Any  # (M, 2 K) float32
    inner: Any  # (M, C) as rows
    out: Any
    read: Any  # (K, C) float32
    told: Any  # as rows


class Return(NamedTuple):
    """What the gradients of an event's hits become on their way back; as rows and as pairs."""

    own: Any
    pairs: Any
    given: Any
    given_pairs: Any
    inner: Any
    inner_pairs: Any
    share: Any  # of 2 K columns
    share_pairs: Any
    to_inner_pairs: Any
    to_share_pairs: Any
    to_taken: Any  # (M, K) float32
    out: Any
    narrow: Any  # (K, C)
    turned: Any  # (C / 2, K)


@compiled
def round_events(h, tokens, starts, hit_w, w, first, last, out, thought, seen, shares, hidden):  # type: ignore[no-untyped-def]
    """Events ``first`` to ``last - 1`` through a round.

    Args:
        h: (N, C) as rows.
        tokens: (B K, D) float32.
        starts: (B + 1,) int64, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        hit_w: :class:`HitWeights`, float32.
        w: :class:`TokenWeights`, float32.
        out: (N, C) as rows, filled; may be ``h``.
        thought: (B K, D), filled.
        seen, shares: (B K, C), (N, 2 K) as rows, filled.
        hidden: (N, C) as rows, filled for the gradients; or empty.
    """
    count, channels, words = len(w.across_2), len(hit_w.hits), h.shape[1]
    to_logits, to_hits, ways = as_turned(hit_w.logits), as_turned(hit_w.hits), matrices(w)
    to_hidden = np.empty((words + count // 2, channels), np.int32)  # of a hit, and of what it is told
    turn(as_rows(hit_w.hidden), to_hidden[:words])
    way = _way(longest(starts, first, last), count, channels)
    told = np.empty((GROUP * count, channels), np.float32)
    made = room(GROUP, count, tokens.shape[1])
    for group in range(first, last, GROUP):
        behind = min(group + GROUP, last)
        if behind - group < GROUP:
            made = room(behind - group, count, tokens.shape[1])
        for event in range(group, behind):
            hits = slice(starts[event], starts[event + 1])
            _read(h[hits], to_logits, way, shares[hits], seen[event * count : (event + 1) * count])
        own, size = slice(group * count, behind * count), (behind - group) * count
        think(tokens[own], seen[own], w, ways, made, thought[own], told[:size])
        for event in range(group, behind):
            hits, of_event = slice(starts[event], starts[event + 1]), (event - group) * count
            round_rows(told[of_event : of_event + count], way.told)
            pair(way.told, 0, count, to_hidden[words:])
            _hear(h[hits], shares[hits], to_hidden, to_hits, way, hidden, starts[event])
            copy(way.out, 0, out[hits], 0, words, len(h[hits]))


@within
def _way(rows, count, channels):  # type: ignore[no-untyped-def]
    """A :class:`Way` to be filled."""
    words, f, i = channels // 2, np.float32, np.int32
    return Way(
        np.empty((rows, words + count), i), np.empty((rows // 2, channels + count), i),
        np.empty((rows, 2 * count), f), np.empty((rows, words), i), np.empty((rows, words), i),
        np.empty((count, channels), f), np.empty((count, words), i),
    )  # fmt: skip


@within
def _read(h, to_logits, way, shares, seen):  # type: ignore[no-untyped-def]
    """An event's shares, and what its tokens see of its hits."""
    count, half, words, rows = len(seen), len(seen) // 2, h.shape[1], tiles(len(h))
    copy(h, 0, way.own, half, words, len(h))
    clear(way.own, len(h), rows)
    products(way.own, count, to_logits, rows, way.logits)
    shares_of(way.logits, len(h), 0, count + 2 * words, way.own)
    copy(way.own, 0, shares, 0, half, len(h))
    copy(way.own, half + words, shares, half, half, len(h))
    pair(way.own, 0, rows, way.pairs)
    clear(way.read, 0, count)
    add_outer(way.pairs, 0, way.pairs, count, rows // 2, way.read)
    round_rows(way.read, seen)


@within
def _hear(h, shares, to_hidden, to_hits, way, hidden, start):  # type: ignore[no-untyped-def]
    """An event's hits that have heard, into ``way.out``; the hidden layer goes to ``hidden`` from row ``start`` on."""
    half, words, rows = shares.shape[1] // 2, h.shape[1], tiles(len(h))
    copy(h, 0, way.own, half, words, len(h))
    copy(shares, half, way.own, half + words, half, len(h))
    clear(way.own, len(h), rows)
    relu_products(way.own, 2 * half, to_hidden, rows, way.inner)
    if len(hidden):
        copy(way.inner, 0, hidden[start : start + len(h)], 0, words, len(h))
    copy(way.own, half, way.out, 0, words, rows)
    residual_products(way.out, way.inner, 0, to_hits, rows, way.out)


@compiled
def round_back(h, tokens, starts, hit_w, w, first, last, seen, shares, hidden, grad, to_h, to_tokens, to_hit_w, to_w):  # type: ignore[no-untyped-def]
    """Gradients of :func:`round_events`; those of the weights are added.

    Args:
        grad, to_h: (N, C) as rows, ``to_h`` is filled.
        to_tokens: (B K, D), of the result; becomes that of the tokens.
        to_hit_w, to_w: as the weights.
    """
    count, channels, words, rows = len(w.across_2), len(hit_w.hits), h.shape[1], longest(starts, first, last)
    half, depth = count // 2, tokens.shape[1]
    from_hits, ways, back = as_pairs(hit_w.hits), matrices(w), matrices_back(w)
    # Of a row of ``parts``: the gradient of the hidden layer, what the tokens took, those of both shares' logits.
    parts = np.empty((GROUP, rows, words + half + count), np.int32)
    from_parts = np.empty((words + half + count, channels), np.int32)
    pair(as_rows(hit_w.hidden), 0, channels, from_parts[:words])
    pair(as_rows(hit_w.logits), 0, 2 * count, from_parts[words + half :])
    told, to_told = np.empty((GROUP * count, channels), np.float32), np.empty((GROUP * count, channels), np.float32)
    to_seen, thought = np.empty_like(told), np.empty((GROUP * count, depth), np.float32)
    to_heard, way = np.empty((GROUP, rows, count), np.float32), _way_back(rows, count, channels)
    made, token_way = room(GROUP, count, depth), room_back(GROUP, count, depth, channels)
    for group in range(first, last, GROUP):
        behind = min(group + GROUP, last)
        own, size = slice(group * count, behind * count), (behind - group) * count
        if behind - group < GROUP:
            made, token_way = room(behind - group, count, depth), room_back(behind - group, count, depth, channels)
        think(tokens[own], seen[own], w, ways, made, thought[:size], told[:size])
        clear(to_told, 0, size)
        for event in range(group, behind):
            hits, i, of_event = slice(starts[event], starts[event + 1]), event - group, (event - group) * count
            of_tokens = slice(of_event, of_event + count)
            _hear_back(
                h[hits], shares[hits], hidden[hits], grad[hits], told[of_tokens], from_hits, way,
                parts[i], to_heard[i], to_told[of_tokens], to_hit_w,
            )  # fmt: skip
        think_back(
            thought[:size], seen[own], w, back, made, token_way, to_tokens[own], to_told[:size], to_seen[:size], to_w
        )
        for event in range(group, behind):
            hits, i, of_event = slice(starts[event], starts[event + 1]), event - group, (event - group) * count
            round_rows(to_seen[of_event : of_event + count], way.narrow)
            pair(way.narrow, 0, count, from_parts[words : words + half])
            _read_back(h[hits], shares[hits], grad[hits], from_parts, way, parts[i], to_heard[i], to_hit_w)
            copy(way.out, 0, to_h[hits], 0, words, len(h[hits]))


@within
def _way_back(rows, count, channels):  # type: ignore[no-untyped-def]
    """A :class:`Return` to be filled."""
    words, f, i = channels // 2, np.float32, np.int32
    return Return(
        np.empty((rows, words), i), np.empty((rows // 2, channels), i),
        np.empty((rows, words), i), np.empty((rows // 2, channels), i),
        np.empty((rows, words), i), np.empty((rows // 2, channels), i),
        np.empty((rows, count), i), np.empty((rows // 2, 2 * count), i),
        np.empty((rows // 2, channels), i), np.empty((rows // 2, 2 * count), i),
        np.empty((rows, count), f), np.empty((rows, words), i),
        np.empty((count, words), i), np.empty((words, count), i),
    )  # fmt: skip


@within
def _hear_back(h, shares, hidden, grad, told, from_hits, way, part, to_heard, to_told, to_hit_w):  # type: ignore[no-untyped-def]
    """Of what an event's hits heard: the first columns of ``part``, ``to_heard`` (M, K), ``to_told`` (K, C)."""
    count, rows = len(told), tiles(len(h))
    for values, own, pairs in (
        (h, way.own, way.pairs), (grad, way.given, way.given_pairs), (hidden, way.inner, way.inner_pairs),
        (shares, way.share, way.share_pairs),
    ):  # fmt: skip
        take_in(values, rows, own)
        pair(own, 0, rows, pairs)
    add_outer(way.given_pairs, 0, way.inner_pairs, 0, rows // 2, to_hit_w.hits)
    open_products(way.given, 0, from_hits, rows, way.inner, part)
    pair(part, 0, rows, way.to_inner_pairs)
    add_outer(way.to_inner_pairs, 0, way.pairs, 0, rows // 2, to_hit_w.hidden)
    round_rows(told, way.narrow)
    turn(way.narrow, way.turned)
    products(part, 0, way.turned, rows, to_heard)
    add_outer(way.share_pairs, count, way.to_inner_pairs, 0, rows // 2, to_told)


@within
def _read_back(h, shares, grad, from_parts, way, part, to_heard, to_hit_w):  # type: ignore[no-untyped-def]
    """Of what an event's tokens read, whose gradient is in ``way.narrow``; that of its hits into ``way.out``."""
    count, words, rows = shares.shape[1], h.shape[1], tiles(len(h))
    half = count // 2
    take_in(h, rows, way.own)
    take_in(grad, rows, way.given)
    take_in(shares, rows, way.share)
    turn(way.narrow, way.turned)
    products(way.own, 0, way.turned, rows, way.to_taken)
    clear(part, len(h), rows)
    copy(way.share, 0, part, words, half, len(h))
    shares_gradients(way.share, way.to_taken, to_heard, len(h), part, 2 * (words + half))
    pair(way.own, 0, rows, way.pairs)
    pair(part, words + half, rows, way.to_share_pairs)
    add_outer(way.to_share_pairs, 0, way.pairs, 0, rows // 2, to_hit_w.logits)
    residual_products(way.given, part, 0, from_parts, rows, way.out)

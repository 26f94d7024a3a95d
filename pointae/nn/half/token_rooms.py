"""Weights of the tokens' layers and arrays for what tokens become on their way, for compiled loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pointae.nn.half.layouts import as_pairs, as_rows, as_turned
from pointae.nn.loops.compile import within


class TokenWeights(NamedTuple):
    """Weights and biases of the tokens' layers, or their gradients: of D channels, K tokens, C channels of hits."""

    read: Any  # (D, C)
    read_bias: Any  # (D,)
    norm_1: Any  # (D,)
    norm_1_bias: Any
    inside_1: Any  # (2 D, D)
    inside_1_bias: Any
    inside_2: Any  # (D, 2 D)
    inside_2_bias: Any
    norm_2: Any
    norm_2_bias: Any
    across_1: Any  # (2 K, K)
    across_1_bias: Any
    across_2: Any  # (K, 2 K)
    across_2_bias: Any
    norm_3: Any
    norm_3_bias: Any
    tell: Any  # (C, D)
    tell_bias: Any


class Matrices(NamedTuple):
    """The matrices among them, as products take them."""

    read: Any
    inside_1: Any
    inside_2: Any
    across_1: Any
    across_2: Any
    tell: Any


class Thought(NamedTuple):
    """What the tokens (G K, D) become on their way: float32, and as rows what a product takes of it."""

    read: Any
    normed_1: Any
    normed_1_rows: Any
    inside: Any  # (G K, 2 D)
    inside_rows: Any
    mixed: Any
    normed_2: Any
    normed_2_rows: Any
    across: Any  # (2 G K, D)
    across_rows: Any
    normed_3: Any
    normed_3_rows: Any
    pairs: Any  # (K / 2, D), of one event's tokens
    wide_pairs: Any  # (K, D), of what they are inside the layers across them
    stats: Any  # (3, 2, G K), of the norms


class Return(NamedTuple):
    """What the gradients of the tokens (G K, D) become on their way back."""

    one: Any
    two: Any
    rows: Any
    pairs: Any  # (G K / 2, D)
    told_rows: Any  # of C channels
    told_pairs: Any
    inside: Any  # (G K, 2 D)
    inside_rows: Any
    inside_pairs: Any
    across: Any  # (2 K, D), of one event
    across_rows: Any
    across_pairs: Any
    normed_pairs: Any
    hidden_pairs: Any  # (G K / 2, 2 D)
    seen_pairs: Any  # (G K / 2, C)
    normed_turned: Any  # (D / 2, K), of one event
    across_turned: Any  # (D / 2, 2 K)


@within
def room(events, tokens, channels):  # type: ignore[no-untyped-def]
    """A :class:`Thought` to be filled."""
    rows, words, f, i = events * tokens, channels // 2, np.float32, np.int32
    return Thought(
        np.empty((rows, channels), f),
        np.empty((rows, channels), f), np.empty((rows, words), i),
        np.empty((rows, 2 * channels), f), np.empty((rows, channels), i),
        np.empty((rows, channels), f),
        np.empty((rows, channels), f), np.empty((rows, words), i),
        np.empty((2 * rows, channels), f), np.empty((2 * rows, words), i),
        np.empty((rows, channels), f), np.empty((rows, words), i),
        np.empty((tokens // 2, channels), i), np.empty((tokens, channels), i), np.empty((3, 2, rows), f),
    )  # fmt: skip


@within
def room_back(events, tokens, channels, hit_channels):  # type: ignore[no-untyped-def]
    """A :class:`Return` to be filled."""
    rows, words, f, i = events * tokens, channels // 2, np.float32, np.int32
    return Return(
        np.empty((rows, channels), f), np.empty((rows, channels), f),
        np.empty((rows, words), i), np.empty((rows // 2, channels), i),
        np.empty((rows, hit_channels // 2), i), np.empty((rows // 2, hit_channels), i),
        np.empty((rows, 2 * channels), f), np.empty((rows, channels), i), np.empty((rows // 2, 2 * channels), i),
        np.empty((2 * tokens, channels), f), np.empty((2 * tokens, words), i), np.empty((tokens, channels), i),
        np.empty((rows // 2, channels), i), np.empty((rows // 2, 2 * channels), i),
        np.empty((rows // 2, hit_channels), i), np.empty((words, tokens), i), np.empty((words, 2 * tokens), i),
    )  # fmt: skip


@within
def matrices(w):  # type: ignore[no-untyped-def]
    """Of layers of rows the transpose, as pairs; of those across tokens the matrix, as rows."""
    return Matrices(
        as_turned(w.read), as_turned(w.inside_1), as_turned(w.inside_2),
        as_rows(w.across_1), as_rows(w.across_2), as_turned(w.tell),
    )  # fmt: skip


@within
def matrices_back(w):  # type: ignore[no-untyped-def]
    """Of layers of rows the matrix, as pairs; of those across tokens the transpose, as rows."""
    return Matrices(
        as_pairs(w.read), as_pairs(w.inside_1), as_pairs(w.inside_2),
        as_rows(np.ascontiguousarray(w.across_1.T)), as_rows(np.ascontiguousarray(w.across_2.T)), as_pairs(w.tell),
    )  # fmt: skip

"""The whole numbers behind draws, in one pass each, compiled by numba when first called and kept in its cache."""

from __future__ import annotations

import numpy as np
from numba import njit

from pointae.ordering.compiled import ascending

compiled = njit(cache=True, nogil=True, error_model="numpy")
GAMMA, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
FIRST, SECOND, THIRD, ORDER = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(24)


@compiled
def _word(key, counter):  # type: ignore[no-untyped-def]
    """SplitMix64 of a key advanced by a counter, as unsigned word."""
    word = np.uint64(key) + np.uint64(counter) * GAMMA
    word = (word ^ word >> FIRST) * MIX_1
    word = (word ^ word >> SECOND) * MIX_2
    return word ^ word >> THIRD


@compiled
def bits(keys, counters):  # type: ignore[no-untyped-def]
    """As :func:`pointae.draws.bits`, of keys and counters (N,) int64."""
    out = np.empty(keys.size, np.int64)
    for i in range(keys.size):
        out[i] = np.int64(_word(keys[i], counters[i]))
    return out


@compiled
def shuffled_ranks(keys, offsets):  # type: ignore[no-untyped-def]
    """As :func:`pointae.draws.shuffled_ranks`."""
    words = np.empty(offsets[-1], np.int64)
    for event in range(keys.size):
        for i in range(offsets[event], offsets[event + 1]):
            words[i] = event << 40 | np.int64(_word(keys[event], i - offsets[event]) >> ORDER)
    order = ascending(words)
    ranks = np.empty_like(order)
    for event in range(keys.size):
        for i in range(offsets[event], offsets[event + 1]):
            ranks[order[i]] = i - offsets[event]
    return ranks

"""The whole numbers behind draws, in one pass each, compiled by numba when first called and kept in its cache."""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
GAMMA, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
FIRST, SECOND, THIRD, ORDER = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(24)
ORDER_BITS = 40
"""Bits of a word that order hits."""


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
    """As :func:`pointae.draws.shuffled_ranks`: by as many buckets as an event has hits, then by insertion."""
    ranks = np.empty(offsets[-1], np.int64)
    for event in range(keys.size):
        first, count = offsets[event], offsets[event + 1] - offsets[event]
        bucket_bits = 0
        while 1 << bucket_bits < count:
            bucket_bits += 1
        drawn, places = np.empty(count, np.int64), np.zeros(1 << bucket_bits, np.int64)
        for i in range(count):
            drawn[i] = np.int64(_word(keys[event], i) >> ORDER)
            places[drawn[i] >> (ORDER_BITS - bucket_bits)] += 1
        before = 0
        for bucket in range(places.size):
            places[bucket], before = before, before + places[bucket]
        words, hits = np.empty(count, np.int64), np.empty(count, np.int64)
        for i in range(count):
            bucket = drawn[i] >> (ORDER_BITS - bucket_bits)
            words[places[bucket]], hits[places[bucket]] = drawn[i], i
            places[bucket] += 1
        for i in range(count):  # buckets are in order, what is in one moves by a place or two
            word, hit, place = words[i], hits[i], i
            while place > 0 and words[place - 1] > word:
                words[place], hits[place] = words[place - 1], hits[place - 1]
                place -= 1
            words[place], hits[place] = word, hit
        for i in range(count):
            ranks[first + hits[i]] = i
    return ranks

"""Order by counting, digit by digit (radix sort), compiled by numba when first called and kept in its cache."""

from __future__ import annotations

import numpy as np
from numba import njit

DIGIT_BITS = 11
"""Of a digit: as many counters as stay in the first cache."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def ascending(keys):  # type: ignore[no-untyped-def]
    """(N,) int64, rows of ``keys`` (N,) int64 in ascending order; equal ones stay in the order they had."""
    order = np.arange(keys.size)
    if not keys.size:
        return order
    sign = np.uint64(1) << np.uint64(63)
    varies = np.uint64(0)
    words, other_words = np.empty(keys.size, np.uint64), np.empty(keys.size, np.uint64)
    for i in range(keys.size):
        words[i] = np.uint64(keys[i]) ^ sign  # so that negative ones come first
        varies |= words[i] ^ words[0]
    other_order = np.empty_like(order)
    places = np.empty(1 << DIGIT_BITS, np.int64)
    mask, shift = np.uint64((1 << DIGIT_BITS) - 1), np.uint64(0)
    while shift < 64 and varies >> shift:
        if varies >> shift & mask:  # a digit in which all are alike orders nothing
            places[:] = 0
            for i in range(keys.size):
                places[words[i] >> shift & mask] += 1
            before = 0
            for digit in range(places.size):
                places[digit], before = before, before + places[digit]
            for i in range(keys.size):
                digit = words[i] >> shift & mask
                place = places[digit]
                places[digit] = place + 1
                other_words[place], other_order[place] = words[i], order[i]
            words, other_words, order, other_order = other_words, words, other_order, order
        shift += np.uint64(DIGIT_BITS)
    return order


@compiled
def distinct(keys):  # type: ignore[no-untyped-def]
    """Which of ``keys`` (N,) int64 are the same.

    Returns:
        first: (M,) int64, the first row of each number, the numbers ascending.
        number_of: (N,) int64, place of each row's number among them.
    """
    order = ascending(keys)
    first, number_of = np.empty(keys.size, np.int64), np.empty(keys.size, np.int64)
    found = 0
    for i in range(keys.size):
        row = order[i]
        if not found or keys[row] != keys[first[found - 1]]:
            first[found] = row
            found += 1
        number_of[row] = found - 1
    return first[:found].copy(), number_of


@compiled
def numbered(counts, total):  # type: ignore[no-untyped-def]
    """The owner's row and the own number, (N,) int64 each, of ``counts`` (R,) things of R owners, N in all."""
    rows, numbers = np.empty(total, np.int64), np.empty(total, np.int64)
    place = 0
    for row in range(counts.size):
        for number in range(counts[row]):
            rows[place], numbers[place] = row, number
            place += 1
    return rows, numbers

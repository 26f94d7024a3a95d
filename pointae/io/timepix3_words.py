"""The words of a raw Timepix3 recording: chunks taken apart, fields of each kind of word.

A recording is 64-bit little-endian words in chunks, one chip a chunk. A chunk begins with a header word:
``"TPX3"``, the chip's number in bits 32-39 and the bytes that follow in bits 48-63. The layout of the
others is that of the manual of SERVAL, the software of Amsterdam Scientific Instruments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointae.errors import DataError
from pointae.io.advice import said

MAGIC = b"TPX3"
PIXEL, COUNTING, TDC, GLOBAL_TIME = 0xB, 0xA, 0x6, 0x4
"""Types of words: bits 60-63."""
TIME_LOW, TIME_HIGH = 0x44, 0x45
TRIGGERS = {"tdc1_rising": 0x6F, "tdc1_falling": 0x6A, "tdc2_rising": 0x6E, "tdc2_falling": 0x6B}
"""Kinds of edges that the two time-to-digital converters (TDC) record: bits 56-63 of their words."""
NAMES = {
    **{code: name for name, code in TRIGGERS.items()},
    TIME_LOW: "global_time_low", TIME_HIGH: "global_time_high",
    0x50: "packet_count", 0x51: "extra_timestamp", 0x5F: "shutter_open", 0x5A: "shutter_close", 0x5C: "heartbeat",
    0x71: "end_of_command", 0x72: "acknowledgement",
}  # fmt: skip
"""What the kinds of control words are called: bits 56-63."""
KNOWN_TYPES = (0x4, 0x5, 0x6, 0x7, 0xA, 0xB)
LOOKED_AT = 16
"""Words of a chunk between damaged ones that must be of a known type for it to be taken for one."""
MAX_DAMAGED = 10_000
"""Damaged places in a file at which it is given up."""
SIXTHS = 6
"""Finest steps of a TDC, 260.4 ps, in a step of a pixel's clock, 1.5625 ns."""

Words64 = NDArray[np.uint64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """The W words of a recording that are not headers, in the order of the file.

    Args:
        values: (W,) uint64.
        chips: (W,) uint8, the chip that each is of.
        numbers: (W,) int64, which word of the file each is, headers counted.
        chunks: number of headers.
        damage: what was left out of the file, in words; empty if nothing.
    """

    values: Words64
    chips: NDArray[np.uint8]
    numbers: Integers
    chunks: int
    damage: str = ""

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """(W,) uint8, bits 56-63 of each word."""
        return (self.values >> 56).astype(np.uint8)

    def of_type(self, kind: int) -> Integers:
        """Places in this table of the words whose bits 60-63 are ``kind``."""
        return np.flatnonzero((self.values >> 60) == kind)

    def counted(self) -> dict[str, int]:
        """How many words there are of each kind, by name."""
        counts: dict[str, int] = {}
        for kind, count in zip(*np.unique(self.kinds, return_counts=True), strict=True):
            names = {PIXEL: "pixel", COUNTING: "counting_pixel"}
            name = names.get(int(kind) >> 4) or NAMES.get(int(kind), f"other_{int(kind):#04x}")
            counts[name] = counts.get(name, 0) + int(count)
        return dict(sorted(counts.items()))


def take_apart(data: bytes, skip: bool = False) -> Words:
    """The words of a recording.

    Args:
        data: the file.
        skip: leave out what is damaged: go on at the next chunk, take whole words of one that is cut.

    Raises:
        DataError: a chunk that is cut, or bytes between chunks, unless they are skipped; more damage than words.
    """
    if len(data) % 8 and not skip:
        raise DataError(f"ends inside a word: {len(data)} bytes are no multiple of 8", fix=SKIP.format("truncated"))
    found = np.fromiter(chain.from_iterable(_chunks(data, skip)), np.int64).reshape(-1, 2)
    starts, counts = found[:, 0] + 8, found[:, 1]
    first = np.cumsum(counts) - counts
    places = np.repeat(starts - 8 * first, counts) + 8 * np.arange(counts.sum())
    chips = np.frombuffer(data, np.uint8)[found[:, 0] + 4]
    used = 8 * (len(found) + len(places))
    if used < len(data) / 2:
        raise DataError(f"only {used} of its {len(data)} bytes are chunks of words", fix="the file is damaged")
    damage = _damage(data, found) if skip else ""
    return Words(_words_at(data, places), np.repeat(chips, counts), places // 8, len(found), damage)


SKIP = f"the file is {{}}; what is whole is read with {said('on_bad', 'skip')}"


def _chunks(data: bytes, skip: bool) -> Iterator[tuple[int, int]]:
    """Of each chunk the byte at which its header is, and how many words follow."""
    at, end_of_file, damaged = 0, len(data), 0
    while at < end_of_file:
        if data[at : at + 4] == MAGIC and at + 8 <= end_of_file:
            size = int.from_bytes(data[at + 6 : at + 8], "little")
            end = at + 8 + size
            if size % 8 == 0 and (end == end_of_file or data[end : end + 4] == MAGIC):
                yield at, size // 8
                at = end
                continue
            damaged += 1
            if not skip and (end > end_of_file or size % 8):
                told = f"the chunk at word {at // 8} has {end_of_file - at - 8} of its {size} bytes"
                if end <= end_of_file:
                    told = f"the chunk at word {at // 8} has {size} bytes, which is no multiple of 8"
                raise DataError(told, fix=SKIP.format("truncated"))
            following = _next_header(data, at + 8) if skip and damaged < MAX_DAMAGED else end
            yield at, size // 8 if following >= end and size % 8 == 0 else _sound_words(data, at + 8, following)
            at = following
        elif skip and damaged < MAX_DAMAGED:
            damaged += 1
            at = _next_header(data, at + 1)
        else:
            word = int.from_bytes(data[at : at + 8], "little")
            told = f"word {at // 8} should begin a chunk but is {word:#018x}"
            raise DataError(told, fix=SKIP.format("damaged"))


def _next_header(data: bytes, at: int) -> int:
    """The first byte from ``at`` on where a chunk begins that is sound, or the file's end."""
    while (at := data.find(MAGIC, at)) >= 0:
        size = int.from_bytes(data[at + 6 : at + 8], "little")
        end = at + 8 + size
        if at + 8 <= len(data) and size % 8 == 0:
            ends_well = end == len(data) or data[end : end + 4] == MAGIC
            looked_at = min(size, len(data) - at - 8, 8 * LOOKED_AT) // 8
            if ends_well or _sound_words(data, at + 8, at + 8 + 8 * looked_at) == looked_at > 0:
                return at
        at += 1
    return len(data)


def _sound_words(data: bytes, start: int, end: int) -> int:
    """Whole words between two bytes, up to the first of a type that there is not."""
    words = np.frombuffer(data, "<u8", max(0, end - start) // 8, start)
    unknown = np.flatnonzero(~np.isin(words >> 60, KNOWN_TYPES))
    return int(unknown[0]) if len(unknown) else len(words)


def _words_at(data: bytes, places: Integers) -> Words64:
    """(N,) words that begin at the bytes ``places``, which after lost bytes are no multiples of 8."""
    values = np.empty(len(places), np.uint64)
    phase = places % 8
    for shift in np.unique(phase):
        whole = np.frombuffer(data, "<u8", (len(data) - int(shift)) // 8, int(shift))
        here = phase == shift
        values[here] = whole[(places[here] - shift) // 8]
    return values


def _damage(data: bytes, found: Integers) -> str:
    """What is missing around the chunks ``found`` (first byte, words) of a file."""
    ends = found[:, 0] + 8 + 8 * found[:, 1]
    skipped = np.append(found[1:, 0], len(data)) - ends
    told = []
    if skipped.any():
        places = np.flatnonzero(skipped)
        told.append(f"{skipped.sum()} bytes in {len(places)} places are skipped, the first at byte {ends[places[0]]}")
    last = int(found[-1, 0])
    early = last + 8 + int.from_bytes(data[last + 6 : last + 8], "little") - len(data)
    if early > 0:
        told.append(f"the last chunk ends {early} bytes early")
    return "; ".join(told)


def bits(words: Words64, low: int, count: int) -> Integers:
    """The field of ``count`` bits from bit ``low`` on of words (N,)."""
    return ((words >> low) & ((1 << count) - 1)).astype(np.int64)


def pixel_fields(words: Words64) -> dict[str, NDArray[Any]]:
    """The fields of pixel words.

    Args:
        words: (N,) of type 0xb.

    Returns:
        (N,) each: ``x`` and ``y`` in 0..255, ``step``, the time of arrival in steps of 1.5625 ns on
        a clock that wraps after 2^34, and ``tot``, time over threshold in units of 25 ns.
    """
    # Address: 7 bits of double column, 6 of super pixel, 3 of pixel.
    double_column, super_pixel, pixel = bits(words, 53, 7), bits(words, 47, 6), bits(words, 44, 3)
    coarse = (bits(words, 0, 16) << 14) + bits(words, 30, 14)
    return {
        "x": (2 * double_column + pixel // 4).astype(np.int32),
        "y": (4 * super_pixel + (pixel & 3)).astype(np.int32),
        "step": 16 * coarse - bits(words, 16, 4),
        "tot": bits(words, 20, 10).astype(np.int32),
    }


def tdc_sixths(words: Words64) -> Integers:
    """Times of TDC words (N,) in 260.4 ps, sixths of a pixel's step, on a clock that wraps after 6 * 2^36.

    They count 3.125 ns and twelfths of it from 1 on; a firmware of old leaves the twelfths at 0.
    """
    return 2 * SIXTHS * bits(words, 9, 35) + np.maximum(bits(words, 5, 4) - 1, 0)

"""Timepix3 recordings made of known hits, triggers and global times, by the manual's layout of words."""

from __future__ import annotations

import struct

MAGIC = int.from_bytes(b"TPX3", "little")
EDGES = {"tdc1_rising": 0x6F, "tdc1_falling": 0x6A, "tdc2_rising": 0x6E, "tdc2_falling": 0x6B}
SECOND = 640_000_000
"""Steps of 1.5625 ns."""


def chunk(chip: int, *words: int) -> bytes:
    """A chunk of one chip."""
    header = 8 * len(words) << 48 | chip << 32 | MAGIC
    return struct.pack(f"<{len(words) + 1}Q", header, *words)


def pixel_word(x: int, y: int, step: int, tot: int = 1) -> int:
    """A hit at ``step`` steps of 1.5625 ns: 40 MHz counts of 14 + 16 bits, less sixteenths of one."""
    coarse, fine = -(-step // 16), -step % 16
    address = (x // 2) << 9 | (y // 4) << 3 | (x % 2) << 2 | y % 4
    return 0xB << 60 | address << 44 | (coarse & 0x3FFF) << 30 | tot << 20 | fine << 16 | (coarse >> 14 & 0xFFFF)


def time_words(step: int) -> tuple[int, int]:
    """The chip's global timer at that step: 32 lower and 16 upper bits of its count of 25 ns."""
    ticks = step // 16
    return 0x44 << 56 | (ticks & 0xFFFFFFFF) << 16, 0x45 << 56 | (ticks >> 32 & 0xFFFF) << 16


def tdc_word(sixths: int, edge: str = "tdc1_rising", count: int = 0) -> int:
    """A trigger at so many 260.4 ps: counts of 3.125 ns in 35 bits, and twelfths of it from 1 on."""
    coarse, twelfths = divmod(sixths, 12)
    return EDGES[edge] << 56 | (count & 0xFFF) << 44 | (coarse & (1 << 35) - 1) << 9 | (twelfths + 1) << 5

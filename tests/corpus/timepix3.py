"""``.tpx3``: words and chunks that lie, clocks at their ends, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from corpus import Entry, cuts, flips
from corpus.tensors import sparse_file

RECORDING = Path(__file__).parents[1] / "data" / "timepix3" / "raw_00.tpx3"


def chunk(*words: int, chip: int = 0, size: int | None = None) -> bytes:
    """A header and its words."""
    length = 8 * len(words) if size is None else size
    header = int.from_bytes(b"TPX3", "little") | chip << 32 | length << 48
    return np.array([header, *words], "<u8").tobytes()


def pixel(time: int = 0, place: int = 0) -> int:
    """A word of type 0xb; time in units of the coarse clock, 409.6 us."""
    return 0xB << 60 | place << 44 | time & 0xFFFF


def tpx3(name: str, content: bytes, told: str = "", hits: int | None = None, exit_code: int | None = 3) -> Entry:
    return Entry(f"{name}.tpx3", lambda path: path.write_bytes(content), (told,), exit_code, hits)


def entries() -> list[Entry]:
    """All recordings."""
    chance = np.random.default_rng(21)
    whole = RECORDING.read_bytes()
    good = chunk(pixel(1), pixel(2, 0xFFFF))
    noise = chance.integers(0, 1 << 63, 5000, dtype=np.uint64).tolist()

    return [
        tpx3("good", good, hits=2),
        tpx3("no_words", chunk(), hits=0),
        tpx3("no_pixels", chunk(0x4 << 60 | 0x44 << 56, 0x7 << 60), hits=0),
        tpx3("many_chunks", chunk() * 50_000, hits=0),
        tpx3("many_pixels", chunk(*[pixel(i, i & 0xFFFF) for i in range(8000)]) * 5, hits=40_000),
        tpx3("size_odd", chunk(pixel(), size=7)),
        tpx3("size_large", chunk(pixel(), size=0xFFF8)),
        tpx3("size_0", chunk(pixel(), size=0)),
        tpx3("not_aligned", good + b"123"),
        tpx3("cut", good[:-8]),
        tpx3("cut_word", good[:-3]),
        tpx3("only_magic", b"TPX3"),
        tpx3("one_byte", b"T"),
        tpx3("empty", b"", "empty (0 bytes)"),
        tpx3("no_header", np.array([pixel()] * 10, "<u8").tobytes(), "begins with"),
        tpx3("garbage_behind", good + chance.bytes(800)),
        tpx3("chip_255", chunk(pixel(1), chip=255), hits=1),
        tpx3("all_ones", chunk(*[(1 << 64) - 1] * 100), exit_code=None),
        tpx3("noise", chunk(*noise), exit_code=None),
        tpx3("clock_jumps", chunk(*[pixel(i * 32_768) for i in range(2000)]), exit_code=None),
        tpx3("times_backwards", chunk(*[pixel(65_535 - i) for i in range(2000)]), exit_code=None),
        Entry("holes.tpx3", lambda path: sparse_file(path, good, 8 << 20)),
        *cuts(".tpx3", whole, range(5, min(len(whole), 900), 57), exit_code=None),
        *flips(".tpx3", (good + chunk(pixel(9), chip=3)) * 3, range(4, 3 * (len(good) + 16), 4)),
    ]

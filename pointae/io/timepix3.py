"""Raw recordings of Timepix3 chips (``.tpx3``): 64-bit words in chunks, one chip a chunk. Read only.

A chunk begins with a header word: ``"TPX3"``, the chip's number in bits 32-39 and the bytes that
follow in bits 48-63. Of the rest, words of type 0xb are pixels, all others control words, which
are counted and skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointae.errors import DataError
from pointae.geometry import TIMEPIX3_STEP_NS, geometry_to_dict, timepix3_geometry
from pointae.hits import HitBatch
from pointae.io.assembly import Array, Assembler, without_duplicates
from pointae.io.options import ReadOptions

MAGIC = int.from_bytes(b"TPX3", "little")
PIXEL = 0xB
WINDOW_NS = 20e6
CLOCK_STEPS = 1 << 34
"""Steps of 1.5625 ns after which a chip's clock wraps: 26.8 s."""
CHIP_PIXELS = 256
MAX_BINS = (1 << 31) - 1


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a recording: features ``tot`` (ns) and ``chip``, ``hit_id`` the number of the word."""
    words = _words(path)
    headers = _headers(words)
    chips = np.repeat((words[headers] >> 32) & 0xFF, np.diff(headers, append=len(words)))
    pixel = (words >> 60) == PIXEL
    pixel[headers] = False
    rows = np.flatnonzero(pixel)
    hits = _events(words[rows], chips[rows].astype(np.int64), rows, assembler.options)
    return without_duplicates(hits, assembler.options.duplicates)


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a recording, ``events_per_block`` at a time; the whole is read first."""
    hits = read(path, assembler)
    for first in range(0, max(hits.batch_size, 1), events_per_block):
        yield hits.events(slice(first, first + events_per_block))


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """What was recorded: words by kind, chips, and the grid of its events."""
    words = _words(path)
    headers = _headers(words)
    kinds = np.delete(words, headers) >> 60
    return {
        "format": "timepix3",
        "chips": np.unique((words[headers] >> 32) & 0xFF).tolist(),
        "chunks": len(headers),
        "pixel_words": int((kinds == PIXEL).sum()),
        "control_words": int((kinds != PIXEL).sum()),
        **geometry_to_dict(read(path, assembler).geometry),
    }


def _words(path: Path) -> NDArray[np.uint64]:
    size = path.stat().st_size
    if size % 8:
        raise DataError(f"ends inside a word: {size} bytes are no multiple of 8", fix="the file is truncated")
    return np.fromfile(path, "<u8").astype(np.uint64, copy=False)


def _headers(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where the chunks begin: each header says how far it is to the next."""
    headers, at = [], 0
    sizes = words >> 48
    while at < len(words):
        if int(words[at]) & 0xFFFFFFFF != MAGIC:
            raise DataError(f"word {at} should begin a chunk but is {int(words[at]):#018x}", fix="the file is damaged")
        size = int(sizes[at])
        end = at + 1 + size // 8
        if size % 8 or end > len(words):
            told = f"the chunk at word {at} has {8 * (len(words) - at - 1)} of its {size} bytes"
            raise DataError(told, fix="the file is truncated")
        headers.append(at)
        at = end
    return np.array(headers, np.int64)


def decode(words: NDArray[np.uint64]) -> dict[str, NDArray[np.int64]]:
    """The fields of pixel words.

    Args:
        words: (N,) of type 0xb.

    Returns:
        (N,) each: ``x`` and ``y`` in 0..255, ``step``, the time of arrival in steps of 1.5625 ns on
        a clock that wraps, and ``tot``, time over threshold in units of 25 ns.
    """

    def bits(low: int, count: int) -> NDArray[np.int64]:
        return ((words >> low) & ((1 << count) - 1)).astype(np.int64)

    # Address: 7 bits of double column, 6 of super pixel, 3 of pixel.
    double_column, super_pixel, pixel = bits(53, 7), bits(47, 6), bits(44, 3)
    coarse = (bits(0, 16) << 14) + bits(30, 14)
    return {
        "x": 2 * double_column + pixel // 4,
        "y": 4 * super_pixel + (pixel & 3),
        "step": 16 * coarse - bits(16, 4),
        "tot": bits(20, 10),
    }


def unwrapped(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of one chip in the order they were sent, without the jumps of its clock.

    A step back by more than half the clock's range is a wrap; a step forward by as much is a
    straggler from before one. Smaller steps back are words out of order and stay.
    """
    jumps = np.diff(steps, prepend=steps[:1])
    half = CLOCK_STEPS // 2
    wraps = (jumps < -half).astype(np.int64) - (jumps > half)
    return steps + CLOCK_STEPS * np.cumsum(wraps)


def _events(words: NDArray[np.uint64], chips: NDArray[np.int64], rows: Array, options: ReadOptions) -> HitBatch:
    pixels = decode(words)
    steps = pixels["step"]
    for chip in np.unique(chips):
        steps[chips == chip] = unwrapped(steps[chips == chip])
    window = _window(options)
    event, starts = _by_window(steps, window) if options.gap_ns is None else _by_gap(steps, options.gap_ns)
    t = steps - starts[event]
    bins = max(window, int(t.max(initial=0)) + 1)
    if bins > MAX_BINS:
        limit = f"{MAX_BINS * TIMEPIX3_STEP_NS / 1e9:.2f} s"
        raise DataError(f"an event of {bins * TIMEPIX3_STEP_NS / 1e9:.2f} s is too long", fix=f"at most {limit} fit")
    side = CHIP_PIXELS * (2 if options.chip_layout == "2x2" else 1)
    geometry = timepix3_geometry(bins * TIMEPIX3_STEP_NS, (side, side))
    x, y = pixels["x"], pixels["y"]
    if options.chip_layout == "2x2":
        if chips.max(initial=0) > 3:
            raise DataError(f"chip {chips.max()} has no place in a layout of 2 x 2", fix="use chip_layout='single'")
        x, y = x + CHIP_PIXELS * (chips & 1), y + CHIP_PIXELS * (chips >> 1)
    return HitBatch.from_batch_index(
        geometry,
        torch.from_numpy(np.stack([x, y, t], 1)).int(),
        torch.from_numpy(event),
        len(starts),
        features=torch.from_numpy(np.stack([25.0 * pixels["tot"], chips], 1)).float(),
        feature_names=("tot", "chip"),
        hit_id=torch.from_numpy(rows),
        event_id=torch.arange(len(starts)),
        event_time_ns=torch.from_numpy(starts * TIMEPIX3_STEP_NS),
    )


def _window(options: ReadOptions) -> int:
    """Steps of an event: as asked, else as long as the events of the caller's grid."""
    grid = options.geometry
    if options.window_ns is None and grid is not None and grid.name == "timepix3":
        return grid.t.bins
    return max(1, round((options.window_ns or WINDOW_NS) / TIMEPIX3_STEP_NS))


def _by_window(steps: NDArray[np.int64], window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Event of each hit and start of each event: windows from the first hit on, those without hits left out."""
    origin = steps.min() if len(steps) else np.int64(0)
    used, event = np.unique((steps - origin) // window, return_inverse=True)
    return event, origin + used * window


def _by_gap(steps: NDArray[np.int64], gap_ns: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Event of each hit and start of each event: a pause of more than ``gap_ns`` ends one."""
    order = np.argsort(steps, kind="stable")
    ordered = steps[order]
    begins = np.diff(ordered, prepend=ordered[:1]) * TIMEPIX3_STEP_NS > gap_ns
    begins[:1] = True
    event = np.empty(len(steps), np.int64)
    event[order] = np.cumsum(begins) - 1
    return event, ordered[begins]

"""Raw recordings of Timepix3 chips (``.tpx3``). Read only.

Hits become events by windows of one length, by pauses, or by a trigger that was recorded with them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointae.errors import DataError
from pointae.geometry import MAX_BINS, TIMEPIX3_STEP_NS, DetectorGeometry, geometry_to_dict, timepix3_geometry
from pointae.hits import HitBatch
from pointae.io.advice import said
from pointae.io.assembly import Array, Assembler, without_duplicates
from pointae.io.options import ReadOptions
from pointae.io.timepix3_clock import PIXEL_CLOCK, TDC_CLOCK, Marks, global_times, settled
from pointae.io.timepix3_words import (
    COUNTING,
    PIXEL,
    SIXTHS,
    TDC,
    TRIGGERS,
    Integers,
    Words,
    pixel_fields,
    take_apart,
    tdc_sixths,
)  # fmt: skip

WINDOW_NS = 20e6
SIXTH_NS = TIMEPIX3_STEP_NS / SIXTHS
CHIP_PIXELS = 256
QUAD = {3: (0, 0, False), 0: (1, 0, False), 2: (0, 1, True), 1: (1, 1, True)}
"""Of each chip of a layout of 2 x 2 its place, in chips along x and y, and whether it is turned by 180 degrees."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a recording: features ``tot`` (ns) and ``chip``, ``hit_id`` the number of the word."""
    hits, notes = _events(_words(path, assembler), assembler.options)
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=3)
    return without_duplicates(hits, assembler.options.duplicates)


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a recording, ``events_per_block`` at a time; the whole is read first."""
    yield from read(path, assembler).in_blocks(events_per_block)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """What was recorded: words by kind, chips, the grid of its events, and what is doubtful."""
    words = _words(path, assembler)
    hits, notes = _events(words, assembler.options)
    counts = words.counted()
    pixels = counts.get("pixel", 0)
    return {
        "format": "timepix3",
        "chips": np.unique(words.chips).tolist(),
        "chunks": words.chunks,
        "pixel_words": pixels,
        "control_words": len(words.values) - pixels,
        "words": counts,
        "global_times": len(global_times(words).places),
        "notes": notes,
        **geometry_to_dict(hits.geometry),
    }


def _words(path: Path, assembler: Assembler) -> Words:
    return take_apart(path.read_bytes(), assembler.options.skips)


def _events(words: Words, options: ReadOptions) -> tuple[HitBatch, list[str]]:
    """The events of a recording, and what to tell of them."""
    rows = words.of_type(PIXEL)
    if not len(rows) and len(counting := words.of_type(COUNTING)):
        raise DataError(
            f"its {len(counting)} pixel words are of the counting mode, which tells no times",
            fix="record time of arrival and time over threshold",
        )
    pixels = pixel_fields(words.values[rows])
    marks, notes = global_times(words), [words.damage] if words.damage else []
    tdc = words.of_type(TDC)
    edges, doubts = settled(TDC_CLOCK, words, tdc, tdc_sixths(words.values[tdc]), marks)
    if not len(marks.places):
        marks = Marks(tdc, edges // SIXTHS, words.chips[tdc])
    steps, doubts_of_hits = settled(PIXEL_CLOCK, words, rows, pixels["step"], marks)
    notes += doubts + doubts_of_hits
    if options.trigger is not None:
        kinds = words.kinds[tdc]
        triggers = {name: np.unique(edges[kinds == kind]) for name, kind in TRIGGERS.items()}
        event, t, times = _by_trigger(steps, triggers, options)
        inside = event >= 0
        if not inside.all():
            told = f"{(~inside).sum():,} of {len(inside):,} hits are in no window of the {len(times):,} triggers"
            notes.append(f"{told} {options.trigger}, and left out")
        rows, event, t = rows[inside], event[inside], t[inside]
        pixels = {name: values[inside] for name, values in pixels.items()}
    else:
        event, starts = _by_window(steps, options) if options.gap_ns is None else _by_gap(steps, options.gap_ns)
        t, times = steps - starts[event], SIXTHS * starts
    chips = words.chips[rows]
    x, y = (pixels["x"], pixels["y"]) if options.chip_layout == "single" else _on_quad(pixels["x"], pixels["y"], chips)
    grid = _grid(options, t)
    hits = HitBatch.from_batch_index(
        grid,
        torch.from_numpy(np.stack([x, y, t], 1, dtype=np.int32, casting="unsafe")),
        torch.from_numpy(event),
        len(times),
        features=torch.from_numpy(np.stack([25 * pixels["tot"], chips], 1, dtype=np.float32, casting="unsafe")),
        feature_names=("tot", "chip"),
        hit_id=torch.from_numpy(words.numbers[rows]),
        event_id=torch.arange(len(times)),
        event_time_ns=torch.from_numpy(times * TIMEPIX3_STEP_NS / SIXTHS),
    )
    return hits, list(dict.fromkeys(notes))


def _on_quad(x: Array, y: Array, chips: Array) -> tuple[Array, Array]:
    """Places (N,) on a square of four chips."""
    if chips.max(initial=0) > 3:
        raise DataError(
            f"chip {chips.max()} has no place in a layout of 2 x 2", fix=f"read with {said('chip_layout', 'single')}"
        )
    columns, lines, turned = (
        np.array(of_chip)[chips] for of_chip in zip(*(QUAD[chip] for chip in range(4)), strict=True)
    )
    last = CHIP_PIXELS - 1
    return (
        CHIP_PIXELS * columns + np.where(turned, last - x, x),
        CHIP_PIXELS * lines + np.where(turned, last - y, y),
    )


def _grid(options: ReadOptions, t: Integers) -> DetectorGeometry:
    """Of events as long as asked for, or as the longest; time since a trigger begins at the window's start."""
    bins = max(_window(options), int(t.max(initial=0)) + 1)
    side = CHIP_PIXELS * (2 if options.chip_layout == "2x2" else 1)
    grid = timepix3_geometry(_checked(bins) * TIMEPIX3_STEP_NS, (side, side))
    return replace(grid, t=replace(grid.t, start=_delay(options) * SIXTH_NS))


def _checked(bins: int) -> int:
    if bins > MAX_BINS:
        limit = f"{MAX_BINS * TIMEPIX3_STEP_NS / 1e9:.2f} s"
        raise DataError(f"an event of {bins * TIMEPIX3_STEP_NS / 1e9:.2f} s is too long", fix=f"at most {limit} fit")
    return bins


def _window(options: ReadOptions) -> int:
    """Steps of an event: as asked, else as long as the events of the caller's grid."""
    grid = options.geometry
    if options.window_ns is None and grid is not None and grid.name == "timepix3":
        return grid.t.bins
    return _checked(max(1, round((options.window_ns or WINDOW_NS) / TIMEPIX3_STEP_NS)))


def _delay(options: ReadOptions) -> int:
    """From a trigger to the start of its window, in sixths of a step."""
    return round(options.trigger_delay_ns / SIXTH_NS)


def _by_window(steps: Integers, options: ReadOptions) -> tuple[Integers, Integers]:
    """Event of each hit and start of each event: windows from the first hit on, those without hits left out."""
    window = _window(options)
    origin = steps.min() if len(steps) else np.int64(0)
    used, event = np.unique((steps - origin) // window, return_inverse=True)
    return event, origin + used * window


def _by_gap(steps: Integers, gap_ns: float) -> tuple[Integers, Integers]:
    """Event of each hit and start of each event: a pause of more than ``gap_ns`` ends one."""
    order = np.argsort(steps, kind="stable")
    ordered = steps[order]
    begins = np.diff(ordered, prepend=ordered[:1]) * TIMEPIX3_STEP_NS > gap_ns
    begins[:1] = True
    event = np.empty(len(steps), np.int64)
    event[order] = np.cumsum(begins) - 1
    return event, ordered[begins]


def _by_trigger(
    steps: Integers, triggers: Mapping[str, Integers], options: ReadOptions
) -> tuple[Integers, Integers, Integers]:
    """Event of each hit, -1 in no window, its step since the window's start, and each trigger's time in sixths.

    Args:
        steps: (N,) times of hits.
        triggers: times of each kind in sixths of a step, ascending.
        options: which kind; a window begins ``trigger_delay_ns`` after it, and ends where the next begins.
    """
    assert options.trigger is not None
    edges = triggers[options.trigger]
    if len(steps) and not len(edges):
        known = ", ".join(name for name, times in triggers.items() if len(times)) or "none"
        raise DataError(f"holds no trigger {options.trigger}", fix=f"triggers in it: {known}")
    starts = edges + _delay(options)
    event = np.searchsorted(starts, SIXTHS * steps, side="right") - 1
    t = (SIXTHS * steps - starts[event]) // SIXTHS if len(steps) else steps
    event[(event >= 0) & (t >= _window(options))] = -1
    return event, t, edges

"""How fast denoisers are, beside how well they denoise: the whole pipeline, all on the same events in turn.

With as many threads as torch is set to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pointae.analysis.conditions import ONE_TRACK
from pointae.config import Dense2dSettings
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.inference import Denoiser

ROUNDS, ENOUGH_S = 7, 30.0
"""Of each denoiser, or fewer once it has taken so many seconds, but one at least."""
CALLS = {1: 64, 64: 4, 1024: 1}
"""Events handed to a denoiser at once, and how many such calls a round makes."""


def quality_speed_steps(denoisers: Mapping[str, Denoiser]) -> int:
    """How often :func:`quality_speed` reports."""
    return len(CALLS) * (ROUNDS + 1) * len(denoisers)


def quality_speed(
    denoisers: Mapping[str, Denoiser],
    quality: Sequence[Mapping[str, Any]],
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> list[dict[str, Any]]:
    """Time denoisers from hits in memory to decisions in memory, on events of the benchmark's one track.

    A denoiser's own grouping, padding, maps, images and reading back are part of its time. All take turns
    in every round, each round beginning with another; one round before is not counted. Slow ones take part in fewer.

    Args:
        denoisers: by name; one that ``quality`` has no row of is left out.
        quality: rows of :func:`pointae.analysis.judging.judge` on these events' condition, the oracle's among
            them; their figures stand beside the speed.
        advance: told of every denoiser that has had its turn.

    Returns:
        a row for each denoiser and number of events at once, ``batch``: ``events_per_second`` and
        ``hits_per_second`` by the median of the rounds, ``events_per_second_p90`` by the time that nine of ten
        rounds keep within, ``times_dense2d`` where one of them is the predecessor's network, and the quality.
        Last the oracle's quality, without speed.

    Raises:
        DataError: no denoiser has a quality.
    """
    # Shares with their errors.
    figures = {row["name"]: {key: row[key] for key in row if key.startswith("noise_removed_at")} for row in quality}
    denoisers = {name: denoiser for name, denoiser in denoisers.items() if name in figures}
    if not denoisers:
        raise DataError("no denoiser was judged, so that none is timed")
    rows = []
    hits = ONE_TRACK.events(max(batch * calls for batch, calls in CALLS.items()))
    for batch, calls in CALLS.items():
        pieces = [hits.events(slice(i * batch, (i + 1) * batch)) for i in range(calls)]
        seconds = _rounds(denoisers, pieces, advance)
        rows += _with_ratio(denoisers, [_row(name, denoisers[name], pieces, taken) for name, taken in seconds.items()])
    bounds = [row["name"] for row in quality if row["kind"] == "bound"]
    measured = [{**row, **figures[row["name"]]} for row in rows]
    return measured + [{"name": name, "kind": "bound", **figures[name]} for name in bounds]


def _rounds(
    denoisers: Mapping[str, Denoiser], pieces: Sequence[HitBatch], advance: Callable[[int, str], None]
) -> dict[str, list[float]]:
    """Seconds of every counted round, by name."""
    names = list(denoisers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    spent = dict.fromkeys(names, 0.0)
    for turn in range(ROUNDS + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            advance(1, f"{name}, {pieces[0].batch_size} at once")
            if seconds[name] and spent[name] > ENOUGH_S:
                continue
            begin = time.perf_counter()
            for piece in pieces:
                denoisers[name](piece)
            spent[name] += (taken := time.perf_counter() - begin)
            if turn:
                seconds[name].append(taken)
    return seconds


def _row(name: str, denoiser: Denoiser, pieces: Sequence[HitBatch], seconds: Sequence[float]) -> dict[str, Any]:
    events, hits = sum(piece.batch_size for piece in pieces), sum(piece.num_hits for piece in pieces)
    median = float(np.median(seconds))
    return {
        "name": name,
        "kind": "network",
        "batch": pieces[0].batch_size,
        "device": denoiser.precision.device.type,
        "threads": torch.get_num_threads(),
        "events_per_second": events / median,
        "events_per_second_p90": events / float(np.quantile(seconds, 0.9)),
        "hits_per_second": hits / median,
    }


def _with_ratio(denoisers: Mapping[str, Denoiser], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its rate over that of the predecessor's network in the same rounds, where that is among them."""
    dense = [row for row in rows if isinstance(denoisers[row["name"]].config.model.encoder, Dense2dSettings)]
    if not dense:
        return list(rows)
    return [{**row, "times_dense2d": row["events_per_second"] / dense[0]["events_per_second"]} for row in rows]

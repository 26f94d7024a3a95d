"""Degradation of full patterns as hits, beside the same on images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pointae.benchmark.image_pipeline import degrade_images
from pointae.benchmark.results import Plan, Results, Table
from pointae.benchmark.timing import interleaved
from pointae.config import DegradationSettings, PatternSource
from pointae.degrade import degrade
from pointae.hits import HitBatch
from pointae.images import embed_tof
from pointae.simulate import simulate_events

SETTINGS = DegradationSettings(thin=30, smear={"x": 10.0, "y": 10.0, "t": 1.0}, noise=200)
COLUMNS = {
    "name": "degradation", "events": "events at once", "hits": "hits of the pattern", "events_per_second": "events/s",
    "us": "µs an event", "hits_out": "hits left", "times_images": "times images",
}  # fmt: skip


def measure_degradation(plan: Plan, results: Results) -> None:
    """Fill ``degradation``: crosses thinned to 30 hits, smeared, with 200 of noise."""
    rows = []
    for events in (64,) if plan.quick else (64, 250):
        plan.advance(0, f"degradation, {events} events")
        numbers = torch.arange(events)
        full = simulate_events(PatternSource(mixture={"cross": 1.0}, points=800), seed=1, index=numbers)
        works = {"hits": _of_hits(full, numbers), "images": _of_images(full)}
        out = {name: work() / events for name, work in works.items()}
        taken = interleaved(works, plan.seconds, plan.rounds)
        results.samples |= {("degrade", name, events): seconds for name, seconds in taken.items()}
        for name, seconds in taken.items():
            median = float(np.median(seconds))
            ratio = results.ratio(("degrade", "images", events), ("degrade", name, events))
            rows.append({
                "name": name, "events": events, "hits": full.num_hits / events, "events_per_second": events / median,
                "us": 1e6 * median / events, "hits_out": out[name], "times_images": ratio,
            })  # fmt: skip
    title = f"Full patterns thinned to 30 hits, smeared by 10 mm, 10 mm, 1 ns, 200 of noise, {plan.threads} threads"
    results.tables["degradation"] = Table(title, COLUMNS, rows)


def _of_hits(full: HitBatch, numbers: Tensor) -> Callable[[], int]:
    return lambda: degrade(full, SETTINGS, 1, 0, numbers).noised.num_hits


def _of_images(full: HitBatch) -> Callable[[], int]:
    images, _ = embed_tof(full)
    generator = torch.Generator().manual_seed(1)
    return lambda: int((degrade_images(images, SETTINGS, full.geometry, generator) > 0).sum())

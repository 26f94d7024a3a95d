"""How fast events are made, degraded, gathered and read, and what they weigh in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pointae.config import DegradationSettings, PatternSource, TorchSource
from pointae.degrade import degrade
from pointae.hits import HitBatch
from pointae.io import open_writer
from pointae.simulate import simulate_events

REPEATS = 5
HELD_EVENTS = 100_000
BATCH = 1000


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Args:
        name: what was measured.
        median, worst: over the repeats, in ``unit``.
        unit: of both.
    """

    name: str
    median: float
    worst: float
    unit: str


def measure_stages(advance: Callable[[int, str], None] = lambda steps, note: None) -> list[Figure]:
    """All stages, on one thread, median and worst of several repeats.

    Args:
        advance: told of each stage that is done.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = []
        for stage in (_simulation, _degradation, _collation, _memory):
            figures += stage()
            advance(1, figures[-1].name)
        return figures
    finally:
        torch.set_num_threads(threads)


def _rate(name: str, events: int, work: Callable[[int], object]) -> Figure:
    """Events a second of ``work(repeat)``, after one repeat to warm up."""
    work(0)
    rates = []
    for repeat in range(1, REPEATS + 1):
        begin = time.perf_counter()
        work(repeat)
        rates.append(events / (time.perf_counter() - begin))
    return Figure(name, sorted(rates)[REPEATS // 2], min(rates), "events/s")


def _simulation() -> list[Figure]:
    def simulate(repeat: int) -> HitBatch:
        return simulate_events(TorchSource(), seed=repeat, index=torch.arange(BATCH))

    return [_rate("simulate TORCH events, 30 signal + 200 noise", BATCH, simulate)]


def _degradation() -> list[Figure]:
    patterns = PatternSource(mixture={"cross": 1.0}, points=800)
    full = simulate_events(patterns, seed=1, index=torch.arange(BATCH))
    settings = DegradationSettings(thin=30, smear={"x": 10.0, "y": 10.0, "t": 1.0}, noise=200)
    hits = full.num_hits / BATCH
    name = f"thin to 30, smear, add 200 noise, on full patterns of {hits:.0f} hits"
    return [_rate(name, BATCH, lambda repeat: degrade(full, settings, repeat, 0, torch.arange(BATCH)))]


def _collation() -> list[Figure]:
    held = simulate_events(TorchSource(), seed=1, index=torch.arange(10 * BATCH))
    orders = torch.randperm(10 * BATCH, generator=torch.Generator().manual_seed(1)).split(250)

    def collate(repeat: int) -> None:
        for order in orders:
            held.events(order)

    return [_rate("collate batches of 250 from the flat arrays", 10 * BATCH, collate)]


def _memory() -> list[Figure]:
    """Loaded in a process of its own, whose memory nothing else has touched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.h5"
        with open_writer(path) as writer:
            for first in range(0, HELD_EVENTS, 10 * BATCH):
                hits = simulate_events(TorchSource(), seed=1, index=torch.arange(first, first + 10 * BATCH))
                writer.append(hits.replace(origin=None, event_id=None))
        answer = subprocess.run(
            [sys.executable, "-m", "pointae.benchmark.loading", str(path)], capture_output=True, text=True, check=True
        )
    told = json.loads(answer.stdout)
    name = f"{told['events']:,} events of {told['hits'] / told['events']:.0f} hits"
    return [
        Figure(f"{name}: held", told["held_mb"], told["held_mb"], "MB"),
        Figure(f"{name}: peak while loading", told["peak_mb"], told["peak_mb"], "MB"),
        Figure(f"{name}: loading", told["seconds"], told["seconds"], "s"),
    ]

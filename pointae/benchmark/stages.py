"""How fast events are made, degraded, gathered and read, and what they weigh in memory; on one thread."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pointae.analysis.conditions import ONE_TRACK
from pointae.analysis.neighbours import neighbour_counts
from pointae.benchmark.degradation import SETTINGS
from pointae.benchmark.results import Plan, Results, Row, Table
from pointae.config import PatternSource, TorchSource
from pointae.degrade import degrade
from pointae.hits import HitBatch
from pointae.io import open_writer
from pointae.simulate import simulate_events
from pointae.voxels import Triple

REPEATS = 5
HELD_EVENTS = 100_000
BATCH = 1000
STRIDES: tuple[Triple, ...] = ((1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (4, 4, 32), (8, 8, 64), (16, 16, 128))


def measure_stages(plan: Plan, results: Results) -> None:
    """Fill ``stages``: median and worst of several repeats, on one thread; and ``neighbours``: pairs by stride."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows: list[Row] = []
        for stage in (_simulation, _degradation, _collation):
            plan.advance(0, stage.__name__[1:])
            rows += stage()
        plan.advance(0, "loading")
        rows += _memory(HELD_EVENTS // 10 if plan.quick else HELD_EVENTS)
    finally:
        torch.set_num_threads(threads)
    columns = {"name": "stage", "median": "median", "worst": "worst", "unit": "unit"}
    results.tables["stages"] = Table("Events before any network, one thread", columns, rows)
    results.tables["neighbours"] = _neighbours()


def _rate(name: str, events: int, work: Callable[[int], object]) -> Row:
    """Events a second of ``work(repeat)``, after one repeat to warm up."""
    work(0)
    rates = []
    for repeat in range(1, REPEATS + 1):
        begin = time.perf_counter()
        work(repeat)
        rates.append(events / (time.perf_counter() - begin))
    return {"name": name, "median": sorted(rates)[REPEATS // 2], "worst": min(rates), "unit": "events/s"}


def _simulation() -> list[Row]:
    def simulate(repeat: int) -> HitBatch:
        return simulate_events(TorchSource(), seed=repeat, index=torch.arange(BATCH))

    return [_rate("simulate TORCH events, 30 signal + 200 noise", BATCH, simulate)]


def _degradation() -> list[Row]:
    patterns = PatternSource(mixture={"cross": 1.0}, points=800)
    full = simulate_events(patterns, seed=1, index=torch.arange(BATCH))
    hits = full.num_hits / BATCH
    name = f"thin to 30, smear, add 200 noise, on full patterns of {hits:.0f} hits"
    return [_rate(name, BATCH, lambda repeat: degrade(full, SETTINGS, repeat, 0, torch.arange(BATCH)))]


def _collation() -> list[Row]:
    held = simulate_events(TorchSource(), seed=1, index=torch.arange(10 * BATCH))
    orders = torch.randperm(10 * BATCH, generator=torch.Generator().manual_seed(1)).split(250)

    def collate(repeat: int) -> None:
        for order in orders:
            held.events(order)

    return [_rate("collate batches of 250 from the flat arrays", 10 * BATCH, collate)]


def _memory(events: int) -> list[Row]:
    """Loaded in a process of its own, whose memory nothing else has touched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.h5"
        with open_writer(path) as writer:
            for numbers in torch.arange(events).split(10 * BATCH):
                hits = simulate_events(TorchSource(), seed=1, index=numbers)
                writer.append(hits.replace(origin=None, event_id=None))
        answer = subprocess.run(
            [sys.executable, "-m", "pointae.benchmark.loading", str(path)], capture_output=True, text=True, check=True
        )
    told = json.loads(answer.stdout)
    name = f"{told['events']:,} events of {told['hits'] / told['events']:.0f} hits"
    figures = (("held", "held_mb", "MB"), ("peak while loading", "peak_mb", "MB"), ("loading", "seconds", "s"))
    return [
        {"name": f"{name}: {what}", "median": told[key], "worst": told[key], "unit": unit}
        for what, key, unit in figures
    ]


def _neighbours() -> Table:
    """Pairs of occupied voxels that one 3 x 3 x 3 kernel covers: what the strides of a sparse network are chosen by."""
    rows = [
        {"name": " x ".join(map(str, count.stride)), "hits": count.hits, "voxels": count.voxels, "pairs": count.pairs,
         "per_voxel": count.per_voxel}
        for count in neighbour_counts(ONE_TRACK.events(64), STRIDES)
    ]  # fmt: skip
    columns = {
        "name": "stride",
        "hits": "hits",
        "voxels": "voxels",
        "pairs": "pairs",
        "per_voxel": "a voxel",
    }
    return Table("Neighbours in 3 x 3 x 3 of 64 TORCH events", columns, rows)

"""How cost grows: with the time bins, with the hits of an event, with the occupancy of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointae.benchmark.contenders import DENSE_2D, Contender, contenders, engines, uniform_hits
from pointae.benchmark.results import Plan, Results, Row, Table
from pointae.benchmark.timing import interleaved
from pointae.config import ModelSettings, PointNetSettings, SparseSettings
from pointae.geometry import DetectorGeometry, even_geometry
from pointae.hits import HitBatch
from pointae.nn.sparse.engines import build_levels
from pointae.nn.sparse_encoder import SparseUNet
from pointae.precision import choose_precision
from pointae.voxels import voxelize

TIME_BINS = (100, 300, 1000, 3000, 10_000)
HITS = (50, 200, 1000, 3000, 10_000, 30_000, 100_000)
FULL_GRID, SMALL_GRID = (88, 128, 1000), (44, 64, 64)
FULL_OCCUPANCY = (1e-6, 1e-5, 1e-4, 1e-3)
SMALL_OCCUPANCY = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.6, 1.0)
HITS_AT_ONCE = 100_000
"""Of all events of a batch in the sweep of hits."""
CHANNELS = 16
"""Of the U-Net in the sweep of occupancy; it begins at the grid's own cells."""
RATIOS = ((2, 2, 2), (2, 2, 2))


def measure_time_bins(plan: Plan, results: Results) -> None:
    """Fill ``time_bins``: 64 events of 230 hits in the same places, time cut ever finer."""
    bins = TIME_BINS[::2] if plan.quick else TIME_BINS
    works, rows = {}, []
    for count in bins:
        geometry = even_geometry((88, 128, count))
        hits = uniform_hits(geometry, 64, 230)
        for name, settings in _hit_networks(plan).items():
            entry = Contender(name, _with_bins(settings, count)).build(geometry, plan.device)
            moved = hits.to(entry.precision.device)
            works[f"{name}/{count}"] = lambda entry=entry, hits=moved: entry.logits(hits)
    plan.advance(0, "sweep of the time bins")
    taken = interleaved(works, 4 * plan.seconds, plan.rounds)
    for key, seconds in taken.items():
        name, told = key.rsplit("/", 1)
        results.samples["time bins", name, int(told)] = seconds
        first = results.ratio(("time bins", name, int(told)), ("time bins", name, bins[0]))
        us = 1e6 * float(np.median(seconds)) / 64
        rows.append({"name": name, "time_bins": int(told), "forward_us": us, "times_first": first})
    columns = {
        "name": "network", "time_bins": "time bins", "forward_us": "forward, µs an event",
        "times_first": f"times {bins[0]} bins",
    }  # fmt: skip
    results.tables["time_bins"] = Table("Time bins of 88 x 128 pixels: 64 events of 230 hits", columns, rows)


def measure_hits(plan: Plan, results: Results) -> None:
    """Fill ``hits``: events of ever more hits on the TORCH grid, so many at once that a batch has the same hits."""
    rows: list[Row] = []
    at_once = HITS_AT_ONCE // 10 if plan.quick else HITS_AT_ONCE
    geometry = even_geometry(FULL_GRID)
    names = _hit_networks(plan)
    built = {name: Contender(name, settings).build(geometry, plan.device) for name, settings in names.items()}
    dense = Contender("dense 2D", DENSE_2D).build(geometry, plan.device)
    works: dict[str, Any] = {}
    for hits in [count for count in (HITS[1::2] if plan.quick else HITS) if count <= at_once]:
        events = max(1, at_once // hits)
        batch = uniform_hits(geometry, events, hits).to(dense.precision.device)
        for name, entry in built.items():
            works[f"{name}/{hits}"] = lambda entry=entry, batch=batch: entry.logits(batch)
        if hits >= 1000:  # fewer hits an event are more images than a batch has room for
            works[f"dense 2D/{hits}"] = lambda batch=batch: dense.logits(batch)
    plan.advance(0, "sweep of the hits")
    for key, seconds in interleaved(works, 4 * plan.seconds, (2, 5)).items():
        name, count = key.rsplit("/", 1)
        hits = int(count)
        results.samples["hits", name, hits] = [s / (max(1, at_once // hits) * hits) for s in seconds]
        us = 1e6 * float(np.median(results.samples["hits", name, hits]))
        rows.append({"name": name, "hits": hits, "batch": max(1, at_once // hits), "us_per_hit": us,
                     "forward_us": us * hits})  # fmt: skip
    columns = {
        "name": "network", "hits": "hits an event", "batch": "events at once", "us_per_hit": "forward, µs a hit",
        "forward_us": "forward, µs an event",
    }  # fmt: skip
    results.tables["hits"] = Table(f"Hits of an event, {at_once:,} hits at once on 88 x 128 x 1000", columns, rows)


def measure_occupancy(plan: Plan, results: Results) -> None:
    """Fill ``occupancy``: one U-Net on the cells of a grid themselves, sparse and, on the small grid, dense."""
    rows: list[Row] = []
    cases = [(FULL_GRID, share) for share in FULL_OCCUPANCY] + [(SMALL_GRID, share) for share in SMALL_OCCUPANCY]
    if plan.quick:
        cases = cases[:3] + cases[4:8:3]
    for grid, share in cases:
        case = Occupied.of(grid, share, plan.device)
        plan.advance(0, f"occupancy {share:g} of {' x '.join(map(str, grid))}")
        names = [*engines(), *(["dense"] if grid == SMALL_GRID else [])]
        works = {name: lambda name=name, case=case: case.run(name) for name in names}
        for name, seconds in interleaved(works, plan.seconds / 2, (2, 7)).items():
            results.samples["occupancy", name, grid, share] = seconds
            rows.append({"name": name, "grid": " x ".join(map(str, grid)), "occupancy": share,
                         "voxels": case.indices, "forward_ms": 1e3 * float(np.median(seconds))})  # fmt: skip
    columns = {
        "name": "engine", "grid": "grid", "occupancy": "occupied", "voxels": "voxels",
        "forward_ms": "forward, ms an event",
    }  # fmt: skip
    title = f"Occupancy: a U-Net of {CHANNELS} channels on the grid's own cells, one event"
    results.tables["occupancy"] = Table(title, columns, rows)


def crossing(rows: Sequence[Row], sparse: str = "torch", dense: str = "dense") -> float | None:
    """Occupancy above which ``dense`` is faster on the small grid, between two measured ones by their logarithms.

    ``None`` where it is not, as far as was measured.
    """
    grid = " x ".join(map(str, SMALL_GRID))
    times = {
        name: {row["occupancy"]: row["forward_ms"] for row in rows if row["name"] == name and row["grid"] == grid}
        for name in (sparse, dense)
    }
    shares = sorted(times[sparse].keys() & times[dense].keys())
    gaps = [np.log(times[sparse][share] / times[dense][share]) for share in shares]
    for (low, before), (high, after) in zip(
        zip(shares, gaps, strict=True), zip(shares[1:], gaps[1:], strict=True), strict=False
    ):
        if before < 0 <= after:
            return float(np.exp(np.interp(0, [before, after], np.log([low, high]))))
    return None


@dataclass(frozen=True)
class Occupied:
    """An event whose hits fill a share of a grid, and a U-Net for it."""

    hits: HitBatch
    unet: nn.Module

    @classmethod
    def of(cls, grid: tuple[int, int, int], share: float, device: str) -> Occupied:
        """A uniform event; where hits share a cell, somewhat fewer cells are occupied."""
        geometry = even_geometry(grid)
        place = choose_precision(device, "fp32").device
        torch.manual_seed(1)
        unet = SparseUNet(CHANNELS, list(RATIOS)).to(place).eval()
        return cls(_occupying(geometry, share).to(place), unet)

    @property
    def indices(self) -> int:
        """Occupied voxels."""
        return voxelize(self.hits, self.hits.features)[0].num_voxels

    @torch.no_grad()
    def run(self, engine: str) -> Tensor:
        """Voxels, levels and the network on one engine."""
        features = torch.ones(self.hits.num_hits, CHANNELS, device=self.hits.device)
        voxels, _ = voxelize(self.hits, features)
        return self.unet(voxels.features, build_levels(engine, voxels, RATIOS))


def _occupying(geometry: DetectorGeometry, share: float) -> HitBatch:
    """An event with ``share`` of the cells occupied: drawn without putting back."""
    cells = geometry.num_cells
    wanted = max(1, round(share * cells))
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randperm(cells, generator=generator)[:wanted]
    _, y, t = geometry.spatial_shape
    coords = torch.stack([chosen // (y * t), chosen // t % y, chosen % t], 1).int()
    return HitBatch(geometry, coords, torch.tensor([0, wanted]))


def _hit_networks(plan: Plan) -> dict[str, ModelSettings]:
    """Networks whose cost should follow the hits."""
    small = next(c for c in contenders() if c.name.startswith("torch-small"))
    return {
        "sparse U-Net, torch": ModelSettings(encoder=SparseSettings(engine="torch")),
        "torch-small": small.settings,
        "PointNet": ModelSettings(encoder=PointNetSettings()),
    }


def _with_bins(settings: ModelSettings, time_bins: int) -> ModelSettings:
    """The same voxels in space and time on finer or coarser bins."""
    if not isinstance(settings.encoder, SparseSettings):
        return settings
    step = max(1, round(32 * time_bins / 1000))
    strides = [(4, 4, step), (8, 8, 2 * step), (16, 16, 4 * step)]
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"strides": strides})})

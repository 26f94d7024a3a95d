"""Networks beside one another: forward pass and training step, by grid, hits and events at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pointae.analysis.conditions import ONE_TRACK
from pointae.benchmark.contenders import Contender, Contestant, contenders, engines, uniform_hits
from pointae.benchmark.results import Plan, Results, Row, Table
from pointae.benchmark.timing import interleaved
from pointae.geometry import DetectorGeometry, even_geometry, torch_geometry
from pointae.hits import HitBatch

COLUMNS = {
    "name": "network", "forward_us": "forward, µs an event", "step_us": "training step, µs an event",
    "events_per_second": "events/s forward", "hits_per_second": "hits/s forward", "parameters": "parameters",
    "at_97": "% of noise removed at 97 % kept", "at_99": "at 99 %", "weights": "weights",
}  # fmt: skip
GROUPS = {"hits": "{} hits an event", "batch": "{} events at once", "grid": "{} cells"}
MOST_OF_SLOW = 64
"""Events at once that a slow network is timed with."""
EQUAL = 1e-3
"""Largest difference of two engines' logits and gradients, of their own size."""


@dataclass(frozen=True)
class Setting:
    """Events to time with: ``hits`` an event on a grid, ``batch`` at once."""

    geometry: DetectorGeometry
    hits: int
    batch: int

    @property
    def grid(self) -> str:
        """The grid in words."""
        return " x ".join(map(str, self.geometry.spatial_shape))

    def events(self) -> HitBatch:
        """TORCH events where the grid and the hits are theirs, else uniform ones."""
        return ONE_TRACK.events(self.batch) if self.is_torch else uniform_hits(self.geometry, self.batch, self.hits)

    @property
    def is_torch(self) -> bool:
        """Whether these are the events on which quality is measured."""
        return self.hits == 230 and self.geometry == torch_geometry()


def settings(quick: bool) -> list[Setting]:
    """TORCH events at several batch sizes; then more hits, and a small grid."""
    torch_grid, small_grid = torch_geometry(), even_geometry((44, 64, 64))
    batches = (64,) if quick else (1, 64, 250)
    found = [Setting(torch_grid, 230, batch) for batch in batches]
    return found if quick else [*found, Setting(torch_grid, 1000, 64), Setting(small_grid, 230, 64)]


def measure_networks(plan: Plan, results: Results) -> None:
    """Fill ``networks``: all contenders in turns, at each setting; and ``equality``: of the engines."""
    rows: list[Row] = []
    for setting in settings(plan.quick):
        hits = setting.events()
        chosen = [contender for contender in contenders(plan.quick) if _fits(contender, setting)]
        built = [contender.build(setting.geometry, plan.device) for contender in chosen]
        rows += _rows(built, hits, setting, plan, results)
    title = f"Networks, {plan.threads} threads, median of the rounds"
    results.tables["networks"] = Table(title, COLUMNS, rows, GROUPS)
    plan.advance(0, "equality of the engines")
    results.tables["equality"] = Table(
        "The same weights and events on every engine: largest difference, of the largest value",
        {"name": "engines", "logits": "logits", "gradients": "gradients", "equal": f"within {EQUAL:g}"},
        engine_equality(plan),
    )


def _rows(built: Sequence[Contestant], hits: HitBatch, setting: Setting, plan: Plan, results: Results) -> list[Row]:
    device = built[0].precision.device
    hits = hits.to(device)
    place = (setting.grid, setting.hits, setting.batch)
    plan.advance(0, f"forward, {setting.hits} hits, {setting.batch} events")
    forward = _timed(built, lambda entry: _call(entry.logits, hits), plan)
    plan.advance(0, f"training step, {setting.hits} hits, {setting.batch} events")
    steps = _timed([e for e in built if e.contender.trains], lambda entry: _call(entry.step(), hits), plan)
    rows = []
    for entry in built:
        name = entry.contender.name
        median = float(np.median(forward[name]))
        results.samples[("forward", name, *place)] = forward[name]
        row: Row = {
            "name": name, "grid": setting.grid, "hits": setting.hits, "batch": setting.batch, "device": device.type,
            "precision": entry.precision.name, "forward_us": 1e6 * median / setting.batch,
            "forward_us_p90": 1e6 * float(np.quantile(forward[name], 0.9)) / setting.batch,
            "events_per_second": setting.batch / median, "hits_per_second": hits.num_hits / median,
            "parameters": entry.parameters, **(entry.contender.quality() if setting.is_torch else {}),
        }  # fmt: skip
        if name in steps:
            results.samples[("step", name, *place)] = steps[name]
            row["step_us"] = 1e6 * float(np.median(steps[name])) / setting.batch
        rows.append(row)
    return rows


def _timed(
    built: Sequence[Contestant], work_of: Callable[[Contestant], Callable[[], object]], plan: Plan
) -> dict[str, list[float]]:
    """Seconds of a call, round by round: first of those that ratios are made of in turns, then of the others."""
    taken: dict[str, list[float]] = {}
    for compared, seconds in ((True, 2 * plan.seconds), (False, plan.seconds)):
        works = {e.contender.name: work_of(e) for e in built if e.contender.compared == compared}
        taken |= interleaved(works, seconds, plan.rounds)
    return taken


def _call(work: Any, hits: HitBatch) -> Any:
    return lambda: work(hits)


def _fits(contender: Contender, setting: Setting) -> bool:
    """Shipped weights know the grid they were made for, and the slow ones are timed on its own events only."""
    if contender.slow:
        return setting.is_torch and setting.batch <= MOST_OF_SLOW
    return setting.geometry == torch_geometry() or not (contender.weights or contender.name.startswith("dense 3D"))


def engine_equality(plan: Plan) -> list[Row]:
    """Every other engine against ``torch``: logits and gradients of the same weights on the same events."""
    hits = ONE_TRACK.events(16)
    names = [f"sparse U-Net, {engine}" for engine in engines()]
    built = {c.name: c.build(torch_geometry(), plan.device) for c in contenders() if c.name in names}
    first, *others = built.values()
    hits = hits.to(first.precision.device)
    told = _logits_and_gradients(first, hits)
    rows = []
    for entry in others:
        entry.model.load_state_dict(first.model.state_dict())
        theirs = _logits_and_gradients(entry, hits)
        gaps = [float((a - b).abs().max() / a.abs().max()) for a, b in zip(told, theirs, strict=True)]
        name = f"{entry.contender.name} against {first.contender.name}"
        rows.append({"name": name, "logits": gaps[0], "gradients": max(gaps[1:]), "equal": max(gaps) <= EQUAL})
    return rows


def _logits_and_gradients(entry: Contestant, hits: HitBatch) -> list[torch.Tensor]:
    entry.model.eval()
    logits = entry.model(hits).output.hit_logits(hits)
    parameters = [p for p in entry.model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(logits.sigmoid().sum(), parameters, allow_unused=True)
    return [logits.detach(), torch.cat([g.flatten() for g in gradients if g is not None])]

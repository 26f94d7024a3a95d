"""Denoising from a file to kept hits, stage by stage and together; and degradation; hits beside images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.analysis.conditions import ONE_TRACK
from pointae.benchmark.contenders import Contestant, contenders
from pointae.benchmark.image_pipeline import denoise_images, images_of, kept_hits, restored_images
from pointae.benchmark.results import Plan, Results, Row, Table
from pointae.benchmark.timing import interleaved
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.inference import HITS_AT_ONCE, event_groups
from pointae.io import read_blocks, write_hits
from pointae.nn.perceiver import PerceiverEncoder
from pointae.nn.segments import Padding, similar_sizes
from pointae.nn.sparse.engines import build_levels
from pointae.nn.sparse_encoder import SparseEncoder
from pointae.recover import recover
from pointae.voxels import voxelize

STAGES = ("load", "collate", "map", "network", "recover", "together")
COLUMNS = {
    "name": "pipeline", "batch": "events at once", **{f"{stage}_us": f"{stage}, µs an event" for stage in STAGES},
    "events_per_second": "events/s together", "hits_per_second": "hits/s", "hits_out": "hits kept of 230",
    "at_97": "noise removed at 97 %", "weights": "weights",
}  # fmt: skip
COMPARED = ("torch-small, bf16", "torch-small, fp32", "sparse U-Net, torch", "dense 2D", "dense 2D, bf16")
THRESHOLD = 0.5


@dataclass(frozen=True)
class Pipeline:
    """The stages of one way to denoise.

    Args:
        map: what is worked out from the places of the hits alone; part of the network's time.
        network: from hits to what it says of them.
        recover: from hits and that to the kept hits.
        together: from hits to the kept hits.
        at_once: events that these see at once, if more are handed over.
    """

    map: Callable[[HitBatch], object]
    network: Callable[[HitBatch], Tensor]
    recover: Callable[[HitBatch, Tensor], HitBatch]
    together: Callable[[HitBatch], HitBatch]
    at_once: int


def measure_pipelines(plan: Plan, results: Results) -> None:
    """Fill ``pipelines``: every stage apart, then all from hits in memory to kept hits in memory."""
    rows = []
    chosen = [c for c in contenders(plan.quick) if c.name in COMPARED]
    built = [contender.build(torch_geometry(), plan.device) for contender in chosen]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.h5"
        hits = ONE_TRACK.events(128 if plan.quick else 500)
        write_hits(path, hits)
        for batch in (64,) if plan.quick else (64, 250):
            plan.advance(0, f"denoising by stages, {batch} events")
            rows += _rows(built, path, hits, batch, plan, results)
    title = f"Denoising TORCH events, {plan.threads} threads; network with its map; together: from hits to kept hits"
    results.tables["pipelines"] = Table(title, COLUMNS, rows)


def _rows(built: list[Contestant], path: Path, hits: HitBatch, batch: int, plan: Plan, results: Results) -> list[Row]:
    device = built[0].precision.device
    order = torch.randperm(hits.batch_size, generator=torch.Generator().manual_seed(1)).split(batch)
    handed = [part.to(device) for part in read_blocks(path, batch)]
    ways = {entry.contender.name: pipeline_of(entry) for entry in built}
    works: dict[tuple[str, str], Callable[[], Any]] = {
        ("", "load"): lambda: sum(part.num_hits for part in read_blocks(path, batch)),
        ("", "collate"): lambda: [hits.events(rows) for rows in order],
    }
    out = {}
    for name, way in ways.items():
        pieces = [part for piece in handed for part in event_groups(piece, way.at_once, HITS_AT_ONCE)]
        said = [way.network(piece) for piece in pieces]
        out[name] = sum(way.together(piece).num_hits for piece in pieces) / hits.batch_size
        works[name, "map"] = _over(way.map, pieces)
        works[name, "network"] = _over(way.network, pieces)
        works[name, "recover"] = _over_pairs(way.recover, pieces, said)
        works[name, "together"] = _over(way.together, pieces)
    named = {f"{name}/{stage}": work for (name, stage), work in works.items()}
    taken = interleaved(named, 2 * plan.seconds, plan.rounds)
    rows: list[Row] = []
    for entry in built:
        name = entry.contender.name
        row: Row = {"name": name, "batch": batch, "hits_out": out[name], **entry.contender.quality()}
        for stage in STAGES:
            own = "" if stage in ("load", "collate") else name
            row[f"{stage}_us"] = 1e6 * float(np.median(taken[f"{own}/{stage}"])) / hits.batch_size
        results.samples["denoise", name, batch] = taken[f"{name}/together"]
        row["events_per_second"] = 1e6 / row["together_us"]
        row["hits_per_second"] = row["events_per_second"] * hits.num_hits / hits.batch_size
        rows.append(row)
    return rows


def _over(work: Callable[[HitBatch], object], pieces: list[HitBatch]) -> Callable[[], object]:
    return lambda: [work(piece) for piece in pieces]


def _over_pairs(work: Callable[[HitBatch, Tensor], object], pieces: list[HitBatch], said: list[Tensor]) -> Any:
    return lambda: [work(piece, words) for piece, words in zip(pieces, said, strict=True)]


def pipeline_of(entry: Contestant) -> Pipeline:
    """The stages of a network: images and their inverse for dense 2D, hits for all others."""
    if entry.contender.name.startswith("dense 2D"):
        return _image_pipeline(entry)

    def recovered(hits: HitBatch, logits: Tensor) -> HitBatch:
        judged = recover(hits, logits, THRESHOLD)
        kept = judged.select(judged.kept)  # type: ignore[arg-type]
        _ = kept.pos  # in three dimensions
        return kept

    def together(hits: HitBatch) -> HitBatch:
        return recovered(hits, entry.logits(hits))

    return Pipeline(_map_of(entry), entry.logits, recovered, together, entry.contender.at_once)


def _image_pipeline(entry: Contestant) -> Pipeline:
    gap = entry.contender.settings.encoder.gap  # type: ignore[union-attr]
    entry.model.eval()

    @torch.no_grad()
    def network(hits: HitBatch) -> Tensor:
        _, image = images_of(hits, gap)
        with entry.precision.autocast():
            return restored_images(entry.model, image, hits)

    def recovered(hits: HitBatch, restored: Tensor) -> HitBatch:
        steps, _ = images_of(hits, gap)
        return _placed(kept_hits(steps, restored, gap, hits.geometry))

    def together(hits: HitBatch) -> HitBatch:
        with entry.precision.autocast():
            return _placed(denoise_images(entry.model, hits, gap))

    return Pipeline(lambda hits: images_of(hits, gap), network, recovered, together, entry.contender.at_once)


def _placed(hits: HitBatch) -> HitBatch:
    _ = hits.pos  # reconstructed in three dimensions
    return hits


def _map_of(entry: Contestant) -> Callable[[HitBatch], object]:
    encoder = entry.model.encoder
    if isinstance(encoder, PerceiverEncoder):
        return lambda hits: [Padding(hits).filled(hits) for _ in similar_sizes(hits)]
    assert isinstance(encoder, SparseEncoder)
    return lambda hits: list(_maps(encoder, hits))


@torch.no_grad()
def _maps(encoder: SparseEncoder, hits: HitBatch) -> Iterator[Tensor]:
    """Voxels, levels and kernel maps, by convolutions of one channel that cost little else."""
    voxels, _ = voxelize(hits, torch.zeros(hits.num_hits, 1, device=hits.device), encoder.stride)
    for level in build_levels(encoder.engine, voxels, encoder.ratios):
        one = torch.zeros(len(level.indices), 1, device=hits.device)
        yield level.submanifold(one, torch.zeros(27, 1, 1, device=hits.device))
        if level.coarsening is not None:
            yield level.down(one, torch.zeros(int(np.prod(level.coarsening.ratio)), 1, 1, device=hits.device))

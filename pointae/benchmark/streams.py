"""Denoising whole files: reading, network and writing one after the other, and overlapped."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from pointae import inference
from pointae.analysis.conditions import ONE_TRACK
from pointae.benchmark.results import Plan, Results, Row, Table
from pointae.benchmark.timing import interleaved
from pointae.config import Config, ModelSettings
from pointae.geometry import torch_geometry
from pointae.inference import Denoiser, denoise_file
from pointae.io import open_writer, read_blocks, write_hits
from pointae.nn.autoencoder import Autoencoder
from pointae.precision import choose_precision

COLUMNS = {
    "name": "file", "events": "events", "read_us": "read, µs an event", "network_us": "network", "write_us": "write",
    "overlapped_us": "overlapped", "times_faster": "sum / overlapped", "events_per_second": "events/s",
}  # fmt: skip


def measure_streams(plan: Plan, results: Results) -> None:
    """Fill ``streams``: torch-small on files, and what overlapping its three parts gains."""
    denoiser = Denoiser.open("torch-small", plan.device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        hits = ONE_TRACK.events(2000 if plan.quick else 4000)
        for ending in (".h5",) if plan.quick else (".h5", ".csv"):
            plan.advance(0, f"denoising a file {ending}")
            source, out = Path(folder) / f"in{ending}", Path(folder) / f"out{ending}"
            write_hits(source, hits)
            rows.append(_row(denoiser, source, out, plan, results))
    results.tables["streams"] = Table(f"Denoising a file with torch-small, {plan.threads} threads", COLUMNS, rows)


def _row(denoiser: Denoiser, source: Path, out: Path, plan: Plan, results: Results) -> Row:
    def blocks() -> list[inference.HitBatch]:
        grid, size = denoiser.geometry, inference.BLOCK_EVENTS
        return list(read_blocks(source, size, geometry=grid, hits_per_block=inference.BLOCK_HITS))

    held = blocks()
    done = [denoiser(part) for part in held]

    def write() -> None:
        with open_writer(out) as writer:
            for part in done:
                writer.append(part)

    works = {
        "read": blocks,
        "network": lambda: [denoiser(part) for part in held],
        "write": write,
        "overlapped": lambda: denoise_file(denoiser, source, out),
    }
    taken = interleaved(works, plan.seconds, (2, 5))
    events = sum(part.batch_size for part in held)
    us = {f"{name}_us": 1e6 * float(np.median(seconds)) / events for name, seconds in taken.items()}
    apart = np.array(taken["read"]) + np.array(taken["network"]) + np.array(taken["write"])
    gain = float(np.median(apart / np.array(taken["overlapped"])))
    rate = 1e6 / us["overlapped_us"]
    return {"name": source.suffix, "events": events, **us, "times_faster": gain, "events_per_second": rate}


def untrained(model: ModelSettings, device: str) -> Denoiser:
    """A denoiser on the TORCH grid with weights as initialised."""
    torch.manual_seed(1)
    precision = choose_precision(device, "fp32")
    network = Autoencoder(model, torch_geometry()).to(precision.device).eval()
    return Denoiser(network, Config(model=model), torch_geometry(), (), 0.5, {}, precision, Path("untrained"))

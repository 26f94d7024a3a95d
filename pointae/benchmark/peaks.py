"""Peak memory of one job in a process of its own: ``python -m pointae.benchmark.peaks JOB``, a job in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointae.benchmark.loading import peak_watched, resident_mb
from pointae.benchmark.results import Plan, Results, Row, Table

BATCH, MILLION = 250, 1_000_000
FILE_EVENTS, QUICK_FILE_EVENTS = 40_000, 10_000
"""What the C library keeps of three threads' blocks grows over some twenty of them before it stays: below that, a file
of 4 N events seems to take more than one of N."""
TRAINED = ("sparse U-Net, torch", "torch-small, fp32", "PointNet", "dense 3D", "dense 2D")
DENSE_STRIDES = ((4, 4, 32), (8, 8, 32), (8, 8, 64), (16, 16, 64))
"""Of the dense 3D network, finest first."""
ACTIVATIONS = 40
"""Volumes of its finest grid that a training step of the dense 3D network holds at most: 28 to 37 were seen."""
SHARE_OF_MEMORY = 0.5
"""That a job may take."""


def measure_memory(plan: Plan, results: Results) -> None:
    """Fill ``memory``: training at batch 250, files of N and 4 N events, one event of a million hits."""
    rows: list[Row] = []
    for name in () if plan.quick else TRAINED:
        plan.advance(0, f"memory: training {name}")
        job: Row = {"job": "train", "name": name, "batch": BATCH}
        if name == "dense 3D":
            job["stride"] = finest_stride(BATCH)
        stride = f" at stride {' x '.join(map(str, job['stride']))}" if "stride" in job else ""
        rows.append(_told(f"training step, {BATCH} events: {name}{stride}", job, plan))
    fewest = QUICK_FILE_EVENTS if plan.quick else FILE_EVENTS
    for events in (fewest, 4 * fewest):
        plan.advance(0, f"memory: a file of {events:,} events")
        rows.append(
            _told(f"denoise an HDF5 file of {events:,} events, torch-small", {"job": "file", "events": events}, plan)
        )
    if not plan.quick:
        plan.advance(0, "memory: an event of a million hits")
        rows.append(_told("denoise one event of 1,000,000 hits, sparse U-Net", {"job": "million"}, plan))
    columns = {
        "name": "job", "peak_mb": "peak, MB above the start", "resident_mb": "peak of the process, MB",
        "seconds": "seconds",
    }  # fmt: skip
    results.tables["memory"] = Table("Peak memory, each in a process of its own", columns, rows)


def finest_stride(batch: int, channels: int = 16) -> tuple[int, int, int]:
    """The finest stride at which the dense 3D network's training fits the memory of this machine, by estimate."""
    from pointae.environment import gather_environment
    from pointae.voxels import coarse_shape

    room = SHARE_OF_MEMORY * (gather_environment()["memory_gib"] or 8.0) * 2**30
    for stride in DENSE_STRIDES:
        x, y, t = coarse_shape((88, 128, 1000), stride)
        if 4.0 * ACTIVATIONS * channels * batch * x * y * t <= room:
            return stride
    return DENSE_STRIDES[-1]


def _told(name: str, job: Row, plan: Plan) -> Row:
    """The row of a job; its process says why where it fails."""
    job = {**job, "device": plan.device, "threads": plan.threads}
    command = [sys.executable, "-m", "pointae.benchmark.peaks", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        return {"name": f"{name}: failed, {last}"}
    return {"name": name, **json.loads(done.stdout.splitlines()[-1])}


def main(text: str) -> None:
    """Do a job and print its peak, MB above the start and of the whole process, and seconds, as JSON."""
    import torch

    job: dict[str, Any] = json.loads(text)
    torch.set_num_threads(job["threads"])
    with tempfile.TemporaryDirectory() as folder:
        work = JOBS[job["job"]](job, Path(folder))
        start, peaks = resident_mb(), list[float]()
        begin = time.perf_counter()
        with peak_watched(peaks):
            work()
    peak = max(peaks[0], torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0)
    told = {"peak_mb": peaks[0] - start, "resident_mb": peak, "seconds": time.perf_counter() - begin}
    print(json.dumps(told))


def _train(job: dict[str, Any], folder: Path) -> Callable[[], object]:
    from pointae.analysis.conditions import ONE_TRACK
    from pointae.benchmark.contenders import contenders
    from pointae.geometry import torch_geometry

    chosen = next(c for c in contenders() if c.name == job["name"])
    if "stride" in job:
        encoder = chosen.settings.encoder.model_copy(update={"stride": tuple(job["stride"])})
        chosen = replace(chosen, settings=chosen.settings.model_copy(update={"encoder": encoder}))
    entry = chosen.build(torch_geometry(), job["device"])
    hits = ONE_TRACK.events(job["batch"]).to(entry.precision.device)
    step = entry.step()
    return lambda: [step(hits) for _ in range(2)]


def _file(job: dict[str, Any], folder: Path) -> Callable[[], object]:
    import torch

    from pointae.config import TorchSource
    from pointae.inference import Denoiser, denoise_file
    from pointae.io import open_writer
    from pointae.simulate import simulate_events

    with open_writer(folder / "in.h5") as writer:
        for numbers in torch.arange(job["events"]).split(1000):
            writer.append(simulate_events(TorchSource(), seed=1, index=numbers))
    denoiser = Denoiser.open("torch-small", job["device"])
    return lambda: denoise_file(denoiser, folder / "in.h5", folder / "out.h5")


def _million(job: dict[str, Any], folder: Path) -> Callable[[], object]:
    from pointae.benchmark.contenders import uniform_hits
    from pointae.benchmark.streams import untrained
    from pointae.config import ModelSettings, SparseSettings
    from pointae.geometry import torch_geometry
    from pointae.inference import denoise_file
    from pointae.io import write_hits

    write_hits(folder / "in.h5", uniform_hits(torch_geometry(), 1, MILLION))
    denoiser = untrained(ModelSettings(encoder=SparseSettings()), job["device"])
    return lambda: denoise_file(denoiser, folder / "in.h5", folder / "out.h5")


JOBS = {"train": _train, "file": _file, "million": _million}

if __name__ == "__main__":
    main(sys.argv[1])

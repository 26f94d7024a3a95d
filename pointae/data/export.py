"""Simulated or degraded events as a file, with a manifest that says how to make them again."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch

from pointae import __version__
from pointae.config import DataSettings, DegradationSettings, FileSource, RobotSource
from pointae.data.events import read_source_files
from pointae.data.robots import read_robots
from pointae.degrade import degrade
from pointae.errors import ConfigError
from pointae.file_names import beside
from pointae.geometry import geometry_to_dict
from pointae.hits import HitBatch
from pointae.io import open_writer
from pointae.io.summary import Summary
from pointae.simulate import simulate_events
from pointae.storage import checksum, write_json

View = Literal["full", "thinned", "smeared", "noised"]
VIEWS: tuple[View, ...] = ("full", "thinned", "smeared", "noised")
BLOCK = 1000
"""Events made and written at a time."""
DEFAULT_EVENTS = 1000


def write_dataset(
    path: Path,
    settings: DataSettings,
    events: int | None,
    seed: int,
    view: View = "noised",
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> dict[str, Any]:
    """Write simulated events, or degraded ones of other files, to a file, and its manifest beside it.

    Event n of a seed is the same in a file of any length and format.

    Args:
        path: of the file; its ending chooses the format.
        settings: the source and what happens to its events.
        events: how many; ``None``: all of a source of files, 1000 of a simulation.
        seed: of the data set.
        view: the events clean, thinned, smeared as well, or with all of the degradation.
        advance: told of events done.

    Returns:
        the manifest, which is also in ``path`` + ``.json``: seed, counts, ranges, settings, checksum
        and versions.

    Raises:
        ConfigError: a view is asked for without a degradation.
        StorageError: disk full, no permission, ...
    """
    if view != "noised" and settings.degradation == DegradationSettings():
        raise ConfigError(f"without a degradation there is no view '{view}'", where="data.degradation")
    recipe = {
        "seed": seed,
        "view": view,
        "source": settings.source.model_dump(mode="json"),
        "degradation": settings.degradation.model_dump(mode="json"),
    }
    summary = Summary()
    clean, events = _clean_events(settings, events, seed)
    geometry = clean(torch.arange(0)).geometry
    with open_writer(path, {"generator": recipe}, geometry=geometry) as writer:
        for first in range(0, max(events, 1), BLOCK):
            numbers = torch.arange(first, min(first + BLOCK, events))
            hits = _seen(clean(numbers), settings.degradation, seed, numbers, view)
            writer.append(hits)
            summary.add(hits)
            advance(hits.batch_size, "")
    manifest = {
        "file": path.name,
        "sha256": checksum(path),
        **recipe,
        **summary.as_dict(),
        "geometry": geometry_to_dict(geometry),
        "versions": _versions(),
    }
    if writer.report.losses:
        manifest["not_in_the_file"] = writer.report.losses
    write_json(manifest_path(path), manifest)
    return manifest


def manifest_path(path: Path) -> Path:
    """The manifest of a file of simulated events."""
    return beside(path, ".json", path.name)


def _clean_events(
    settings: DataSettings, events: int | None, seed: int
) -> tuple[Callable[[torch.Tensor], HitBatch], int]:
    """What makes clean events of given numbers, and how many there are to be."""
    source = settings.source
    if isinstance(source, FileSource) or (isinstance(source, RobotSource) and source.paths):
        stored = read_source_files(source, carry=True) if isinstance(source, FileSource) else read_robots(source.paths)
        return stored.events, min(stored.batch_size, stored.batch_size if events is None else events)
    return partial(simulate_events, source, seed), DEFAULT_EVENTS if events is None else events


def _seen(hits: HitBatch, degradation: DegradationSettings, seed: int, numbers: torch.Tensor, view: View) -> HitBatch:
    if degradation == DegradationSettings():
        return hits
    degraded: HitBatch = getattr(degrade(hits, degradation, seed, 0, numbers), view)
    return degraded


def _versions() -> dict[str, str]:
    versions = {"pointae": __version__, "python": platform.python_version(), "torch": torch.__version__}
    return versions | {"numpy": np.__version__, "h5py": h5py.__version__}

"""Simulated events as a file, with a manifest that says how to make them again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch

from pointae import __version__
from pointae.config import DataSettings, DegradationSettings, FileSource
from pointae.degrade import degrade
from pointae.errors import ConfigError
from pointae.hits import HitBatch
from pointae.io import open_writer
from pointae.io.summary import Summary
from pointae.simulate import simulate_events
from pointae.storage import write_json

View = Literal["full", "thinned", "smeared", "noised"]
VIEWS: tuple[View, ...] = ("full", "thinned", "smeared", "noised")
BLOCK = 1000
"""Events made and written at a time."""


def write_dataset(
    path: Path,
    settings: DataSettings,
    events: int,
    seed: int,
    view: View = "noised",
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> dict[str, Any]:
    """Write simulated events to a file, and its manifest beside it.

    Event n of a seed is the same in a file of any length and format.

    Args:
        path: of the file; its ending chooses the format.
        settings: the source and what happens to its events.
        events: how many.
        seed: of the data set.
        view: the events clean, thinned, smeared as well, or with all of the degradation.
        advance: told of events done.

    Returns:
        the manifest, which is also in ``path`` + ``.json``: seed, counts, ranges, settings, checksum
        and versions.

    Raises:
        ConfigError: the source is no simulation, or a view is asked for without a degradation.
        StorageError: disk full, no permission, ...
    """
    if isinstance(settings.source, FileSource):
        raise ConfigError("events of files are not simulated", where="data.source.kind", fix="choose torch or patterns")
    if view != "noised" and settings.degradation == DegradationSettings():
        raise ConfigError(f"without a degradation there is no view '{view}'", where="data.degradation")
    recipe = {
        "seed": seed,
        "view": view,
        "source": settings.source.model_dump(mode="json"),
        "degradation": settings.degradation.model_dump(mode="json"),
    }
    summary = Summary()
    with open_writer(path, {"generator": recipe}) as writer:
        for first in range(0, max(events, 1), BLOCK):
            hits = _events(settings, seed, torch.arange(first, min(first + BLOCK, events)), view)
            writer.append(hits)
            summary.add(hits)
            advance(hits.batch_size, "")
    manifest = {"file": path.name, "sha256": checksum(path), **recipe, **summary.as_dict(), "versions": _versions()}
    if writer.report.losses:
        manifest["not_in_the_file"] = writer.report.losses
    write_json(path.with_name(f"{path.name}.json"), manifest)
    return manifest


def _events(settings: DataSettings, seed: int, numbers: torch.Tensor, view: View) -> HitBatch:
    assert not isinstance(settings.source, FileSource)
    hits = simulate_events(settings.source, seed, numbers)
    if settings.degradation == DegradationSettings():
        return hits
    degraded: HitBatch = getattr(degrade(hits, settings.degradation, seed, 0, numbers), view)
    return degraded


def checksum(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and contents in order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*.npy")):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode())
        with open(file, "rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    versions = {"pointae": __version__, "python": platform.python_version(), "torch": torch.__version__}
    return versions | {"numpy": np.__version__, "h5py": h5py.__version__}

"""What a denoiser is made from, wherever it is kept: in a run, or among the weights that are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointae import shipped
from pointae.config import Config
from pointae.config_files import load_config
from pointae.errors import CheckpointError, ConfigError, unknown_name
from pointae.geometry import DetectorGeometry, geometry_from_dict
from pointae.runs import LATEST, RunDirectory


@dataclass(frozen=True)
class Trained:
    """Weights, and all that is needed to put them to work.

    Args:
        source: the run directory, or the shipped files without their endings; for people.
        weights: the ``.safetensors`` file.
        config: of the training.
        geometry: the grid.
        feature_names: of the hits trained on.
        threshold: hits that score at least this are kept.
        thresholds: by retention; empty for runs that are older than they are.
    """

    source: Path
    weights: Path
    config: Config
    geometry: DetectorGeometry
    feature_names: tuple[str, ...]
    threshold: float
    thresholds: Mapping[float, float]


def open_trained(name_or_path: str | Path) -> Trained:
    """A run directory, the file ``latest`` that names one, or shipped weights by their name.

    A directory of that name comes before shipped weights.

    Raises:
        CheckpointError: neither; or a run without weights, or shipped files that are not as they were written.
    """
    path = Path(name_or_path)
    if path.is_dir() or (path.is_file() and path.name == LATEST):
        return _of_run(RunDirectory.open(path))
    names = shipped.shipped_names()
    if str(name_or_path) in names:
        return open_shipped(str(name_or_path))
    advice = f"{unknown_name('weights', str(name_or_path), names).fix}; or " if names else ""
    raise CheckpointError(
        "is not a run directory, nor the name of shipped weights",
        where=path,
        fix=f"{advice}train one with tools/train.py",
    )


def _of_run(run: RunDirectory) -> Trained:
    weights = run.weights()
    config = load_config(run.config_path)
    record = run.record
    if "geometry" not in record:
        raise CheckpointError("run.json does not say which grid the run was trained on", where=run.path)
    return Trained(
        run.path,
        weights,
        config,
        _grid(record["geometry"], run.path),
        tuple(record.get("feature_names", ())),
        float(record.get("threshold", 0.5)),
        {float(retention): float(cut) for retention, cut in record.get("thresholds", {}).items()},
    )


def open_shipped(name: str) -> Trained:
    """Shipped weights by their name, once their checksum is found to be right.

    Raises:
        CheckpointError: as :func:`~pointae.shipped.read_shipped`.
    """
    card = shipped.read_shipped(name)
    weights = shipped.weights_path(name)
    return Trained(
        weights.with_suffix(""),
        weights,
        card.config,
        _grid(card.geometry.model_dump(), weights),
        tuple(card.feature_names),
        card.thresholds[card.retention],
        card.thresholds,
    )


def _grid(stored: Mapping[str, Any], where: Path) -> DetectorGeometry:
    try:
        return geometry_from_dict(stored)
    except ConfigError as error:
        raise CheckpointError(f"its grid: {error.what}", where=where, fix=error.fix) from None

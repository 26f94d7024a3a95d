"""From a finished run to weights that are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointae import shipped
from pointae.config import Config, FileSource
from pointae.errors import CheckpointError
from pointae.inference import Denoiser
from pointae.runs import RunDirectory
from pointae.trained import open_shipped, open_trained

LICENCE = "MIT"
IN_PYTHON = "pointae.training.session.train_run, with this config"
"""Recipe of runs that no tool trained."""


def ship_run(
    path: str | Path, name: str, description: str | None = None, figures: Mapping[str, Any] | None = None
) -> shipped.Card:
    """Make ``weights/<name>`` from the best weights of a finished run, and load them as a user will.

    Args:
        path: of the run.
        name: lower-case letters, digits, ``-`` and ``_``; weights of that name are replaced.
        description: one line; by default network, size and events.
        figures: what was measured with these weights, JSON-able.

    Raises:
        UsageError: the name cannot be one.
        CheckpointError: the run is not finished, its weights are damaged, or it keeps no thresholds by retention.
        StorageError: a file could not be written.
    """
    shipped.check_name(name)
    run = RunDirectory.open(path)
    record = run.record
    if record.get("status") != "finished":
        raise CheckpointError(
            f"is not finished: its status is '{record.get('status', 'unknown')}'",
            where=run.path,
            fix=f"python tools/train.py --resume {run.path}",
        )
    trained = open_trained(run.path)
    Denoiser.of(trained, device="cpu")  # whole, and made for this config
    config = trained.config
    if config.evaluate.retention not in trained.thresholds:
        raise CheckpointError(
            "keeps no thresholds by retention", where=run.path, fix=f"python tools/train.py --resume {run.path}"
        )
    data = _in_words(config, int(record["best_epoch"]))
    network = f"{config.model.encoder.name} -> {config.model.decoder.name}"
    facts = {
        "name": name,
        "description": description or f"{network}, {record['parameters']:,} parameters; {data.split(':')[0]}",
        "licence": LICENCE,
        "parameters": record["parameters"],
        "training_command": " && ".join(record.get("commands", [])) or IN_PYTHON,
        "seeds": [config.seed],
        "data": data,
        "training_seconds": record["seconds"],
        "environment": record["environment"],
        "figures": dict(figures or {}),
        "retention": config.evaluate.retention,
        "thresholds": trained.thresholds,
        "geometry": trained.geometry,
        "feature_names": trained.feature_names,
        "config": config.model_dump(mode="json"),
    }
    card = shipped.write_shipped(facts, trained.weights.read_bytes())
    Denoiser.of(open_shipped(name), device="cpu")
    return card


def _in_words(config: Config, epochs: int) -> str:
    """The events that the kept weights were trained on."""
    source = config.data.source
    if isinstance(source, FileSource):
        files = ", ".join(Path(path).name for path in source.paths)
        return f"{config.data.shares.train:.0%} of the events of files, {epochs} times each: {files}"
    events = config.data.events.train
    fresh = f"{events * epochs:,} simulated events, none seen twice"
    count = fresh if config.data.fresh else f"{events:,} simulated events, {epochs} times each"
    facts = ", ".join(f"{name} {value}" for name, value in source.model_dump(exclude={"kind"}).items())
    return f"{count}: {source.kind}, {facts}"

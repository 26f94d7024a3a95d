"""From a finished run to weights that are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointae import shipped
from pointae.config import Config, FileSource, RobotSource, TorchSource
from pointae.errors import CheckpointError
from pointae.geometry import geometry_to_dict
from pointae.inference import Denoiser
from pointae.runs import RunDirectory
from pointae.terminal import command_line
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
    if record.status != "finished":
        raise CheckpointError(
            f"is not finished: its status is '{record.status}'",
            where=run.path,
            fix=command_line("train", "--resume", run.path),
        )
    trained = open_trained(run.path)
    Denoiser.of(trained, device="cpu")  # whole, and made for this config
    config = trained.config
    if config.evaluate.retention not in trained.thresholds:
        raise CheckpointError(
            "keeps no thresholds by retention", where=run.path, fix=command_line("train", "--resume", run.path)
        )
    data = _in_words(config, record.best_epoch or 0)
    network = f"{config.model.encoder.name} -> {config.model.decoder.name}"
    facts = {
        "name": name,
        "description": description or f"{network}, {record.parameters or 0:,} parameters; {data.split(':')[0]}",
        "licence": LICENCE,
        "parameters": record.parameters,
        "training_command": " && ".join(record.commands) or IN_PYTHON,
        "seeds": [config.seed],
        "data": data,
        "training_seconds": record.seconds,
        "environment": record.environment.model_dump(mode="json", exclude_unset=True),
        "figures": dict(figures or {}),
        "retention": config.evaluate.retention,
        "thresholds": trained.thresholds,
        "geometry": geometry_to_dict(trained.geometry),
        "feature_names": trained.feature_names,
        "config": config.model_dump(mode="json"),
    }
    card = shipped.write_shipped(facts, trained.weights.read_bytes())
    Denoiser.of(open_shipped(name), device="cpu")
    return card


def _in_words(config: Config, epochs: int) -> str:
    """The events that the kept weights were trained on."""
    source = config.data.source
    if isinstance(source, RobotSource) and not source.paths:
        return f"{config.data.shares.train:.0%} of {source.robots:,} generated robots, {epochs} times each"
    if isinstance(source, FileSource | RobotSource):
        files = ", ".join(Path(path).name for path in source.paths)
        return f"{config.data.shares.train:.0%} of the events of files, {epochs} times each: {files}"
    events = config.data.events.train
    fresh = f"{events * epochs:,} simulated events, none seen twice"
    count = fresh if config.data.fresh else f"{events:,} simulated events, {epochs} times each"
    if not isinstance(source, TorchSource):
        return f"{count}: {', '.join(source.mixture)}"
    others = [
        f"; {part.share:.0%} of them from epoch {part.from_epoch} on: {_torch_in_words(part.source)}"
        for part in config.data.variety
    ]
    starts = [f"; {name} started as {Path(trained).name}" for name, trained in config.train.start.items()]
    return "".join([count, ": ", _torch_in_words(source), *others, *starts])


def _torch_in_words(source: TorchSource) -> str:
    signal = "as the physics yields" if source.signal_mode == "poisson" else f"{_range(source.signal)} a track"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in source.mixture.items())
    noise = shares if source.noise_mode == "mixture" else source.noise_mode
    return (
        f"TORCH, tracks {_range(source.tracks)}, signal hits {signal}, noise hits {_range(source.noise)} ({noise}), "
        f"time resolution {_range(source.sigma_t_ps)} ps"
    )


def _range(value: float | tuple[float, float]) -> str:
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{value:g}"

"""A training from its config to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pointae.config import Config, EvaluateSettings, SparseSettings
from pointae.config_files import dump_config
from pointae.data.events import EventData
from pointae.environment import gather_environment
from pointae.geometry import geometry_to_dict
from pointae.inference import Denoiser
from pointae.io import write_hits
from pointae.metrics import cut_at_retention
from pointae.nn.autoencoder import Autoencoder
from pointae.precision import choose_precision
from pointae.runs import RunDirectory
from pointae.terminal import console
from pointae.training.loop import Row, train


def build_model(config: Config, data: EventData) -> Autoencoder:
    """The model of a config, initialised from its seed."""
    torch.manual_seed(config.seed)
    return Autoencoder(config.model, data.geometry, len(data.feature_names))


def train_run(config: Config, parent: str | Path, draw: Callable[[Path, Path], Any] | None = None) -> RunDirectory:
    """Train a config into a new run directory, and fix its threshold on validation events.

    Args:
        config: everything that makes the run.
        parent: folder of run directories.
        draw: called after each epoch with the paths of ``metrics.csv`` and of the picture to draw.
    """
    precision = choose_precision(config.train.device, config.train.precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    run = RunDirectory.create(Path(parent), config.name)
    run.write_config(dump_config(config))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    run.update_record(
        name=run.name,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        status="training",
        geometry=geometry_to_dict(data.geometry),
        feature_names=list(data.feature_names),
        parameters=parameters,
        precision={"device": str(precision.device), "name": precision.name, "note": precision.note},
        environment=gather_environment(),
    )
    if isinstance(config.model.encoder, SparseSettings):
        run.update_record(engine={"name": model.encoder.engine, "reason": model.encoder.engine_reason})
    if precision.note:
        console.print(precision.note)
    console.print(
        f"{config.model.encoder.name} -> {config.model.latent.name} -> {config.model.decoder.name}, "
        f"{parameters:,} parameters, on {precision.device.type} in {precision.name}, into {run.path}"
    )

    def drawn(rows: list[Row]) -> None:
        if draw is not None:
            draw(run.metrics_path, run.plots / "training.png")

    result = train(model, data, config.train, run, config.seed, precision, [drawn])
    threshold = calibrate(model, data, config.evaluate, run)
    run.update_record(
        status="finished", seconds=round(result.seconds, 1), epochs=len(result.rows), best_epoch=result.best_epoch
    )
    console.print(
        f"trained in {result.seconds:.0f} s; best epoch {result.best_epoch}; threshold {threshold:.3f} "
        f"keeps {config.evaluate.retention:.0%} of signal on validation events"
    )
    return run


def calibrate(model: Autoencoder, data: EventData, settings: EvaluateSettings, run: RunDirectory) -> float:
    """The score at which the run keeps the asked share of signal on validation events.

    Stored in the run, with the decisions on the first few of those events for the viewer.
    """
    run.update_record(threshold=0.5)
    hits = Denoiser.from_run(run.path)(data.all_events("validation").hits)
    assert hits.score is not None
    assert hits.signal is not None
    threshold = float(cut_at_retention(hits.score, hits.signal, settings.retention)) if bool(hits.signal.any()) else 0.5
    run.update_record(threshold=threshold, retention=settings.retention)
    if settings.pictures:
        shown = hits.events(slice(0, settings.pictures))
        assert shown.score is not None
        write_hits(run.predictions_path("events"), shown.replace(kept=shown.score >= threshold))
    return threshold

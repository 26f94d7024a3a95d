"""A training from its config, or from where it stopped, to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pointae.allocator import keep_freed_memory
from pointae.config import Config, EvaluateSettings, SparseSettings
from pointae.config_files import dump_config
from pointae.data.events import CHUNK, EventData, StoredEvents
from pointae.environment import gather_environment, memory_gib
from pointae.errors import CheckpointError, ConfigError, NonFiniteError, StorageError
from pointae.geometry import DetectorGeometry, differences_of, geometry_to_dict
from pointae.inference import Denoiser
from pointae.io import write_hits
from pointae.metrics import output_histogram
from pointae.nn.autoencoder import Autoencoder, count_parameters
from pointae.nn.feature_scale import measure_features
from pointae.precision import Precision, choose_precision
from pointae.runs import RunDirectory
from pointae.terminal import command_line, console, warn
from pointae.thresholds import thresholds_by_retention, weak_basis
from pointae.trained import open_trained
from pointae.training.agreement import check_agreement, origin_of
from pointae.training.checkpoint import Checkpoint, checkpoint_of, give_up_after, load_checkpoint
from pointae.training.gate import Stop
from pointae.training.loop import OnEpoch, train
from pointae.weights import fill_model, load_state, load_weights

TRAINED_BYTES = 16
"""Of each parameter: itself, its gradient, and two numbers that an optimiser keeps of it."""


def build_model(config: Config, data: EventData) -> Autoencoder:
    """The model of a config, initialised from its seed; it knows what features of its training events are like.

    Raises:
        ConfigError: its training would not fit this machine.
    """
    _check_size(config, data)
    torch.manual_seed(config.seed)
    model = Autoencoder(config.model, data.geometry, len(data.feature_names))
    if data.feature_names:
        some = torch.arange(min(data.num_events("train"), CHUNK))
        measure_features(model, data.source.events("train", some, epoch=1).features)
    return model


def _check_size(config: Config, data: EventData) -> None:
    """Refuse a model that would not fit the memory while it is trained, before it is made."""
    counts, memory = count_parameters(config.model, data.geometry, len(data.feature_names)), memory_gib()
    needed = sum(counts.values()) * TRAINED_BYTES / 2**30
    if memory is not None and needed > memory:
        part = max(counts, key=lambda name: counts[name])
        name = getattr(config.model, part).name
        raise ConfigError(
            f"'{name}' has {counts[part]:,} parameters: to train takes {needed:,.0f} GB, this machine has {memory:g}",
            where=f"model.{part}",
            fix="take fewer channels or layers, or a coarser stride",
        )


def start_parts(model: Autoencoder, start: Mapping[str, str], geometry: DetectorGeometry | None = None) -> None:
    """Fill parts of a model with what was trained before.

    Args:
        model: not trained yet.
        start: run directory or name of shipped weights, by the part's name in the model; of the whole
            (``model``), what the trained one lacks stays as it is, e.g. a head that is new.
        geometry: of the model's events; it is said where those trained on before were on another.

    Raises:
        ConfigError: the model has no such part.
        CheckpointError: no such weights, or they do not fit the part.
    """
    parts = dict(model.named_modules())
    for name, trained in start.items():
        found = open_trained(trained)
        path = found.weights
        for what, ours, theirs in [] if geometry is None else differences_of(geometry, found.geometry):
            warn(f"'{name}' starts as {trained}: {what} {theirs} there and {ours} here")
        if name == "model":
            state, _ = load_state(path)
            fill_model(model, {**model.state_dict(), **state}, path)
        elif name in parts:
            load_weights(parts[name], path)
        else:
            raise ConfigError(f"the model has no part '{name}'", where="train.start")


def train_run(
    config: Config,
    parent: str | Path,
    draw: OnEpoch | None = None,
    command: str | None = None,
    finish: OnEpoch | None = None,
) -> RunDirectory:
    """Train a config into a new run directory, and fix its threshold on validation events.

    However it ends, the run's status says how: ``finished``, ``interrupted``, ``diverged`` or ``failed``.

    Args:
        config: everything that makes the run.
        parent: folder of run directories.
        draw: called with the run after each epoch.
        command: what a user typed, kept in the record as the recipe.
        finish: called with the run once it is finished, e.g. to draw and tell it.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the line that resumes was printed.
        NonFiniteError, StorageError: as :func:`~pointae.training.loop.train`.
    """
    parts = _build(config)
    start_parts(parts.model, config.train.start, parts.data.geometry)
    with Stop() as stop:
        run = RunDirectory.create(Path(parent), config.name)
        with run.trained_here(), _told_how_to_go_on(run), _ending(run, config):
            run.write_config(dump_config(config), commands=[command] if command else [], status="training")
            return _train(run, config, parts, stop, None, draw, finish)


def resume_run(
    path: str | Path,
    overrides: Sequence[str] = (),
    force: bool = False,
    draw: OnEpoch | None = None,
    epoch: int | None = None,
    finish: OnEpoch | None = None,
) -> RunDirectory:
    """Go on with a run that was stopped, killed or finished, from its last whole checkpoint.

    On a CPU, weights, metrics (but for seconds) and predictions become those of a run that was never
    stopped, byte for byte. Before the first checkpoint the run starts over in the same directory.

    Args:
        path: of the run.
        overrides: of its config, e.g. ``"train.patience=3"``; see
            :func:`~pointae.training.agreement.check_agreement` for what may change.
        force: go on with other settings or data.
        draw: as for :func:`train_run`.
        epoch: go back to its end and on from there; later epochs are given up. ``None``: the last one.
        finish: as for :func:`train_run`.

    Raises:
        CheckpointError: no checkpoint of that epoch, no run, no whole checkpoint, one of other settings or data, or
            another process trains the run.
        KeyboardInterrupt, NonFiniteError, StorageError: as :func:`train_run`.
    """
    run = RunDirectory.open(path)
    with Stop() as stop, run.trained_here(), _told_how_to_go_on(run):
        config = run.config(overrides)
        checkpoint = load_checkpoint(run) if epoch is None else checkpoint_of(run, epoch)
        parts = _build(config)
        if checkpoint is None:
            start_parts(parts.model, config.train.start, parts.data.geometry)
        else:
            forced = check_agreement(checkpoint, parts.origin, run, force)
            stop.check()
            give_up_after(run, checkpoint.epoch)
            before = run.record.model_dump(mode="json")["resumed"]
            run.update_record(resumed=[*before, {"epoch": checkpoint.epoch, "forced": forced}])
        run.write_config(dump_config(config))
        if overrides:  # without any, the recipe is what it was: a stop changes nothing
            flags = ["--force"] if force else []
            command = command_line("train", "--resume", f"runs/{run.name}", *flags, *overrides)
            run.update_record(commands=[*run.record.commands, command])
        run.clear_temporaries()
        told = f"resumed after epoch {checkpoint.epoch}" if checkpoint else "no epoch was finished: started over"
        run.log(told)
        console.print(told)
        with _ending(run, config):
            return _train(run, config, parts, stop, checkpoint, draw, finish)


@dataclass(frozen=True)
class _Parts:
    """What a config is made into before anything is written."""

    precision: Precision
    data: EventData
    model: Autoencoder
    origin: dict[str, Any]


def _build(config: Config) -> _Parts:
    keep_freed_memory()
    precision = choose_precision(config.train.device, config.train.precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    if isinstance(data.source, StoredEvents):  # now, not in the middle of an epoch
        model.refuse_large_events(data.source.hits)
    return _Parts(precision, data, model, origin_of(config, data, precision))


def _train(
    run: RunDirectory,
    config: Config,
    parts: _Parts,
    stop: Stop,
    checkpoint: Checkpoint | None,
    draw: OnEpoch | None,
    finish: OnEpoch | None,
) -> RunDirectory:
    _describe(run, config, parts)
    stop.check()
    on_epoch = [] if draw is None else [draw]
    history = train(
        parts.model, parts.data, config.train, run, config.seed, parts.precision, stop, on_epoch, parts.origin,
        checkpoint,
    )  # fmt: skip
    told = None if parts.data.robots else calibrate(parts.model, parts.data, config.evaluate, run)
    stop.check()
    seconds = sum(row["seconds"] for row in history.rows)
    run.update_record(
        status="finished", seconds=round(seconds, 1), epochs=len(history.rows), best_epoch=history.best_epoch
    )
    console.print(f"trained in {seconds:.0f} s; best epoch {history.best_epoch}")
    if told is not None:
        console.print(told)
    if finish is not None:
        finish(run)
    stop.check()
    return run


@contextmanager
def _told_how_to_go_on(run: RunDirectory) -> Iterator[None]:
    """Print the line that resumes where the training is interrupted, and name it where the disk fails."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"to go on:  {_resuming(run)}")
        raise
    except StorageError as error:
        error.fix = error.fix or f"what was saved before is whole; once that is mended: {_resuming(run)}"
        raise


@contextmanager
def _ending(run: RunDirectory, config: Config) -> Iterator[None]:
    """Enter into the record how the training ends; what ended it goes on its way."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, NonFiniteError):
            _tell_what_is_kept(error, run, config.train.learning_rate / 10)
        names = {KeyboardInterrupt: "interrupted", NonFiniteError: "diverged"}
        status = next((name for kind, name in names.items() if isinstance(error, kind)), "failed")
        with suppress(StorageError, CheckpointError):  # the first failure is the one that is told
            if run.record.status == "training":  # one that is finished already stays so
                run.update_record(status=status)
        raise


def _tell_what_is_kept(error: NonFiniteError, run: RunDirectory, rate: float) -> None:
    done = max(run.checkpoints(), default=0)
    again = _resuming(run, *(["--force"] if done else []), f"train.learning_rate={rate:g}")
    kept = f"the weights up to epoch {done} are kept" if done else "no epoch was finished, so no weights are kept"
    error.at(run.path)
    error.fix = f"{kept}; smaller steps may help: {again}"


def _resuming(run: RunDirectory, *words: str) -> str:
    return command_line("train", "--resume", run.path, *words)


def _describe(run: RunDirectory, config: Config, parts: _Parts) -> None:
    """Enter into the record, and tell, what is about to be trained."""
    model, precision = parts.model, parts.precision
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sparse = isinstance(config.model.encoder, SparseSettings)
    engine = {"name": model.encoder.engine, "reason": model.encoder.engine_reason} if sparse else None
    run.update_record(
        name=run.name,
        non_finite=None,
        started=run.record.started or time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        status="training",
        geometry=geometry_to_dict(parts.data.geometry),
        feature_names=list(parts.data.feature_names),
        parameters=parameters,
        precision={"device": str(precision.device), "name": precision.name, "note": precision.note},
        environment=gather_environment(),
        **({} if engine is None else {"engine": engine}),
    )
    if precision.note:
        console.print(precision.note)
    console.print(
        f"{config.model.encoder.name} -> {config.model.latent.name} -> {config.model.decoder.name}, "
        f"{parameters:,} parameters, on {precision.device.type} in {precision.name}, into {run.path}"
    )


def calibrate(model: Autoencoder, data: EventData, settings: EvaluateSettings, run: RunDirectory) -> str:
    """Fix the score at which the run keeps the asked share of signal on validation events; returns it in words.

    Stored in the run, with the thresholds of other shares (:mod:`pointae.thresholds`) and the decisions on
    the first few of those events for the viewer.
    """
    run.update_record(threshold=0.5)
    hits = Denoiser.open(run.path)(data.all_events("validation").hits)
    assert hits.score is not None
    assert hits.signal is not None
    thresholds = thresholds_by_retention(hits.score, hits.signal, settings.retention)
    threshold = thresholds.get(settings.retention, 0.5)
    found = int(hits.signal.sum())
    run.update_record(threshold=threshold, retention=settings.retention, thresholds=thresholds, signal_hits=found)
    run.write_outputs(output_histogram(hits.score, hits.signal))  # of the best weights, no longer of the last epoch's
    if settings.pictures:
        shown = hits.events(slice(0, settings.pictures))
        assert shown.score is not None
        write_hits(run.predictions_path("events"), shown.replace(kept=shown.score >= threshold))
    weak = weak_basis(found, settings.retention)
    if weak is not None:
        return f"{weak}: hits that score {threshold:.3f} or more are kept"
    return f"threshold {threshold:.3f} keeps {100 * settings.retention:g} % of signal on validation events"

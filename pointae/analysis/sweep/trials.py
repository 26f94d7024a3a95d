"""Trials trained one after the other, until none is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from pointae.analysis.sweep.directory import SweepDirectory
from pointae.analysis.sweep.score import Best, best_epoch
from pointae.analysis.sweep.space import config_of
from pointae.analysis.sweep.study import Claim, StudyNotStored, SweepStudy
from pointae.config import Config, ScoreSettings, SweepSettings
from pointae.data.events import EventData
from pointae.entry import known_problem
from pointae.errors import ConfigError, DataError, PointaeError, StorageError, UsageError
from pointae.results import read_metrics
from pointae.runs import RunDirectory
from pointae.terminal import console
from pointae.training.session import resume_run, train_run

MOST_LETTERS = 300
"""Of an unforeseen error that are kept of a trial."""


class Pruned(Exception):
    """A trial is not worth going on with."""


def sweep_facts(settings: SweepSettings, config: Config) -> dict[str, Any]:
    """What every trial depends on, JSON-able: all that may not change while a sweep goes on."""
    free = {"trials", "config"}
    return {"config": config.model_dump(mode="json"), **settings.model_dump(mode="json", exclude=free)}


def run_trials(
    study: SweepStudy, overrides: tuple[str, ...] = (), on_trial: Callable[[SweepStudy], None] = lambda study: None
) -> int:
    """Train trials of a study until none is left for this process; returns how many.

    A trial that a killed process began goes on from its last checkpoint. Other processes may do the same
    at the same time, in the same directory. A failure of a trial's own, whatever it is, is noted and ends the
    trial alone.

    Args:
        study: made or joined.
        overrides: of every trial's config, ``key=value``.
        on_trial: called after each.

    Raises:
        KeyboardInterrupt, StorageError: as :func:`~pointae.training.session.train_run`; the trial is gone on with
            the next time.
        DataError: events that no trial could read.
        UsageError: the score names a column that runs do not have.
    """
    count = 0
    try:
        while (claim := study.claim()) is not None:
            try:
                _run(study, claim, overrides)
            finally:
                claim.release()
            on_trial(study)
            count += 1
    except StudyNotStored as error:
        raise StorageError(
            f"the study cannot be kept: {error.__cause__ or error}", where=study.directory.path
        ) from error
    return count


def _run(study: SweepStudy, claim: Claim, overrides: tuple[str, ...]) -> None:
    number, params = claim.trial.number, claim.trial.params
    directory, score = study.directory, study.settings.score
    console.print(f"trial {number} of {study.wanted()}: {_listed(params)}")
    try:
        config = config_of(study.settings, params, overrides).model_copy(update={"name": directory.trial_name(number)})
        run = _train(config, directory, _watch(study, claim))
    except Pruned:
        run = RunDirectory.open(directory.trials / directory.trial_name(number))
        run.update_record(status="pruned")
        best = _best(run, score)
        assert best is not None  # it was judged
        study.prune(claim, best, **_facts(run))
        console.print(f"trial {number} pruned: score {best.score:.4f} at epoch {best.epoch}")
    except Exception as error:
        if _is_of_all(error, study.settings, overrides):
            raise
        problem = known_problem(error)
        reason = _in_a_line(problem or error)
        study.fail(claim, reason, 1 if problem is None else problem.exit_code)
        console.print(f"trial {number} failed: {reason}")
    else:
        finished = _best(run, score)
        if finished is None:
            study.fail(claim, "its score is not a number")
            console.print(f"trial {number} failed: its score is not a number")
        else:
            study.complete(claim, finished, **_facts(run))
            console.print(f"trial {number}: score {finished.score:.4f} at epoch {finished.epoch}")


def _is_of_all(error: Exception, settings: SweepSettings, overrides: tuple[str, ...]) -> bool:
    """Whether every other trial would fail alike: the disk, the study, the score's name, data that is gone."""
    if isinstance(error, (StudyNotStored, StorageError, OSError)):
        return True
    if isinstance(error, DataError):
        config = config_of(settings, {}, overrides)
        try:
            EventData(config.data, config.seed)
        except PointaeError:
            return True
    return isinstance(error, UsageError) and not isinstance(error, ConfigError)


def _in_a_line(error: Exception) -> str:
    if isinstance(error, PointaeError):
        return str(error)
    told = " ".join(str(error).split())[:MOST_LETTERS]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _train(config: Config, directory: SweepDirectory, watch: Callable[[RunDirectory], None]) -> RunDirectory:
    path = directory.trials / config.name
    if (path / "config.yaml").is_file():
        return resume_run(path, draw=watch)
    if path.exists():  # killed before the run had a config
        shutil.rmtree(path)
    return train_run(config, directory.trials, draw=watch)


def _watch(study: SweepStudy, claim: Claim) -> Callable[[RunDirectory], None]:
    def watch(run: RunDirectory) -> None:
        rows = read_metrics(run)
        best = best_epoch(rows, study.settings.score)
        if best is None:
            return
        if len(rows) not in study.reported(claim):  # an epoch is shown again when its trial is gone on with
            claim.trial.report(best.score, len(rows))
        if len(rows) > study.settings.warmup_epochs and claim.trial.should_prune():
            raise Pruned

    return watch


def _best(run: RunDirectory, score: ScoreSettings) -> Best | None:
    return best_epoch(read_metrics(run), score)


def _facts(run: RunDirectory) -> dict[str, Any]:
    rows = read_metrics(run)
    return {
        "epochs": len(rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "parameters": run.record.parameters,
    }


def _listed(params: dict[str, Any]) -> str:
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in params.items()}
    return ", ".join(f"{key}={text}" for key, text in texts.items())

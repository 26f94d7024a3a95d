"""The study that processes share: which trial each trains next, so that none is trained twice.

Optuna keeps trials and proposes them. Its own grid sampler ends a search only inside ``Study.optimize``,
and processes that ask at once may get the same combination; here asking is done by one process at a time,
what was tried already is replaced by what was not, and a trial whose process is gone is taken over. A
lock is the operating system's: it is free again the moment its process is dead, however it died.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointae import draws
from pointae.analysis.sweep.directory import SweepDirectory
from pointae.analysis.sweep.score import Best
from pointae.analysis.sweep.space import combinations_of, identity, suggest, untried
from pointae.config import SweepSettings
from pointae.config.base import Whole
from pointae.documents import first_problem
from pointae.errors import CheckpointError
from pointae.optional import require

optuna = require("optuna", extra="sweep")
optuna.logging.set_verbosity(optuna.logging.WARNING)
State = optuna.trial.TrialState
StudyNotStored = optuna.exceptions.StorageInternalError
"""The study could not be written or read: a full disk, a folder that is gone."""
ANOTHER = "name another folder with --out"
REPEATS = "repeats"
"""Attribute of a trial that was proposed, but is the same as another."""
STARTUP_TRIALS = 8
"""Drawn at random before the sampler learns from them; and finished before any is pruned."""


class _NotedBest(BaseModel):
    """A :class:`~pointae.analysis.sweep.score.Best`."""

    model_config = ConfigDict(strict=True)
    epoch: Whole
    score: float = Field(allow_inf_nan=False)
    loss: float
    f1: float


class _Noted(BaseModel):
    """What is noted of a trial; anything else in its place is no study of a sweep."""

    model_config = ConfigDict(strict=True)
    best: _NotedBest | None = None
    epochs: Whole = 0
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    parameters: Whole | None = None
    reason: str = ""
    exit_code: int = Field(6, ge=1, le=7)


@dataclass(frozen=True)
class Claim:
    """A trial that this process, and no other, trains.

    Args:
        trial: Optuna's, with a value of each parameter in ``trial.params``.
        lock: held until :meth:`release`.
    """

    trial: Any
    lock: FileLock

    def release(self) -> None:
        """Let go of it."""
        self.lock.release()


class SweepStudy:
    """A study in a sweep's directory, made or joined.

    Args:
        directory: of the sweep.
        settings: of the sweep.
        facts: JSON-able, what trials depend on; all processes must agree.

    Raises:
        CheckpointError: the study there was begun with other settings, or is damaged.
        ComponentError: Optuna is not installed.
    """

    def __init__(self, directory: SweepDirectory, settings: SweepSettings, facts: dict[str, Any]) -> None:
        self.directory, self.settings = directory, settings
        self._gate = FileLock(directory.claim_lock)
        with self._gate:
            self.study = _opened(directory, settings)
            trials, known = self._every(), self.study.user_attrs.get("facts")
            if known is None or not trials:  # nothing depends on them yet
                self.study.set_user_attr("facts", facts)
            elif not isinstance(known, dict):
                raise CheckpointError("holds a study that is not a sweep's", where=directory.path, fix=ANOTHER)
            elif known != facts:
                changed = ", ".join(sorted(key for key in {*known, *facts} if known.get(key) != facts.get(key)))
                raise CheckpointError(
                    f"is a sweep with other settings: {changed}",
                    where=directory.path,
                    fix="go on with those, or name another folder with --out",
                )

    def trials(self) -> list[Any]:
        """All trials but repetitions and those that nobody has begun.

        Raises:
            CheckpointError: what is kept of one cannot be read, or is not what a sweep notes.
        """
        every = self._every()
        for trial in every:
            try:
                _Noted.model_validate(trial.user_attrs)
            except ValidationError as error:
                raise self._damaged(f"trial {trial.number}: {first_problem(error)}") from None
            if trial.state == State.COMPLETE and not trial.params.keys() >= self.settings.parameters.keys():
                raise self._damaged(f"trial {trial.number} lacks values of its parameters")
        return [trial for trial in every if REPEATS not in trial.user_attrs and trial.state != State.WAITING]

    def finished(self) -> list[Any]:
        """Trials that are done: trained to the end, pruned or failed."""
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def wanted(self) -> int:
        """How many trials the sweep trains in all."""
        limits = [n for n in (self.settings.trials, combinations_of(self.settings)) if n is not None]
        return min(limits)

    def claim(self) -> Claim | None:
        """The next trial to train: one whose process is gone, else a new one; ``None`` where none is left."""
        with self._gate:
            for frozen in self._every(State.RUNNING):
                lock = self._lock(frozen.number)
                if lock is not None:
                    claim = self._settled(optuna.trial.Trial(self.study, frozen._trial_id), lock)
                    if claim is not None:
                        return claim
            while len(self.trials()) < self.wanted():
                trial = self._ask()
                lock = self._lock(trial.number)
                assert lock is not None  # nobody else is here
                claim = self._settled(trial, lock)
                if claim is not None:
                    return claim
                self._queue_untried()
        return None

    def reported(self, claim: Claim) -> set[int]:
        """Epochs of which the study knows the score."""
        return set(self._every()[claim.trial.number].intermediate_values)

    def complete(self, claim: Claim, best: Best, **facts: Any) -> None:
        """Tell of a trial that was trained to its end."""
        self._note(claim, best=vars(best), **facts)
        self.study.tell(claim.trial, best.score)

    def prune(self, claim: Claim, best: Best, **facts: Any) -> None:
        """Tell of a trial that was stopped early."""
        self._note(claim, best=vars(best), **facts)
        self.study.tell(claim.trial, state=State.PRUNED)

    def fail(self, claim: Claim, reason: str, exit_code: int = 6) -> None:
        """Tell of a trial that could not be trained, and of the exit code of what stopped it."""
        self._note(claim, reason=reason, exit_code=exit_code)
        self.study.tell(claim.trial, state=State.FAIL)

    # ---- proposing ---------------------------------------------------------------------------------

    def _ask(self) -> Any:
        if self.settings.sampler == "grid" and not self._queued():
            self._queue_untried()
        return self.study.ask()

    def _settled(self, trial: Any, lock: FileLock) -> Claim | None:
        """A trial with all its values, unless it is one that there is already."""
        # A sampler for each trial: after a kill, and in every process, it draws what it would have drawn.
        key = draws.event_keys(self.settings.seed, 0, torch.tensor([trial.number]), "sampler")
        self.study.sampler = _sampler(self.settings, int(key) & 0x7FFFFFFF)
        for name, parameter in self.settings.parameters.items():
            suggest(trial, name, parameter)
        same = [other.number for other in self._others(trial) if identity(other.params) == identity(trial.params)]
        if not same:
            return Claim(trial, lock)
        trial.set_user_attr(REPEATS, same[0])
        self.study.tell(trial, state=State.FAIL)
        lock.release()
        return None

    def _others(self, trial: Any) -> Sequence[Any]:
        return [other for other in self.trials() if other.number != trial.number]

    def _queued(self) -> list[Any]:
        return self._every(State.WAITING)

    def _queue_untried(self) -> None:
        """Let the next trial be one that was not tried; where there is no end of them a sampler does not repeat."""
        if combinations_of(self.settings) is not None:
            every = self._every()
            tried = {identity(trial.params) for trial in every}
            self.study.enqueue_trial(untried(self.settings, tried, len(every)))

    def _every(self, *states: Any) -> list[Any]:
        """All trials, or those of some states, as Optuna keeps them."""
        try:
            return list(self.study.get_trials(deepcopy=False, states=states or None))
        except StudyNotStored:
            raise
        except Exception as error:  # each library tells of what it cannot read in its own way
            raise self._damaged(_first_line(error)) from error

    def _damaged(self, problem: str) -> CheckpointError:
        return CheckpointError(f"holds a damaged study: {problem}", where=self.directory.path, fix=ANOTHER)

    def _lock(self, number: int) -> FileLock | None:
        """The lock of a trial; ``None`` where a living process holds it."""
        lock = FileLock(self.directory.trial_lock(number))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _note(self, claim: Claim, **facts: Any) -> None:
        for name, value in facts.items():
            claim.trial.set_user_attr(name, value)


def _opened(directory: SweepDirectory, settings: SweepSettings) -> Any:
    try:
        return optuna.create_study(
            storage=_storage(directory, settings), study_name="sweep", pruner=_pruner(settings), load_if_exists=True
        )
    except Exception as error:  # of sqlite, of JSON, of Optuna: each library tells a damaged file in its own way
        raise CheckpointError(
            f"holds a study that cannot be opened: {_first_line(error)}", where=directory.path, fix=ANOTHER
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _storage(directory: SweepDirectory, settings: SweepSettings) -> Any:
    if settings.storage == "sqlite":
        # By its path, not in a URL: a folder's name may hold what means something there, as % and ? do.
        path = str(directory.database.resolve())
        connect = partial(sqlite3.connect, path, timeout=60, check_same_thread=False)
        return optuna.storages.RDBStorage("sqlite:///study", engine_kwargs={"creator": connect})
    backend = optuna.storages.journal.JournalFileBackend(str(directory.journal), _JournalLock(directory))
    return optuna.storages.JournalStorage(backend)


class _JournalLock:
    """Optuna's own locks of a journal outlive a killed process by half a minute."""

    def __init__(self, directory: SweepDirectory) -> None:
        self._lock = FileLock(directory.journal_lock)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _sampler(settings: SweepSettings, seed: int) -> Any:
    if settings.sampler != "tpe":
        return optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Trials in other processes count as bad while they run, so that not all try the same.
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, constant_liar=True, seed=seed)


def _pruner(settings: SweepSettings) -> Any:
    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(STARTUP_TRIALS)
    if settings.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, settings.warmup_epochs))
    return optuna.pruners.NopPruner()

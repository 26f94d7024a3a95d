"""A sweep from its settings to its tables and its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointae.analysis.sweep.directory import SweepDirectory
from pointae.analysis.sweep.estimate import clock, epoch_seconds
from pointae.analysis.sweep.space import check_values, combinations_of, config_of
from pointae.analysis.sweep.study import State, SweepStudy
from pointae.analysis.sweep.tables import full_training, importances, save_tables, workbook_tables
from pointae.analysis.sweep.trials import run_trials, sweep_facts
from pointae.analysis.workbook import write_workbook
from pointae.config import RangeSettings, ScoreSettings, SweepSettings
from pointae.errors import PointaeError, worst
from pointae.terminal import console

Show = Callable[..., Path]
"""Of rows, keys, logarithmic keys, importances, score in words, path and title."""


def open_sweep(settings: SweepSettings, overrides: tuple[str, ...], out: Path) -> SweepStudy:
    """Make or join a sweep, and print how many configurations it has and about how long they take.

    Args:
        settings: of the sweep.
        overrides: of every trial's config, ``key=value``.
        out: its folder.

    Raises:
        ConfigError: a key or value that a config cannot have, or a search without end.
        CheckpointError: the folder holds a sweep with other settings.
        DataError: its events cannot be read.
    """
    check_values(settings, overrides)
    config = config_of(settings, {}, overrides)
    study = SweepStudy(SweepDirectory(out), settings, sweep_facts(settings, config))
    finished = study.finished()
    left = study.wanted() - len(finished)
    total = combinations_of(settings)
    console.print(
        f"{'no end of' if total is None else f'{total:,}'} configurations of {len(settings.parameters)} parameters, "
        f"{settings.sampler}; {study.wanted():,} trials, {len(finished):,} done, {left:,} left, "
        f"in {study.directory.path}"
    )
    known = [float(trial.user_attrs["seconds"]) for trial in finished if "seconds" in trial.user_attrs]
    if known:
        expected, why = left * sum(known) / len(known), f"{clock(sum(known) / len(known))} a trial so far"
    else:
        one = epoch_seconds(config)
        expected, why = left * config.train.epochs * one, f"{one:.1f} s an epoch of the config as it stands"
    console.print(
        f"up to {config.train.epochs} epochs a trial, {why}: about {clock(expected)} with one process, "
        "less where trials are pruned"
    )
    return study


def run_sweep(
    study: SweepStudy, overrides: tuple[str, ...], write_page: Show, draw: Show, xlsx: bool = False
) -> list[dict[str, Any]]:
    """Train what is left, and write tables, page and picture after each trial; returns the ranking.

    Args:
        study: of :func:`open_sweep`.
        overrides: as there.
        write_page: of the page, :func:`visual.pages.sweep.write_sweep_page`.
        draw: of the picture, :func:`visual.plots.sweep.draw_sweep`.
        xlsx: whether to write a spreadsheet too.

    Raises:
        KeyboardInterrupt, StorageError, DataError, UsageError: as :func:`~pointae.analysis.sweep.trials.run_trials`.
        PointaeError: trials failed and none was trained to its end; with the worst of their exit codes.
    """

    def save(now: SweepStudy) -> None:
        _save(now, write_page, draw, xlsx)

    try:
        run_trials(study, overrides, save)
    except KeyboardInterrupt:
        console.print("to go on: the same command once more")
        raise
    rows = _save(study, write_page, draw, xlsx)
    running = sum(row["state"] == "running" for row in rows)
    if running:
        console.print(f"{running} trials are still being trained by other processes")
    directory = study.directory
    files = [directory.ranking, directory.importances, directory.page, directory.picture]
    files += [directory.workbook] if xlsx else []
    console.print(f"saved in {directory.path}: {', '.join(path.name for path in files)}")
    _check_any(study)
    if rows and rows[0]["state"] == "complete":
        console.print(f"the best in full:  {full_training(study, rows[0], overrides)}")
    return rows


def _check_any(study: SweepStudy) -> None:
    done = study.finished()
    failed = [trial for trial in done if trial.state == State.FAIL]
    if failed and len(failed) == len(done):
        first = failed[0].user_attrs
        error = PointaeError(
            f"all {len(failed)} trials failed, the first of them: {first.get('reason')}", where=study.directory.path
        )
        error.exit_code = worst(trial.user_attrs.get("exit_code", 6) for trial in failed)
        raise error


def _save(study: SweepStudy, write_page: Show, draw: Show, xlsx: bool) -> list[dict[str, Any]]:
    rows = save_tables(study)
    settings, directory = study.settings, study.directory
    keys = [*settings.parameters]
    logarithmic = [key for key, value in settings.parameters.items() if isinstance(value, RangeSettings) and value.log]
    shares, score, title = importances(study), _in_words(settings.score), f"Sweep {directory.path.name}"
    write_page(rows, keys, logarithmic, shares, score, directory.page, title)
    draw(rows, keys, logarithmic, shares, score, directory.picture, title)
    if xlsx:
        write_workbook(directory.workbook, workbook_tables(study, rows))
    return rows


def _in_words(score: ScoreSettings) -> str:
    parts: Sequence[str] = [
        *([f"{score.a:g} {score.loss}"] if score.a > 0 else []),
        *([f"{1 - score.a:g} (1 - {score.f1})"] if score.a < 1 else []),
    ]
    return " + ".join(parts)

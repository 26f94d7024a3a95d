"""What a sweep came to: trials from best to worst, what matters, and the line that trains the best in full."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pointae.analysis.sweep.study import State, SweepStudy, optuna
from pointae.storage import write_table
from pointae.terminal import command_line

STATES = {State.COMPLETE: "complete", State.PRUNED: "pruned", State.FAIL: "failed", State.RUNNING: "running"}
SEED = 1
"""Of the trees that importances are read from."""


def ranking(study: SweepStudy) -> list[dict[str, Any]]:
    """A row a trial: finished ones by their score, equal ones in order; then pruned, running and failed ones.

    Returns:
        rows with ``rank`` (of finished ones), ``trial``, ``state``, ``score``, ``best_epoch``, ``loss`` and
        ``f1`` of that epoch under the names of their columns, ``epochs``, ``seconds``, ``parameters``, a column a
        searched key, and ``reason`` where one failed.
    """
    order = list(STATES)
    trials = sorted(study.trials(), key=lambda trial: (order.index(trial.state), _score(trial), trial.number))
    return [_row(study, trial, place) for place, trial in enumerate(trials, start=1)]


def importances(study: SweepStudy) -> dict[str, float]:
    """Share of the score's variance that each parameter explains, largest first; empty where trials are too few.

    Hutter et al. 2014 (fANOVA), over trials that were trained to the end.
    """
    finished = [trial for trial in study.finished() if trial.state == State.COMPLETE]
    varied = [key for key in study.settings.parameters if len({str(trial.params[key]) for trial in finished}) > 1]
    if len(finished) < 4 or not varied or len({trial.value for trial in finished}) == 1:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
        found = optuna.importance.get_param_importances(study.study, evaluator=evaluator, params=varied)
    return {key: float(value) for key, value in found.items()}


def save_tables(study: SweepStudy) -> list[dict[str, Any]]:
    """Write ``ranking.csv`` and ``importances.csv``; returns the ranking."""
    rows = ranking(study)
    write_table(study.directory.ranking, rows)
    shares = [{"parameter": key, "importance": value} for key, value in importances(study).items()]
    write_table(study.directory.importances, shares)
    return rows


def workbook_tables(study: SweepStudy, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The sheets of a spreadsheet: the ranking, the importances, and the scores by each parameter's values."""
    sheets: dict[str, list[Mapping[str, Any]]] = {"ranking": list(rows)}
    sheets["importances"] = [{"parameter": key, "importance": value} for key, value in importances(study).items()]
    done = [row for row in rows if row["state"] == "complete"]
    for key in study.settings.parameters:
        by_value = sorted(done, key=lambda row: (isinstance(row[key], str), row[key], row["score"]))
        sheets[key] = [{name: row[name] for name in (key, "score", "trial")} for row in by_value]
    return sheets


def full_training(study: SweepStudy, row: Mapping[str, Any], overrides: tuple[str, ...]) -> str:
    """What to type to train a row's configuration on all events."""
    fixed = [f"{key}={_typed(value)}" for key, value in study.settings.fixed.items()]
    own = [f"{key}={_typed(row[key])}" for key in study.settings.parameters]
    return command_line("train", study.settings.config, *fixed, *own, *overrides)


def _row(study: SweepStudy, trial: Any, place: int) -> dict[str, Any]:
    facts, score = trial.user_attrs, study.settings.score
    best = facts.get("best", {})
    return {
        "rank": place if trial.state == State.COMPLETE else "",
        "trial": trial.number,
        "state": STATES[trial.state],
        "score": best.get("score", ""),
        "best_epoch": best.get("epoch", ""),
        score.loss: _told(best.get("loss")),
        score.f1: _told(best.get("f1")),
        **{name: facts.get(name, "") for name in ("epochs", "seconds", "parameters")},
        **{key: trial.params.get(key, "") for key in study.settings.parameters},
        "reason": facts.get("reason", ""),
    }


def _score(trial: Any) -> float:
    return float(trial.user_attrs.get("best", {}).get("score", math.inf))


def _told(value: float | None) -> float | str:
    return "" if value is None or math.isnan(value) else value


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

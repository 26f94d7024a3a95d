"""Sweeps: every combination once, whoever trains it and whoever is killed; scores and tables as a slow truth gives."""

import contextlib
import csv
import itertools
import json
import math
import multiprocessing
import os
import re
import runpy
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointae import optional
from pointae.analysis.sweep import study as study_module
from pointae.analysis.sweep import trials as trials_module
from pointae.analysis.sweep.directory import SweepDirectory
from pointae.analysis.sweep.estimate import clock
from pointae.analysis.sweep.score import Best, best_epoch, trade_off
from pointae.analysis.sweep.session import open_sweep, run_sweep
from pointae.analysis.sweep.space import check_values, combinations_of, config_of, identity, untried, values_of
from pointae.analysis.sweep.study import State, SweepStudy
from pointae.analysis.sweep.tables import ranking
from pointae.analysis.sweep.trials import sweep_facts
from pointae.analysis.workbook import sheet_names, write_workbook
from pointae.config import RangeSettings, ScoreSettings, SweepSettings
from pointae.config_files import load_sweep
from pointae.errors import (
    CheckpointError,
    ComponentError,
    ConfigError,
    DataError,
    NonFiniteError,
    PointaeError,
    StorageError,
    UsageError,
)
from pointae.runs import RunDirectory
from visual.pages.sweep import write_sweep_page
from visual.plots.sweep import best_so_far, coordinates, draw_sweep

TINY = {
    "data.events.train": 32, "data.events.validation": 20, "data.source.noise": 20, "train.batch_size": 16,
    "train.epochs": 3, "train.precision": "fp32", "train.threads": 1, "train.device": "cpu", "evaluate.pictures": 2,
    "model.encoder.channels": 8, "model.encoder.rounds": 1,
}  # fmt: skip
GRID = {"model.latent.size": [2, 4], "train.learning_rate": [1e-3, 4e-3]}
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
NOT_SHOWN = (lambda *_: None, lambda *_: None)
"""Neither a page nor a picture."""
forks = pytest.mark.skipif(FORK is None, reason="kills need fork")


def sweep_of(parameters=None, **changes) -> SweepSettings:
    settings = {
        "config": "configs/torch/pointnet_point.yaml", "fixed": TINY, "parameters": parameters or GRID,
        "sampler": "grid", "pruner": "none", "score": {"f1": "roc_auc"}, "storage": "journal", **changes,
    }  # fmt: skip
    return SweepSettings.model_validate(settings)


def study_in(folder, settings=None) -> SweepStudy:
    return SweepStudy(SweepDirectory(folder), settings or sweep_of(), {"facts": 1})


def fake(score: float) -> Best:
    return Best(1, score, score, math.nan)


# ---- what can be tried ---------------------------------------------------------------------------------


def test_values_of_lists_and_ranges():
    assert values_of(["adamw", {"name": "set"}, [1, 2]]) == ["adamw", '{"name": "set"}', "[1, 2]"]
    assert values_of(RangeSettings(low=2, high=5)) == [2, 3, 4, 5]
    assert values_of(RangeSettings(low=8, high=40, step=8)) == [8, 16, 24, 32, 40]
    assert values_of(RangeSettings(low=0.1, high=0.7, step=0.2)) == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert values_of(RangeSettings(low=1e-4, high=1e-2, log=True)) is None


def test_every_combination_is_found_once():
    settings = sweep_of({**GRID, "train.batch_size": [8, 16, 32]})
    assert combinations_of(settings) == 12
    tried = set()
    for number in range(12):
        tried.add(identity(untried(settings, tried, number)))
    truth = itertools.product(*(sorted(values) for values in settings.parameters.values()))
    assert tried == {identity(dict(zip(settings.parameters, values, strict=True))) for values in truth}
    with pytest.raises(ConfigError, match="every combination was tried"):
        untried(settings, tried, 12)
    assert combinations_of(sweep_of({"train.weight_decay": RangeSettings(low=0.0, high=1.0)})) is None


def test_a_combination_becomes_a_config():
    settings = sweep_of(
        {"train.loss": [{"name": "bce"}, {"name": "focal"}], "train.learning_rate": [1e-3]},
        fixed={**TINY, "train.loss": {"name": "weighted_sum", "terms": [{"name": "bce"}, {"name": "focal"}]}},
    )
    chosen = {"train.loss": '{"name": "focal"}', "train.learning_rate": 1e-3}
    assert config_of(settings, chosen).train.loss.name == "focal"
    names = sweep_of({"name": ["[red]", "{", [1], "plain"]})
    assert [config_of(names, {"name": value}).name for value in ("[red]", "{", "plain")] == ["[red]", "{", "plain"]
    one = config_of(settings, {"train.loss.terms.1.weight": 0.25})
    assert [(term.name, term.weight) for term in one.train.loss.terms] == [("bce", 1.0), ("focal", 0.25)]
    assert config_of(settings, {}, ("train.epochs=7",)).train.epochs == 7
    assert config_of(settings.model_copy(update={"subset": 0.25}), {}).data.events.train == 8


@pytest.mark.parametrize(
    ("parameters", "changes", "message"),
    [
        ({"train.learning_rat": [1e-3]}, {}, "unknown key 'train.learning_rat'.*learning_rate"),
        ({"train.batch_size": [0, 8]}, {}, "train.batch_size.*greater than or equal to 1"),
        ({"train.weight_decay": {"low": -1.0, "high": 1.0}}, {"sampler": "tpe", "trials": 3}, "weight_decay"),
        ({"train.weight_decay": {"low": 0.1, "high": 1.0}}, {}, "no end of combinations.*give it a step"),
        ({"train.weight_decay": {"low": 0.1, "high": 1.0}}, {"sampler": "tpe"}, "no end of.*--max-trials"),
        ({"seed": [1, 2]}, {"config": "configs/torch/pointnet_poin.yaml"}, "no such config.*pointnet_point"),
    ],
)
def test_what_a_config_cannot_have_is_told_first(parameters, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_values(sweep_of(parameters, **changes))


def test_what_is_searched_cannot_be_overridden():
    with pytest.raises(ConfigError, match=r"'train.learning_rate' is what is searched"):
        check_values(sweep_of(), ("train.learning_rate=1",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: a.yaml", "'parameters' is missing"),
        ("config: a.yaml\nparameters: {}", "'parameters'.*at least 1"),
        ("config: a.yaml\nparameters: {seed: []}", "'parameters.seed.*at least 1"),
        ("config: a.yaml\nparameters: {seed: {low: 3, high: 1}}", "from low to high"),
        ("config: a.yaml\nparameters: {seed: {low: 0, high: 1, log: true}}", "starts above 0"),
        ("config: a.yaml\nparameters: {seed: {low: 0, hihg: 1}}", "hihg|high"),
        ("config: a.yaml\nparameters: {seed: [1]}\nsampler: bayes", "'sampler'.*grid.*bayes"),
        ("config: a.yaml\nparameters: {seed: [1]}\nprunner: none", "unknown key 'prunner'.*did you mean 'pruner'"),
        ("config: a.yaml\nparameters: {seed: [1]}\nscore: {a: 2}", "score.a"),
        ("config: a.yaml\nparameters: {seed: [1]}\ntrials: 0", "trials"),
    ],
)
def test_a_wrong_sweep_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_sweep(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- the score -----------------------------------------------------------------------------------------


def test_the_trade_off_is_its_formula():
    row = {"epoch": 1.0, "validation_loss": 2.0, "category_f1": 0.9}
    assert trade_off(row, ScoreSettings()) == pytest.approx(0.7 * 2.0 + 0.3 * 0.1)
    assert trade_off({"validation_loss": 2.0}, ScoreSettings(a=1.0)) == 2.0
    assert trade_off({"category_f1": 0.9}, ScoreSettings(a=0.0)) == pytest.approx(0.1)
    with pytest.raises(UsageError, match=r"score.f1: unknown column .*'category_f1'.*did you mean 'category_f2'"):
        trade_off({"validation_loss": 2.0, "category_f2": 1.0}, ScoreSettings())


def test_the_best_epoch_is_the_first_minimum():
    rows = [{"epoch": i + 1.0, "validation_loss": loss} for i, loss in enumerate([3.0, math.nan, 1.0, 2.0, 1.0])]
    best = best_epoch(rows, ScoreSettings(a=1.0))
    assert (best.epoch, best.score, best.loss) == (3, 1.0, 1.0)
    assert math.isnan(best.f1)
    assert best_epoch(rows[1:2], ScoreSettings(a=1.0)) is None
    assert best_epoch([], ScoreSettings()) is None


# ---- who trains what -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "storage"), [("grid", "sqlite"), ("random", "journal"), ("tpe", "journal")])
def test_nothing_is_tried_twice_and_nothing_left_out(tmp_path, sampler, storage):
    settings = sweep_of(sampler=sampler, storage=storage)
    found = []
    for _ in range(4):
        study = study_in(tmp_path, settings)  # opened anew each time, as after a stop
        claim = study.claim()
        found.append(identity(claim.trial.params))
        study.complete(claim, fake(float(len(found))))
        claim.release()
    assert study_in(tmp_path, settings).claim() is None
    assert len(set(found)) == 4
    assert len(study.trials()) == 4


def test_a_sampler_goes_on_as_if_never_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "STARTUP_TRIALS", 3)
    settings = sweep_of({"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}, sampler="tpe", trials=6)

    def drawn(folder, again: bool) -> list[float]:
        study, values = study_in(folder, settings), []
        for _ in range(6):
            study = study_in(folder, settings) if again else study
            claim = study.claim()
            values.append(claim.trial.params["train.learning_rate"])
            study.complete(claim, fake(abs(math.log10(values[-1]) + 3)))
            claim.release()
        return values

    values = drawn(tmp_path / "one", again=False)
    assert values == drawn(tmp_path / "two", again=True)
    assert len(set(values)) == 6


def work(folder, count) -> None:
    study = study_in(folder, sweep_of({"seed": list(range(12))}, storage="sqlite"))
    while (claim := study.claim()) is not None:
        time.sleep(0.01)
        study.complete(claim, fake(claim.trial.params["seed"]), worker=count)
        claim.release()


@forks
def test_several_processes_share_a_study(tmp_path):
    study_in(tmp_path, sweep_of({"seed": list(range(12))}, storage="sqlite"))
    workers = [FORK.Process(target=work, args=(tmp_path, count)) for count in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    trials = study_in(tmp_path, sweep_of({"seed": list(range(12))}, storage="sqlite")).trials()
    assert sorted(trial.params["seed"] for trial in trials) == list(range(12))
    assert {trial.state for trial in trials} == {State.COMPLETE}


def claim_and_die(folder) -> None:
    study_in(folder).claim()
    os.kill(os.getpid(), signal.SIGKILL)


def die_between_asking_and_choosing(folder) -> None:
    study_module.suggest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    study_in(folder).claim()


@forks
@pytest.mark.parametrize("death", [claim_and_die, die_between_asking_and_choosing])
def test_the_trial_of_a_killed_process_is_taken_over(tmp_path, death):
    mine = study_in(tmp_path)
    first = mine.claim()  # a living process keeps its own
    child = FORK.Process(target=death, args=(tmp_path,))
    child.start()
    child.join(600)
    assert child.exitcode == -signal.SIGKILL
    other = study_in(tmp_path)
    taken = other.claim()
    assert taken.trial.number == first.trial.number + 1
    assert set(taken.trial.params) == set(GRID)
    assert identity(taken.trial.params) != identity(first.trial.params)
    assert len(other.trials()) == 2


def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    study_in(tmp_path)
    changed = SweepStudy(SweepDirectory(tmp_path), sweep_of(), {"facts": 3})  # nothing was trained yet
    changed.claim()
    with pytest.raises(CheckpointError, match=r"other settings: facts.*--out"):
        SweepStudy(SweepDirectory(tmp_path), sweep_of(), {"facts": 2})


@pytest.mark.parametrize(("storage", "name"), [("sqlite", "study.db"), ("journal", "study.journal")])
def test_a_damaged_study_is_one_line(tmp_path, storage, name):
    (tmp_path / name).write_bytes(b"nothing that could be a study\n" * 50)
    with pytest.raises(CheckpointError, match=r"holds a study that cannot be opened: .*--out") as caught:
        study_in(tmp_path, sweep_of(storage=storage))
    assert "\n" not in str(caught.value)


TOO_DEEP = '{"choices": ' + "[" * 5000 + "]" * 5000 + "}"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'best'",
        """UPDATE trial_user_attributes SET value_json = '{"epoch": 1, "score": "x"}' WHERE key = 'best'""",
        "UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'best'",
        """INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, 'seconds', '"long"')""",
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, 'exit_code', '0')",
        "UPDATE trial_params SET distribution_json = 'words'",
        f"UPDATE trial_params SET distribution_json = '{TOO_DEEP}'",
        "UPDATE trial_params SET param_value = 99",
        "UPDATE trials SET state = 'LOST'",
        "DELETE FROM trial_params WHERE param_name = 'model.latent.size'",
        "DROP TABLE trial_params",
    ],
)
def test_wrong_values_in_a_study_are_one_line(tmp_path, change):
    settings = sweep_of(storage="sqlite")
    study = study_in(tmp_path, settings)
    claim = study.claim()
    study.complete(claim, fake(0.5), epochs=3)
    claim.release()
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute(change)
        database.commit()
    with pytest.raises(
        CheckpointError, match=r"holds a (damaged study|study that cannot be opened): .*--out"
    ) as caught:
        ranking(study_in(tmp_path, settings))
    assert "\n" not in str(caught.value)


def test_a_study_that_cannot_be_kept_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(trials_module, "train_run", pretend(lambda config, epoch: 1.0))
    study = SweepStudy(SweepDirectory(tmp_path), sweep_of(), {})

    def full(*_, **__):
        raise study_module.StudyNotStored from OSError(28, "No space left on device")

    monkeypatch.setattr(study, "complete", full)
    with pytest.raises(StorageError, match=r"the study cannot be kept: .*No space left"):
        run_sweep(study, (), *NOT_SHOWN)
    assert [trial.state for trial in study.trials()] == [State.RUNNING]  # gone on with the next time


def test_more_trials_may_be_asked_for_later(tmp_path):
    for trials, expected in ((1, 1), (3, 2)):
        study, count = study_in(tmp_path, sweep_of(trials=trials)), 0
        while (claim := study.claim()) is not None:
            study.complete(claim, fake(0.5))
            claim.release()
            count += 1
        assert count == expected


# ---- training ----------------------------------------------------------------------------------------------


def test_a_trial_that_diverges_ends_itself_and_not_the_study(tmp_path, capsys):
    settings = sweep_of({"train.learning_rate": [1e30, 1e-3]}, fixed={**TINY, "train.epochs": 1})
    study, rows = swept(tmp_path, settings, show=NOT_SHOWN)
    assert [(row["train.learning_rate"], row["state"]) for row in rows] == [(1e-3, "complete"), (1e30, "failed")]
    assert "is not finite" in rows[1]["reason"]
    assert RunDirectory.open(study.directory.trials / study.directory.trial_name(rows[1]["trial"])).status == "diverged"
    assert study.claim() is None  # neither is tried again
    assert "failed: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFiniteError("the loss"), 6),
        (ConfigError("a width"), 2),
        (DataError("no events"), 3),
        (MemoryError(), 5),
        (ZeroDivisionError("[/x]"), 1),
    ],
)
def test_a_sweep_of_failures_ends_with_their_code_and_the_trials_are_done(tmp_path, monkeypatch, error, code):
    def losses(config, epoch):
        raise error

    monkeypatch.setattr(trials_module, "train_run", pretend(losses))
    for _ in range(2):  # the same when it is gone on with
        with pytest.raises(PointaeError, match="all 2 trials failed") as caught:
            swept(tmp_path, sweep_of({"seed": [1, 2]}), show=NOT_SHOWN)
        assert caught.value.exit_code == code
    study = SweepStudy(SweepDirectory(tmp_path), sweep_of({"seed": [1, 2]}), {})
    assert [trial.state for trial in study.trials()] == [State.FAIL] * 2
    monkeypatch.undo()


@pytest.mark.parametrize("error", [StorageError("disk full"), OSError(28, "No space left"), UsageError("no column")])
def test_what_every_trial_would_meet_stops_the_sweep_and_leaves_the_trial_open(tmp_path, monkeypatch, error):
    def losses(config, epoch):
        raise error

    monkeypatch.setattr(trials_module, "train_run", pretend(losses))
    with pytest.raises(type(error)):
        swept(tmp_path, sweep_of({"seed": [1, 2]}), show=NOT_SHOWN)
    study = SweepStudy(SweepDirectory(tmp_path), sweep_of({"seed": [1, 2]}), {})
    assert [trial.state for trial in study.trials()] == [State.RUNNING]


def test_data_that_is_gone_is_of_all_trials(tmp_path, monkeypatch):
    def losses(config, epoch):
        raise DataError("no such file")

    monkeypatch.setattr(trials_module, "train_run", pretend(losses))
    gone = {**TINY, "data.source": {"kind": "files", "paths": [str(tmp_path / "gone.h5")]}}
    del gone["data.source.noise"]
    with pytest.raises(DataError, match="no such file"):
        swept(tmp_path, sweep_of({"seed": [1, 2]}, fixed=gone), show=NOT_SHOWN)


def pretend(losses):
    """A training that only writes ``metrics.csv``: a function of the config gives the loss of each epoch."""

    def train(config, parent, draw=None, command=None):
        run = RunDirectory.create(parent, config.name)
        run.write_config("")
        run.update_record(parameters=5)
        rows = []
        for epoch in range(1, config.train.epochs + 1):
            rows.append({"epoch": epoch, "seconds": 1.0, "validation_loss": losses(config, epoch), "roc_auc": 0.5})
            run.write_metrics(rows)
            draw(run)
        return run

    return train


def swept(folder, settings, show=(write_sweep_page, draw_sweep), **options):
    study = SweepStudy(SweepDirectory(folder), settings, {})
    return study, run_sweep(study, (), *show, **options)


def test_the_ranking_is_by_score_and_says_what_failed(tmp_path, monkeypatch):
    def losses(config, epoch):
        if config.seed == 3:
            raise NonFiniteError("the loss is not finite")
        return math.nan if config.seed == 4 else abs(config.seed - 2) + 1 / epoch

    monkeypatch.setattr(trials_module, "train_run", pretend(losses))
    settings = sweep_of({"seed": [1, 2, 3, 4, 5]}, score={"a": 1.0})
    study, rows = swept(tmp_path, settings, xlsx=True)
    assert [(row["rank"], row["seed"], row["state"]) for row in rows[:3]] == [
        (1, 2, "complete"), (2, 1, "complete"), (3, 5, "complete")
    ]  # fmt: skip
    assert rows[0]["score"] == pytest.approx(1 / 3)
    assert (rows[0]["best_epoch"], rows[0]["seconds"], rows[0]["parameters"]) == (3, 3.0, 5)
    reasons = {row["seed"]: row["reason"] for row in rows if row["state"] == "failed"}
    assert reasons == {3: "the loss is not finite", 4: "its score is not a number"}
    with study.directory.ranking.open() as file:
        written = list(csv.DictReader(file))
    assert [int(row["seed"]) for row in written] == [row["seed"] for row in rows]
    assert study.directory.picture.read_bytes().startswith(b"\x89PNG")
    page = study.directory.page.read_text()
    assert "train.learning_rate" not in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=['\"]https?:", page)
    with zipfile.ZipFile(study.directory.workbook) as book:
        names = re.findall(r'sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
    assert names == ["ranking", "importances", "seed"]
    assert swept(tmp_path, settings)[1] == rows  # nothing is left to train


def test_coordinates_of_trials_lie_where_their_values_are():
    """A place for each of a few values, a scale for many, a logarithmic one where it was searched so."""
    rates = [1e-3, 2e-3, 4e-3, 5e-3, 1e-2, 2e-2, 1e-1]
    rows = [
        {"trial": number, "state": "complete", "score": 7.0 - number, "rate": rate, "weight": 10.0 * number,
         "kind": ["adam", "sgd"][number % 2]}
        for number, rate in enumerate(rates)
    ]  # fmt: skip
    rows.append({"trial": 7, "state": "pruned", "score": 9.0, "rate": 1.0, "weight": 0.0, "kind": "rmsprop"})
    score, rate, weight, kind = coordinates(rows, ["rate", "weight", "kind"], ["rate"])
    assert list(score.places) == [7, 6, 5, 4, 3, 2, 1]
    assert rate.places == pytest.approx([math.log10(value) for value in rates])
    assert [text for _, text in rate.marks] == ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1"]
    assert weight.ends == (0, 60)
    assert (0.0, "0") in list(weight.marks)
    assert kind.places == [0, 1, 0, 1, 0, 1, 0]
    assert [text for _, text in kind.marks] == ["adam", "sgd"]
    assert all(axis.ends[0] <= min(axis.places) and max(axis.places) <= axis.ends[1] for axis in (rate, weight, kind))
    assert best_so_far([{**rows[0], "score": 2.0}, *rows[1:3]]) == ([0, 1, 2], [2.0, 2.0, 2.0])
    assert coordinates(rows[-1:], ["rate"], []) == []


def test_a_sweep_without_a_finished_trial_is_drawn(tmp_path):
    rows = [{"trial": 0, "state": "failed", "score": "", "seed": 1}]
    assert draw_sweep(rows, ["seed"], [], {}, "validation_loss", tmp_path / "sweep.png", "Sweep").is_file()


def test_hopeless_trials_are_pruned(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "STARTUP_TRIALS", 1)
    monkeypatch.setattr(trials_module, "train_run", pretend(lambda config, epoch: config.seed - epoch / 10))
    settings = sweep_of({"seed": [1, 2, 3, 4]}, score={"a": 1.0}, pruner="median", warmup_epochs=1, seed=1)
    study, rows = swept(tmp_path, settings)
    states = {row["seed"]: (row["state"], row["epochs"]) for row in rows}
    assert states[1] == ("complete", 3)
    pruned = [seed for seed, state in states.items() if state == ("pruned", 2)]
    assert pruned
    assert all(RunDirectory.open(study.directory.trials / f"trial-{row['trial']:04d}").record.status == "pruned"
               for row in rows if row["state"] == "pruned")  # fmt: skip
    # A pruned trial was worse than the median of those finished before it.
    by_number = sorted(rows, key=lambda row: row["trial"])
    for place, row in enumerate(by_number):
        before = sorted(other["seed"] for other in by_number[:place] if other["state"] == "complete")
        worse = bool(before) and row["seed"] > (before[(len(before) - 1) // 2] + before[len(before) // 2]) / 2
        assert (row["state"] == "pruned") == worse


def train_sweep(folder, die_at=None) -> None:
    """A real sweep of four tiny trainings in this process, which kills itself at a place ``(trial, epoch)``."""
    if die_at is not None:
        watch_of = trials_module._watch

        def watch(study, claim):
            shown = watch_of(study, claim)

            def show(run):
                shown(run)
                if (claim.trial.number, len(run.metrics_path.read_text().splitlines()) - 1) == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

            return show

        trials_module._watch = watch
    study = open_sweep(sweep_of(), (), folder)
    if die_at == "untold":
        study.complete = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    run_sweep(study, (), *NOT_SHOWN)


def without_seconds(path) -> list[dict]:
    with path.open() as file:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


@forks
def test_a_sweep_killed_by_sigkill_ends_as_one_that_was_not(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    train_sweep(whole)  # first, so that the children find everything imported
    for die_at in ((1, 2), "untold", None):
        child = FORK.Process(target=train_sweep, args=(killed, die_at))
        child.start()
        child.join(600)
        assert child.exitcode == (0 if die_at is None else -signal.SIGKILL)
    rows = without_seconds(SweepDirectory(killed).ranking)
    assert rows == without_seconds(SweepDirectory(whole).ranking)
    assert len({(row["model.latent.size"], row["train.learning_rate"]) for row in rows}) == len(rows) == 4
    for number in range(4):
        one, other = (RunDirectory.open(folder / "trials" / f"trial-{number:04d}") for folder in (killed, whole))
        assert one.weights().read_bytes() == other.weights().read_bytes()
        assert without_seconds(one.metrics_path) == without_seconds(other.metrics_path)
    assert sorted(path.name for path in (killed / "trials").glob("trial-*")) == [f"trial-{n:04d}" for n in range(4)]


@pytest.mark.slow
def test_the_tool_killed_again_and_again_ends_with_each_configuration_once(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    fixed = {**TINY, "train.epochs": 6, "data.events.train": 2000}
    settings = {"config": os.path.abspath("configs/torch/pointnet_point.yaml"), "fixed": fixed, "parameters": GRID}
    sweep.write_text(json.dumps({**settings, "sampler": "grid", "score": {"f1": "roc_auc"}}))
    command = [sys.executable, "tools/sweep.py", str(sweep), "--out", str(tmp_path / "out")]
    for seconds in (9, 11, 13):
        tool = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        tool.kill()
        tool.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the best in full:" in done.stdout
    rows = without_seconds(tmp_path / "out" / "ranking.csv")
    assert {row["state"] for row in rows} == {"complete"}
    assert len({(row["model.latent.size"], row["train.learning_rate"]) for row in rows}) == len(rows) == 4


def test_running_trials_of_others_are_listed(tmp_path):
    study = study_in(tmp_path)
    study.claim()
    assert [row["state"] for row in ranking(study)] == ["running"]


# ---- what is told ------------------------------------------------------------------------------------------


def test_times_are_told_as_a_clock():
    assert [clock(s) for s in (0.4, 59.6, 2400, 36061)] == ["0:00:00", "0:01:00", "0:40:00", "10:01:01"]


@given(st.lists(st.text(max_size=50), max_size=12))
def test_sheet_names_are_legal_and_unique(titles):
    names = sheet_names(titles)
    assert len(names) == len(titles)
    assert len({name.lower() for name in names} - {"history"}) == len(names)
    for name in names:
        assert 1 <= len(name) <= 31
        assert not set(name) & set("[]:*?/\\")
        assert name.strip("'") == name


def test_a_workbook_takes_any_titles_and_numbers(tmp_path):
    title = "train.loss.options.a_very_long_parameter/with:signs"
    write_workbook(tmp_path / "a.xlsx", {title: [{"=1+1": math.nan, "b": 2}], title + "!": [], "'": [{"c": "=2"}]})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        names = re.findall(r'sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
        assert "<f>" not in book.read("xl/worksheets/sheet3.xml").decode()
    assert names == ["train.loss.options.a_very_long_", "train.loss.options.a_very_l (2)", "sheet"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-trials", "0"], r"command line: 'trials': .*greater than or equal to 1, got 0"),
        (["--subset", "1.5"], r"argument --subset: must be a number from 0 to 1, got '1.5'"),
        (["train.epoch=3"], r"override 'train.epoch=3': unknown key 'train.epoch'.*epochs"),
    ],
)
def test_a_wrong_word_of_the_command_is_told(tmp_path, options, message):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(json.dumps({"config": os.path.abspath("configs/torch/pointnet_point.yaml"), "parameters": GRID}))
    with pytest.raises(UsageError, match=message):
        runpy.run_path("tools/sweep.py")["main"]([str(sweep), "--out", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_optuna_that_is_missing_is_one_line(tmp_path, monkeypatch):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(json.dumps({"config": os.path.abspath("configs/torch/pointnet_point.yaml"), "parameters": GRID}))
    monkeypatch.setattr(optional, "is_installed", lambda name: name != "optuna")
    with pytest.raises(ComponentError, match=r"optuna is not installed \(pip install -e '.\[sweep\]'") as caught:
        runpy.run_path("tools/sweep.py")["main"]([str(sweep)])
    assert caught.value.exit_code == 7


def test_the_tool_says_how_many_and_how_long(tmp_path, capsys):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(json.dumps({"config": os.path.abspath("configs/torch/pointnet_point.yaml"), "fixed": TINY,
                                 "parameters": GRID, "sampler": "grid"}))  # fmt: skip
    main = runpy.run_path("tools/sweep.py")["main"]
    main([str(sweep), "--dry-run", "--max-trials", "3", "--subset", "0.5", "--out", str(tmp_path / "out")])
    told = " ".join(capsys.readouterr().out.split())
    assert "4 configurations of 2 parameters, grid; 3 trials, 0 done, 3 left" in told
    assert re.search(r"up to 3 epochs a trial, .* s an epoch .*about 0:00:\d\d with one process", told)
    study = SweepStudy(
        SweepDirectory(tmp_path / "done"), sweep_of(), sweep_facts(sweep_of(), config_of(sweep_of(), {}))
    )
    claim = study.claim()
    study.complete(claim, fake(1.0), seconds=40.0)
    claim.release()
    open_sweep(sweep_of(), (), tmp_path / "done")
    assert "1 done, 3 left" in " ".join((told := capsys.readouterr().out).split())
    assert "0:00:40 a trial so far: about 0:02:00 with one process" in " ".join(told.split())

"""Checkpoints whose digests are right and whose content is wrong: passed over for the one before, in one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
import torch
from calls import refused
from spoilt_files import rewritten

from pointae.config_files import load_config
from pointae.runs import RunDirectory
from pointae.training.checkpoint import load_checkpoint
from pointae.training.facts import MOMENTS
from pointae.training.session import resume_run, train_run


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory) -> RunDirectory:
    """A run of two epochs, and so with two checkpoints."""
    small = [
        "data.events.train=32", "data.events.validation=20", "train.epochs=2", "train.precision=fp32",
        "evaluate.pictures=2", "model.encoder.channels=8", "model.encoder.layers=1", "model.encoder.heads=2",
        "model.latent.size=8", "train.schedule=constant", "name=two",
    ]  # fmt: skip
    return train_run(load_config("configs/demo.yaml", small), tmp_path_factory.mktemp("two"))


@pytest.fixture
def stopped(two_epochs, tmp_path) -> RunDirectory:
    """A copy of it."""
    shutil.copytree(two_epochs.path, tmp_path / "two")
    return RunDirectory(tmp_path / "two")


def set_fact(name: str, value: object) -> Callable[[dict, dict], None]:
    def change(state: dict, facts: dict) -> None:
        if value is ...:
            del facts[name]
        else:
            facts[name] = value

    return change


def in_config(change: Callable[[dict], object]) -> Callable[[dict, dict], None]:
    return lambda state, facts: change(facts["config"])


def set_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[dict, dict], None]:
    def spoil(state: dict, facts: dict) -> None:
        for key in [key for key in state if key.startswith(name)]:
            value = change(state.pop(key))
            if value is not None:
                state[key] = value

    return spoil


def renamed(old: str, new: str) -> Callable[[dict, dict], None]:
    def spoil(state: dict, facts: dict) -> None:
        for key in [key for key in state if key.startswith("optimiser.") and key.endswith(f".{old}")]:
            state[key.removesuffix(old) + new] = state.pop(key)

    return spoil


def spoilt_value(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.float().fill_(value)


SPOILT = {
    "no facts": lambda state, facts: {},
    "facts a list": lambda state, facts: [],
    "no epoch": set_fact("epoch", ...),
    "epoch text": set_fact("epoch", "2"),
    "epoch huge": set_fact("epoch", 10**9),
    "epoch 0": set_fact("epoch", 0),
    "epoch of another": set_fact("epoch", 1),
    "rows text": set_fact("rows", "rows"),
    "rows none": set_fact("rows", []),
    "rows null": set_fact("rows", None),
    "a row of text": lambda state, facts: facts["rows"][0].update(validation_loss="low"),
    "a row short": lambda state, facts: facts["rows"][1].pop("validation_loss") and None,
    "rows twice": lambda state, facts: facts["rows"].reverse(),
    "no config": set_fact("config", ...),
    "config null": set_fact("config", None),
    "config of another version": in_config(lambda config: config.update(later=1)),
    "config text": in_config(lambda config: config.update(train="x")),
    "no versions": set_fact("versions", ...),
    "no data": set_fact("data", ...),
    "data text": set_fact("data", "x"),
    "grid wrong": lambda state, facts: facts["data"].update(grid={"spatial_shape": [0, 1, 2]}),
    "steps -1": set_fact("steps", -1),
    "steps 10^12": set_fact("steps", 10**12),
    "steps text": set_fact("steps", "4"),
    "no steps": set_fact("steps", ...),
    "skipped text": set_fact("skipped", "x"),
    "averaged -1": set_fact("averaged", -1),
    "scaler text": set_fact("scaler", "x"),
    "scaler of others": set_fact("scaler", {"scale": 1.0}),
    "bests text": set_fact("bests", "x"),
    "bests none": set_fact("bests", {}),
    "best later": set_fact("bests", {"loss": {"epoch": 9, "value": 0.1}}),
    "best without loss": set_fact("bests", {"f1": {"epoch": 1, "value": 0.1}}),
    "outputs text": set_fact("outputs", [{"low": "x"}]),
    "no rng": set_tensor("rng.", lambda value: None),
    "rng short": set_tensor("rng.cpu", lambda value: value[:100].clone()),
    "rng of floats": set_tensor("rng.cpu", lambda value: value.float()),
    "rng of zeros": set_tensor("rng.cpu", torch.zeros_like),
    "another optimiser's names": renamed("exp_avg_sq", "square_avg"),
    "momenta of another": renamed("exp_avg", "momentum_buffer"),
    "a parameter of another": lambda state, facts: state.update({"optimiser.other.step": torch.zeros(())}),
    "a moment less": lambda state, facts: state.pop(next(key for key in state if key.endswith(".exp_avg"))) is None,
    "moments short": set_tensor("optimiser.", lambda value: value.reshape(-1)[:1].clone()),
    "moments nan": set_tensor("optimiser.", spoilt_value(float("nan"))),
    "moments below 0": set_tensor("optimiser.", spoilt_value(-1.0)),
    "model nan": set_tensor("model.", spoilt_value(float("nan"))),
    "model inf": set_tensor("model.", spoilt_value(float("inf"))),
    "no model": set_tensor("model.", lambda value: None),
    "no best": set_tensor("best_loss.", lambda value: None),
    "best of another": set_tensor("best_loss.", lambda value: value.reshape(-1).clone()),
    "average of another": lambda state, facts: state.update({"average.other": torch.zeros(1)}),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_a_wrong_checkpoint_is_passed_over_for_the_one_before(stopped, capsys, change):
    path = stopped.checkpoint_path(2)

    def spoil(state, facts):
        made = change(state, facts)
        return made if isinstance(made, dict | list) else None

    rewritten(path, spoil)
    assert load_checkpoint(stopped).epoch == 1
    told = capsys.readouterr().err
    assert "warning: " in told
    assert "epoch-0002.safetensors: " in told
    assert "falling back to the checkpoint before" in told
    assert told.count("\n") == 1
    stopped.checkpoint_path(1).unlink()
    told_again = refused(lambda: load_checkpoint(stopped))
    assert "no readable checkpoint to resume from" in told_again
    assert "epoch-0002.safetensors: " in told_again  # the one line says which and why
    assert capsys.readouterr().err == ""


def test_the_training_goes_on_from_it_to_the_same_bits(stopped, two_epochs):
    def spoil(state, facts):
        state[next(key for key in state if key.startswith("model."))].view(-1)[0] = float("nan")

    rewritten(stopped.checkpoint_path(2), spoil)
    resume_run(stopped.path)
    assert stopped.weights("last").read_bytes() == two_epochs.weights("last").read_bytes()
    assert stopped.predictions().read_bytes() == two_epochs.predictions().read_bytes()
    assert "no checkpoint of epoch 9" in refused(lambda: resume_run(stopped.path, epoch=9))


def test_a_name_decides_no_more_than_the_content(stopped, capsys):
    first, second = stopped.checkpoint_path(1), stopped.checkpoint_path(2)
    for name in (
        "epoch-foo1",
        "epoch-0003-2",
        "epoch-²5",
        "epoch-3",
        "epoch-00004",
        "epoch--005",
        "epoch-" + "9" * 200,
    ):
        shutil.copy(first, first.with_name(f"{name}.safetensors"))
    assert list(stopped.checkpoints()) == [2, 1]
    assert load_checkpoint(stopped).epoch == 2
    told = capsys.readouterr().err
    assert told.count("is not named as a checkpoint is, and is passed over\n") == 7
    for path in stopped.other_checkpoints():
        path.unlink()
    shutil.copy(first, stopped.checkpoint_path(7))
    shutil.copy(first, second)
    os.mkfifo(stopped.checkpoint_path(9))
    stopped.checkpoint_path(8).mkdir()
    assert load_checkpoint(stopped).epoch == 1
    told = capsys.readouterr().err
    assert "epoch-0007.safetensors: is the checkpoint of epoch 1, whatever its name says" in told
    assert "epoch-0002.safetensors: is the checkpoint of epoch 1" in told
    assert "is the checkpoint of epoch 1" in refused(lambda: resume_run(stopped.path, epoch=2))


def test_the_best_by_a_criterion_that_was_not_kept_is_refused(stopped):
    assert "train.best" in refused(lambda: resume_run(stopped.path, ["train.best=f1"]), 2)


def test_the_optimiser_changed_by_force_begins_anew(stopped):
    for optimiser in MOMENTS:
        resume_run(stopped.path, ["train.epochs=3", f"train.optimiser={optimiser}"], force=True, epoch=2)
        assert load_checkpoint(stopped).facts["config"]["train"]["optimiser"] == optimiser
        assert load_checkpoint(stopped).epoch == 3


def test_more_steps_than_a_schedule_has_are_refused(stopped):
    words = ["train.schedule=one_cycle", "train.batch_size=32"]
    assert "more than the 1 of its schedule" in refused(
        lambda: resume_run(stopped.path, [*words, "train.epochs=1"], force=True)
    )

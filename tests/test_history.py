"""The best of a training's epochs, when it stops for want of better ones, and what the loss of an epoch is made of."""

import csv
import math

import pytest
import torch

from pointae.config import TrainSettings
from pointae.config_files import load_config
from pointae.data.events import EventData
from pointae.errors import ConfigError
from pointae.losses import total
from pointae.training.checkpoint import load_checkpoint
from pointae.training.history import History
from pointae.training.objective import alignment_error, make_loss
from pointae.training.session import build_model, resume_run, train_run
from pointae.weights import load_state

TINY = [
    "data.source.robots=120", "model.encoder.channels=16", "model.encoder.layers=1", "model.decoder.hidden=16",
    "model.decoder.code_hidden=16", "model.latent.size=4", "train.batch_size=32", "train.epochs=3", "train.threads=1",
]  # fmt: skip


def robot_config(*overrides):
    return load_config("configs/robots/attention_set.yaml", [*TINY, *overrides])


def history_of(losses, scores, criterion="loss"):
    history = History(criterion)
    for epoch, (loss, f1) in enumerate(zip(losses, scores, strict=True), start=1):
        model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, epoch)
        history.add({"epoch": epoch, "validation_loss": loss, "category_f1": f1}, [], model)
    return history


def test_the_best_are_the_first_of_the_lowest_loss_and_of_the_highest_f1():
    history = history_of([3.0, 1.0, 1.0, 2.0], [0.1, 0.2, 0.5, 0.5])
    assert {name: (best.epoch, best.value) for name, best in history.bests.items()} == {
        "loss": (2, 1.0),
        "f1": (3, 0.5),
    }
    assert history.best_epoch == 2
    assert float(history.best.weights["weight"]) == 2
    assert history_of([3.0, 1.0], [0.1, 0.2], "f1").best_epoch == 2
    assert History("f1").best_epoch == 0
    undefined = history_of([1.0, 2.0], [math.nan, 0.1])
    assert undefined.bests["f1"].epoch == 2  # no F1 is worse than any


@pytest.mark.parametrize(
    ("losses", "scores", "stops"),
    [
        ([3.0, 2.0, 2.0, 2.0], [0.3, 0.2, 0.2, 0.2], [4]),
        ([3.0, 3.0, 3.0, 3.0], [0.1, 0.2, 0.3, 0.4], []),  # F1 goes on
        ([4.0, 3.0, 2.0, 1.0], [0.4, 0.3, 0.2, 0.1], []),  # the loss goes on
        ([1.0, 2.0, 3.0, 4.0], [0.4, 0.3, 0.2, 0.1], [3, 4]),
    ],
)
def test_patience_ends_when_neither_loss_nor_f1_is_better(losses, scores, stops):
    found = [n for n in range(1, 5) if history_of(losses[:n], scores[:n]).out_of_patience(2)]
    assert found == stops
    assert not history_of(losses, scores).out_of_patience(None)
    assert not History().out_of_patience(1)


def test_events_without_f1_have_no_best_f1(tmp_path):
    config = load_config("configs/demo.yaml", ["train.best=f1", "data.events.train=8", "data.events.validation=8"])
    with pytest.raises(ConfigError, match="only robots have a category F1"):
        train_run(config, tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_run(robot_config("train.best=f1", "train.checkpoints=3"), tmp_path_factory.mktemp("runs"))


def test_a_run_keeps_the_best_by_both(run):
    with run.metrics_path.open() as file:
        rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    f1, losses = [row["category_f1"] for row in rows], [row["validation_loss"] for row in rows]
    assert load_state(run.weights("best"))[1]["epoch"] == f1.index(max(f1)) + 1 == run.record.best_epoch
    assert load_state(run.weights("best_loss"))[1]["epoch"] == losses.index(min(losses)) + 1
    history = History.of(load_checkpoint(run), "f1")
    assert history.bests["loss"].value == min(losses)
    for row in rows:
        scaled = [row[f"validation_{part}_scaled"] for part in ("position", "presence", "category", "kl")]
        assert sum(scaled) == pytest.approx(row["validation_loss"])
        assert row["validation_kl_scaled"] == pytest.approx(0.03 * row["validation_kl"])


def test_a_resumed_run_of_robots_is_the_uninterrupted_one(run, tmp_path):
    other = train_run(robot_config("train.best=f1", "train.checkpoints=3"), tmp_path)
    before = other.weights("best_loss").read_bytes()
    resume_run(other.path, epoch=1)
    for which in ("best", "best_loss", "last"):
        assert other.weights(which).read_bytes() == run.weights(which).read_bytes()
    assert other.weights("best_loss").read_bytes() == before


# ---- the objective -------------------------------------------------------------------------------------


def test_beta_follows_its_schedule_in_training_and_is_whole_in_validation():
    settings = TrainSettings(kl_weight=0.4, kl_schedule="warm_up", kl_period=4)
    objective = make_loss(settings, validation=False)
    assert [objective.at(epoch).kl_weight for epoch in (1, 2, 4, 9)] == pytest.approx([0.1, 0.2, 0.4, 0.4])
    assert make_loss(settings, validation=True).kl_weight == 0.4


def test_the_objective_of_an_aligning_pointnet_has_all_parts():
    config = load_config("configs/robots/pointnet_set.yaml", ["data.source.robots=60", "train.free_bits=0.1"])
    data = EventData(config.data, config.seed)
    model, objective = build_model(config, data), make_loss(config.train, validation=False)
    batch = next(data.batches("train", 16))
    prediction = model(batch.hits)
    parts = objective.parts(prediction, batch)
    assert set(parts) == {"position", "presence", "category", "kl", "alignment"}
    assert float(objective(prediction, batch).detach()) == pytest.approx(float(total(parts).detach()))
    objective(prediction, batch).backward()
    assert all(parameter.grad is not None for parameter in model.encoder.align.to_matrix[-1].parameters())


def test_alignment_error_is_zero_for_rotations_only():
    turn = torch.linalg.qr(torch.randn(5, 3, 3, dtype=torch.float64)).Q
    assert float(alignment_error(turn)) == pytest.approx(0, abs=1e-12)
    assert float(alignment_error(2 * torch.eye(3)[None])) == pytest.approx(27)  # each diagonal element 1 - 4
    assert float(alignment_error(turn[:0])) == 0
    assert torch.autograd.gradcheck(alignment_error, (torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "rmsprop"])
def test_other_optimisers_train_and_resume(optimiser, tmp_path):
    config = robot_config(f"train.optimiser={optimiser}", "train.epochs=2", "train.learning_rate=0.001")
    run = train_run(config, tmp_path)
    last = run.weights("last").read_bytes()
    resume_run(run.path, epoch=1)
    assert run.weights("last").read_bytes() == last

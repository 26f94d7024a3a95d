"""The loop, its records, and what it does when things go wrong."""

import csv
import json

import pytest
import torch

from pointae import errors
from pointae.config import Config, TrainSettings
from pointae.config_files import load_config
from pointae.data.events import EventData
from pointae.geometry import torch_geometry
from pointae.inference import Denoiser
from pointae.metrics import cut_at_retention
from pointae.nn.autoencoder import Autoencoder, count_parameters
from pointae.precision import Precision, choose_precision
from pointae.runs import RunDirectory
from pointae.training import loop
from pointae.training.objective import Objective, make_loss
from pointae.training.schedule import Schedule
from pointae.training.session import build_model, train_run
from pointae.weights import load_state

SMALL = [
    "data.events.train=64", "data.events.validation=40", "data.events.test=30", "data.source.noise=50",
    "model.encoder.channels=16", "model.encoder.layers=1", "train.epochs=2", "train.batch_size=16",
    "train.precision=fp32",
]  # fmt: skip


def small_config(*overrides: str) -> Config:
    return load_config("configs/demo.yaml", [*SMALL, *overrides])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    return train_run(small_config(), tmp_path_factory.mktemp("runs"))


def test_a_run_keeps_all_that_made_it(run):
    assert load_config(run.config_path) == small_config("name=demo")
    record = json.loads((run.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["geometry"]["spatial_shape"] == [88, 128, 1000]
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert 0 < record["threshold"] < 1


def test_metrics_have_a_row_an_epoch_counted_from_one(run):
    with run.metrics_path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    total = sum(float(row["seconds"]) for row in rows)
    assert total <= run.record.seconds + 0.2
    assert all(0 <= float(row["noise_removed_at_97"]) <= 1 for row in rows)


def test_best_weights_are_those_of_the_lowest_validation_loss(run):
    with run.metrics_path.open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    _, about = load_state(run.weights("best"))
    assert about["epoch"] == losses.index(min(losses)) + 1 == run.record.best_epoch
    assert load_state(run.weights("last"))[1]["epoch"] == 2


def test_the_threshold_keeps_the_asked_share_on_validation_events(run):
    config = load_config(run.config_path)
    hits = Denoiser.open(run.path)(EventData(config.data, config.seed).all_events("validation").hits)
    assert run.record.threshold == pytest.approx(cut_at_retention(hits.score, hits.signal, 0.97))
    assert float(hits.kept[hits.signal].float().mean()) == pytest.approx(0.97, abs=0.01)


def test_two_runs_of_a_seed_are_the_same_to_the_bit(run, tmp_path):
    again = train_run(small_config(), tmp_path)
    assert again.weights("last").read_bytes() == run.weights("last").read_bytes()


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 19])
def test_one_cycle_takes_any_number_of_steps(steps):
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule = Schedule(optimiser, TrainSettings(schedule="one_cycle", learning_rate=0.1), steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.learning_rate)
        optimiser.step()
        schedule.after_step()
    assert all(0 <= rate <= 0.1 for rate in rates)
    assert max([*rates, schedule.learning_rate]) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "plateau"])
def test_schedules_end_where_they_say(schedule):
    settings = TrainSettings(schedule=schedule, learning_rate=0.1)
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], settings.learning_rate)
    moved = Schedule(optimiser, settings, steps=20)
    for _ in range(20):
        optimiser.step()
        moved.after_step()
    for _ in range(12):
        moved.after_epoch(1.0)
    ends = {"constant": 0.1, "cosine": 0.0, "one_cycle": 0.0, "plateau": 0.02}
    assert moved.learning_rate == pytest.approx(ends[schedule], abs=1e-3)


def test_early_stopping_waits_for_patience_epochs(tmp_path):
    run = train_run(small_config("train.epochs=9", "train.patience=1", "train.learning_rate=1e-9"), tmp_path)
    with run.metrics_path.open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == run.record.epochs
    if len(losses) < 9:
        assert losses[-1] >= min(losses[:-1])


def test_a_separate_validation_loss_is_used_for_validation_alone():
    train = make_loss(small_config("train.validation_loss={name: mse}").train, validation=False)
    validation = make_loss(small_config("train.validation_loss={name: mse}").train, validation=True)
    config = small_config()
    data = EventData(config.data, config.seed)
    batch = next(data.batches("train", 8))
    with torch.no_grad():
        prediction = build_model(config, data)(batch.hits)
    probability = prediction.output.logits.sigmoid()
    truth = batch.hits.signal.float()
    assert float(validation(prediction, batch)) == pytest.approx(float((probability - truth).square().mean()), rel=1e-5)
    assert float(train(prediction, batch)) == pytest.approx(
        float(torch.nn.functional.binary_cross_entropy(probability, truth)), rel=1e-4
    )


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_events(tmp_path, monkeypatch):
    calls = []

    def broken(objective, prediction, batch):
        calls.append(batch)
        value = prediction.output.logits.mean()
        return value * float("nan") if len(calls) == 3 else value

    monkeypatch.setattr(Objective, "__call__", broken)
    folder = tmp_path / "{a}{}"  # nothing that a path holds is filled in
    with pytest.raises(errors.NonFiniteError) as caught:
        train_run(small_config(), folder)
    assert caught.value.exit_code == 6
    run = RunDirectory.open(folder / "latest")
    assert f"--resume '{run.path}' train.learning_rate=" in caught.value.fix
    assert run.record.non_finite["events"] == calls[2].hits.event_id.tolist()
    assert len(calls) == 3


def test_an_interrupt_keeps_the_weights(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_run(small_config(), tmp_path)
    run = RunDirectory.open(tmp_path / "latest")
    assert load_state(run.weights("last"))[1]["interrupted"] is True


def test_precisions_that_the_device_lacks_are_replaced_and_said(monkeypatch):
    monkeypatch.setattr("pointae.precision._runs_bf16", lambda device: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_precision("auto", "bf16").name == "fp32"
    assert "fp32 is used instead" in choose_precision("cpu", "fp16").note
    assert choose_precision("auto", "fp64").dtype == torch.float64
    with pytest.raises(errors.ComponentError) as caught:
        choose_precision("cuda", "fp32")
    assert caught.value.exit_code == 7


def test_fp64_and_a_variational_latent_train(tmp_path):
    run = train_run(small_config("train.precision=fp64", "model.latent.name=variational", "train.epochs=1"), tmp_path)
    state, _ = load_state(run.weights())
    assert all(value.dtype == torch.float64 for value in state.values() if value.is_floating_point())


def test_bf16_autocast_leaves_weights_in_fp32():
    precision = Precision(torch.device("cpu"), "bf16")
    config = small_config()
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    with precision.autocast():
        prediction = model(next(data.batches("train", 8)).hits)
    assert prediction.output.logits.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in model.parameters())


def test_a_model_beyond_the_memory_is_refused_before_it_is_made():
    config = load_config("configs/demo.yaml", ["model.encoder.channels=8192", "model.encoder.layers=64", *SMALL[:4]])
    with pytest.raises(
        errors.ConfigError, match=r"model.encoder: 'attention' has [\d,]+ parameters: to train takes [\d,]+ GB"
    ):
        build_model(config, EventData(config.data, 1))


def test_parameters_are_counted_without_a_model():
    for name in ("demo", "torch/full_pattern_dense", "torch/sparse_point", "torch/track_fit"):
        config = load_config(f"configs/{name}.yaml")
        geometry = torch_geometry()
        model = Autoencoder(config.model, geometry)
        counts = count_parameters(config.model, geometry)
        assert sum(counts.values()) == sum(weights.numel() for weights in model.parameters())
        assert geometry.x.centres_of(torch.tensor([0])).device.type == "cpu"

"""The training loop.

Knows nothing of plots or of how events are made: it is handed the data, the run directory to
write to, and functions to call after each epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pointae import draws
from pointae.config import TrainSettings
from pointae.data.events import Batch, EventData
from pointae.errors import NonFiniteError
from pointae.losses import build_loss, kl_divergence
from pointae.metrics import DenoiseMetrics
from pointae.nn.autoencoder import Prediction
from pointae.precision import Precision
from pointae.recover import recover
from pointae.runs import RunDirectory
from pointae.terminal import console, progress
from pointae.training.schedule import Schedule
from pointae.weights import load_weights, save_weights

MAX_SKIPPED_STEPS = 20
"""Steps in a row that fp16 scaling may skip before the run is stopped."""

Row = dict[str, Any]
Loss = Callable[[Prediction, Batch], Tensor]


@dataclass
class TrainResult:
    """What a training came to: a row an epoch, and the best one."""

    rows: list[Row]
    best_epoch: int
    seconds: float


def train(
    model: nn.Module,
    data: EventData,
    settings: TrainSettings,
    run: RunDirectory,
    seed: int,
    precision: Precision,
    on_epoch: Sequence[Callable[[list[Row]], None]] = (),
) -> TrainResult:
    """Train ``model``, keeping its best and last weights in ``run``; ends with the best loaded.

    Args:
        model: an :class:`~pointae.nn.autoencoder.Autoencoder`.
        data: training and validation events.
        settings: the train section of the config.
        run: where weights, metrics and log go.
        seed: of the run.
        precision: device and arithmetic.
        on_epoch: called with all rows so far after each epoch, e.g. to draw them.

    Raises:
        NonFiniteError: a loss or gradient is not finite; the last good weights are kept.
    """
    model.to(precision.device, precision.dtype)
    loss = make_loss(settings, validation=False)
    validation_loss = make_loss(settings, validation=True)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = math.ceil(data.num_events("train") / settings.batch_size)
    schedule = Schedule(optimiser, settings, steps * settings.epochs)
    stepper = Stepper(model, optimiser, schedule, loss, settings, precision, run, seed)

    rows: list[Row] = []
    best, best_epoch, begin = math.inf, 0, time.perf_counter()
    with _weights_kept_on_interrupt(model, run, rows):
        for epoch in range(1, settings.epochs + 1):
            start = time.perf_counter()
            train_loss = stepper.epoch(data, epoch)
            figures = validate(model, data, validation_loss, settings.batch_size, precision)
            schedule.after_epoch(figures["validation_loss"])
            row = {
                "epoch": epoch,
                "seconds": round(time.perf_counter() - start, 3),
                "learning_rate": schedule.learning_rate,
                "train_loss": train_loss,
                **figures,
            }
            rows.append(row)
            run.write_metrics(rows)
            if figures["validation_loss"] < best:
                best, best_epoch = figures["validation_loss"], epoch
                save_weights(model, run.weights_path("best"), {"epoch": epoch})
            save_weights(model, run.weights_path("last"), {"epoch": epoch})
            _tell(row, settings.epochs, run)
            for callback in on_epoch:
                callback(rows)
            if settings.patience is not None and epoch - best_epoch >= settings.patience:
                console.print(f"stopped: no better validation loss for {settings.patience} epochs")
                break
    load_weights(model, run.weights("best"))
    return TrainResult(rows, best_epoch, time.perf_counter() - begin)


def make_loss(settings: TrainSettings, validation: bool) -> Loss:
    """The loss of a batch: the named loss, plus the weighted KL of a variational latent."""
    named = build_loss(settings.validation_loss or settings.loss if validation else settings.loss)

    def loss(prediction: Prediction, batch: Batch) -> Tensor:
        value = named(prediction.output, batch.hits, batch.target)
        latent = prediction.latent
        if latent.mean is not None and latent.log_var is not None:
            value = value + settings.kl_weight * kl_divergence(latent.mean, latent.log_var)
        return value

    return loss


@dataclass
class Stepper:
    """Optimisation steps, with what they need and a count of what was skipped."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    loss: Loss
    settings: TrainSettings
    precision: Precision
    run: RunDirectory
    seed: int

    def __post_init__(self) -> None:
        self.scaler = self.precision.scaler()
        self.skipped = 0

    def epoch(self, data: EventData, epoch: int) -> float:
        """One pass over the training events; returns the mean loss an event."""
        self.model.train()
        total, count = 0.0, 0
        num_events = data.num_events("train")
        with progress(f"training, epoch {epoch} of {self.settings.epochs}", num_events, "events") as advance:
            for number, batch in enumerate(data.batches("train", self.settings.batch_size, epoch)):
                # Draws inside the network (a variational latent) follow (seed, epoch, batch) as well.
                key = draws.event_keys(self.seed, epoch, torch.tensor([number]), "network")
                torch.manual_seed(int(key[0]) & 0x7FFFFFFF)
                value = self.step(_to_device(batch, self.precision))
                total, count = total + value * batch.hits.batch_size, count + batch.hits.batch_size
                advance(batch.hits.batch_size, f"loss {total / count:.4f}")
        return total / max(1, count)

    def step(self, batch: Batch) -> float:
        """One optimisation step; returns the loss."""
        with self.precision.autocast():
            prediction = self.model(batch.hits)
        loss = self.loss(prediction, batch)
        if not bool(torch.isfinite(loss)):
            raise self._not_finite("loss", batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm or math.inf)
        self._count_skips(bool(torch.isfinite(norm)), batch)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.after_step()
        return float(loss.detach())

    def _count_skips(self, finite: bool, batch: Batch) -> None:
        """fp16 may skip a few overflowing steps; anything else stops at once."""
        self.skipped = 0 if finite else self.skipped + 1
        if not finite and (not self.scaler.is_enabled() or self.skipped > MAX_SKIPPED_STEPS):
            raise self._not_finite("gradient", batch)

    def _not_finite(self, what: str, batch: Batch) -> NonFiniteError:
        ids = batch.hits.event_id
        events = [] if ids is None else list(ids) if isinstance(ids, tuple) else ids.tolist()
        self.run.update_record(non_finite={"what": what, "events": events})
        return NonFiniteError(
            f"the {what} is not finite; the events of that batch are listed in run.json",
            where=self.run.path,
            fix="the last good weights are kept; try a lower train.learning_rate or precision fp32",
        )


@torch.no_grad()
def validate(model: nn.Module, data: EventData, loss: Loss, batch_size: int, precision: Precision) -> dict[str, float]:
    """Validation loss and denoising figures, over all validation events."""
    model.eval()
    metrics = DenoiseMetrics(threshold=0.5)
    total, count = 0.0, 0
    for batch in data.batches("validation", batch_size):
        batch = _to_device(batch, precision)
        with precision.autocast():
            prediction = model(batch.hits)
        total += float(loss(prediction, batch)) * batch.hits.batch_size
        count += batch.hits.batch_size
        metrics.update(recover(batch.hits, prediction.output.hit_logits(batch.hits), 0.5).to("cpu"))
    if not math.isfinite(total):
        raise NonFiniteError("the validation loss is not finite", fix="try a lower train.learning_rate")
    figures = metrics.compute()
    kept = ("noise_removed_at_97", "noise_removed_at_99", "roc_auc")
    return {"validation_loss": total / max(1, count), **{name: float(figures[name]) for name in kept}}


def _to_device(batch: Batch, precision: Precision) -> Batch:
    if precision.device.type == "cpu":
        return batch
    return Batch(batch.hits.to(precision.device), batch.target.to(precision.device))


def _tell(row: Row, epochs: int, run: RunDirectory) -> None:
    line = (
        f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}  validation {row['validation_loss']:.4f}  "
        f"noise removed {row['noise_removed_at_97']:.1%} at 97 % signal kept  {row['seconds']:.1f} s"
    )
    run.log(line)
    console.print(line)


@contextmanager
def _weights_kept_on_interrupt(model: nn.Module, run: RunDirectory, rows: list[Row]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        save_weights(model, run.weights_path("last"), {"epoch": len(rows), "interrupted": True})
        if not run.weights_path("best").is_file():
            save_weights(model, run.weights_path("best"), {"epoch": len(rows), "interrupted": True})
        run.log("interrupted")
        console.print(f"interrupted: the weights so far are in {run.weights_path('last')}")
        raise

"""The training loop.

Knows nothing of plots or of how events are made: it is handed the data, the run directory to
write to, and functions to call after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pointae.config import TrainSettings
from pointae.data.events import Batch, EventData
from pointae.losses import build_loss, kl_divergence
from pointae.nn.autoencoder import Prediction
from pointae.nn.track_mixture import track_loss
from pointae.precision import Precision
from pointae.runs import RunDirectory
from pointae.terminal import console
from pointae.tracking.hypotheses import hypotheses_of, to_unit
from pointae.training.checkpoint import Checkpoint, named, save_checkpoint
from pointae.training.gate import BatchGate
from pointae.training.stepper import Loss, Stepper
from pointae.training.validation import Row, in_words, validate
from pointae.weights import load_weights, save_state, save_weights

OnEpoch = Callable[[RunDirectory], Any]


@dataclass
class History:
    """What the epochs so far came to.

    Args:
        rows: one an epoch.
        best_loss: the lowest validation loss.
        best_epoch: when it was met; 0 before the first epoch.
        best_weights: of that epoch, on the CPU.
        outputs: histogram of the last epoch's raw outputs, see :func:`~pointae.metrics.output_histogram`.
    """

    rows: list[Row] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    outputs: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> History:
        """The history that a checkpoint ends."""
        facts = checkpoint.facts
        rows, best, outputs = facts["rows"], checkpoint.part("best"), facts.get("outputs", [])
        return cls(rows, facts["best_loss"], facts["best_epoch"], best, outputs)

    def add(self, row: Row, outputs: list[Row], model: nn.Module) -> None:
        """Take the next epoch's row and outputs, and the weights of ``model`` if none were better."""
        self.rows.append(row)
        self.outputs = outputs
        if row["validation_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = row["validation_loss"], row["epoch"]
            self.best_weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}

    def facts(self) -> dict[str, Any]:
        """JSON-able, for a :class:`Checkpoint`."""
        return {
            "rows": self.rows, "best_loss": self.best_loss, "best_epoch": self.best_epoch, "outputs": self.outputs,
        }  # fmt: skip

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether so many epochs have passed since the best one."""
        return patience is not None and bool(self.rows) and len(self.rows) - self.best_epoch >= patience


def train(
    model: nn.Module,
    data: EventData,
    settings: TrainSettings,
    run: RunDirectory,
    seed: int,
    precision: Precision,
    on_epoch: Sequence[OnEpoch] = (),
    origin: Mapping[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train ``model``, keeping its best and last weights in ``run``; ends with the best loaded.

    Each epoch ends with a checkpoint, from which a training that stops goes on to the same bits.

    Args:
        model: an :class:`~pointae.nn.autoencoder.Autoencoder`.
        data: training and validation events.
        settings: the train section of the config.
        run: where weights, metrics and log go.
        seed: of the run.
        precision: device and arithmetic.
        on_epoch: called with ``run`` after each epoch, once all of it is saved, e.g. to draw it.
        origin: JSON-able facts of config, data and versions, kept in each checkpoint.
        checkpoint: where to go on from.

    Raises:
        NonFiniteError: a loss or gradient is not finite; the last good weights are kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the weights so far are kept.
        StorageError: weights or checkpoint could not be written; those before are as they were.
        CheckpointError: ``checkpoint`` is of another model.
    """
    model.to(precision.device, precision.dtype)
    steps = math.ceil(data.num_events("train") / settings.batch_size) * settings.epochs
    counts = data.category_counts()
    stepper = Stepper(model, make_loss(settings, False, counts), settings, precision, run, seed, steps)
    validation_loss = make_loss(settings, True, counts)
    history = History()
    if checkpoint is not None:
        history = History.of(checkpoint)
        stepper.restore(checkpoint, [row["validation_loss"] for row in history.rows], run.path)
        _publish(run, history, stepper.judged, on_epoch)  # a kill may have come between the checkpoint and these

    with BatchGate(run) as gate, _weights_kept_on_interrupt(stepper, run, history):
        while len(history.rows) < settings.epochs and not history.out_of_patience(settings.patience):
            epoch, start = len(history.rows) + 1, gate.clock()
            train_loss = stepper.epoch(data, epoch, gate)
            trained = gate.clock()
            figures, outputs = validate(stepper.judged, data, validation_loss, settings.batch_size, precision)
            stepper.schedule.after_epoch(figures["validation_loss"])
            row = {
                "epoch": epoch,
                "seconds": round(gate.clock() - start, 3),
                "train_seconds": round(trained - start, 3),
                "learning_rate": stepper.schedule.learning_rate,
                "train_loss": train_loss,
                **figures,
            }
            history.add(row, outputs, stepper.judged)
            tensors = {**stepper.tensors(), **named("best", history.best_weights)}
            facts = {**(origin or {}), **stepper.facts(), **history.facts()}
            save_checkpoint(run, Checkpoint(epoch, tensors, facts))
            _publish(run, history, stepper.judged, on_epoch)
            _tell(row, settings.epochs, run)
            gate.check()
    if len(history.rows) < settings.epochs:
        console.print(f"stopped: no better validation loss for {settings.patience} epochs")
    load_weights(model, run.weights("best"))
    return history


def make_loss(settings: TrainSettings, validation: bool, category_counts: Tensor | None = None) -> Loss:
    """The loss of a batch: the named loss, plus the weighted KL of a variational latent, plus that of tracks.

    Args:
        settings: the train section of the config.
        validation: whether it is of validation events.
        category_counts: of the training events, see :func:`~pointae.losses.build_loss`.
    """
    named = build_loss(settings.validation_loss or settings.loss if validation else settings.loss, category_counts)

    def loss(prediction: Prediction, batch: Batch) -> Tensor:
        value = named(prediction.output, batch.hits, batch.target)
        latent = prediction.latent
        if latent.mean is not None and latent.log_var is not None:
            value = value + settings.kl_weight * kl_divergence(latent.mean, latent.log_var)
        if prediction.tracks is not None and batch.tracks is not None:
            true = to_unit(hypotheses_of(batch.tracks))
            value = value + settings.track_weight * track_loss(prediction.tracks, batch.tracks.event, true)
        return value

    return loss


def _publish(run: RunDirectory, history: History, model: nn.Module, on_epoch: Sequence[OnEpoch]) -> None:
    """Write what others read of a run; all of it follows from the checkpoint."""
    run.write_metrics(history.rows)
    run.write_outputs(history.outputs)
    save_state(history.best_weights, run.weights_path("best"), {"epoch": history.best_epoch})
    save_weights(model, run.weights_path("last"), {"epoch": len(history.rows)})
    for callback in on_epoch:
        callback(run)


def _tell(row: Row, epochs: int, run: RunDirectory) -> None:
    line = (
        f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}  validation {row['validation_loss']:.4f}  "
        f"{in_words(row)}  {row['seconds']:.1f} s"
    )
    run.log(line)
    console.print(line)


@contextmanager
def _weights_kept_on_interrupt(stepper: Stepper, run: RunDirectory, history: History) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        about = {"epoch": len(history.rows), "interrupted": True}
        save_weights(stepper.judged, run.weights_path("last"), about)
        if not run.weights_path("best").is_file():
            save_weights(stepper.judged, run.weights_path("best"), about)
        run.log("interrupted")
        console.print(f"interrupted: the weights so far are in {run.weights_path('last')}")
        raise

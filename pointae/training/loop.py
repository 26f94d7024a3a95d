"""The training loop.

Knows nothing of plots or of how events are made: it is handed the data, the run directory to
write to, and functions to call after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from pointae.config import TrainSettings
from pointae.data.events import EventData
from pointae.errors import ConfigError
from pointae.precision import Precision
from pointae.runs import RunDirectory
from pointae.terminal import console
from pointae.training.checkpoint import Checkpoint, save_checkpoint
from pointae.training.gate import BatchGate, Stop
from pointae.training.history import History, Row
from pointae.training.objective import make_loss
from pointae.training.stepper import Stepper
from pointae.training.validation import in_words, validate
from pointae.weights import load_weights, save_state, save_weights

OnEpoch = Callable[[RunDirectory], Any]


def train(
    model: nn.Module,
    data: EventData,
    settings: TrainSettings,
    run: RunDirectory,
    seed: int,
    precision: Precision,
    stop: Stop,
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
        stop: holds Ctrl-C and SIGTERM until a batch is done.
        on_epoch: called with ``run`` after each epoch, once all of it is saved, e.g. to draw it.
        origin: JSON-able facts of config, data and versions, kept in each checkpoint.
        checkpoint: where to go on from.

    Raises:
        NonFiniteError: a loss, gradient, score or weight is not finite; checkpoints and weights of the epochs before
            are as they were.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the weights so far are kept.
        StorageError: weights or checkpoint could not be written; those before are as they were.
        CheckpointError: ``checkpoint`` is of another model.
        ConfigError: the best epoch is asked for by a figure that these events do not have.
    """
    if settings.best == "f1" and not data.robots:
        raise ConfigError("only robots have a category F1", where="train.best", fix="set train.best=loss")
    model.to(precision.device, precision.dtype)
    steps = math.ceil(data.num_events("train") / settings.batch_size) * settings.epochs
    counts = data.category_counts()
    objective = make_loss(settings, False, counts)
    stepper = Stepper(model, objective, settings, precision, run, seed, steps)
    validation_loss = make_loss(settings, True, counts)
    history = History(settings.best)
    if checkpoint is not None:
        history = History.of(checkpoint, settings.best)
        stepper.restore(checkpoint, [row["validation_loss"] for row in history.rows], run.path)
        _publish(run, history, stepper.judged, on_epoch)  # a kill may have come between the checkpoint and these

    gate = BatchGate(run, stop)
    with _weights_kept_on_interrupt(stepper, run, history):
        while len(history.rows) < settings.epochs and not history.out_of_patience(settings.patience):
            epoch, start = len(history.rows) + 1, gate.clock()
            stepper.loss = objective.at(epoch)
            train_loss = stepper.epoch(data, epoch, gate)
            trained = gate.clock()
            figures, outputs = validate(stepper.judged, data, validation_loss, settings.batch_size, precision)
            stepper.check_weights()
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
            tensors = {**stepper.tensors(), **history.tensors()}
            facts = {**(origin or {}), **stepper.facts(), **history.facts()}
            save_checkpoint(run, Checkpoint(epoch, tensors, facts), settings.checkpoints)
            _publish(run, history, stepper.judged, on_epoch)
            _tell(row, settings.epochs, run)
            gate.check()
    if len(history.rows) < settings.epochs:
        console.print(f"stopped: no better {' or '.join(history.bests)} for {settings.patience} epochs")
    load_weights(model, run.weights("best"))
    return history


def _publish(run: RunDirectory, history: History, model: nn.Module, on_epoch: Sequence[OnEpoch]) -> None:
    """Write what others read of a run; all of it follows from the checkpoint."""
    run.write_metrics(history.rows)
    run.write_outputs(history.outputs)
    for name, best in history.bests.items():
        which = "best" if name == history.criterion else f"best_{name}"
        save_state(best.weights, run.weights_path(which), {"epoch": best.epoch})
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

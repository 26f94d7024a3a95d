"""Optimisation steps, and all that the next one depends on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointae import draws
from pointae.config import TrainSettings
from pointae.data.events import Batch, EventData
from pointae.errors import CheckpointError, NonFiniteError
from pointae.nn.autoencoder import Prediction
from pointae.precision import Precision
from pointae.runs import RunDirectory
from pointae.terminal import progress
from pointae.training.average import WeightAverage
from pointae.training.checkpoint import Checkpoint, named
from pointae.training.facts import MOMENTS
from pointae.training.gate import BatchGate
from pointae.training.schedule import Schedule
from pointae.weights import fill_model

MAX_SKIPPED_STEPS = 20
"""Steps in a row that fp16 scaling may skip before the run is stopped."""

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
}
"""By the name that settings use."""

Loss = Callable[[Prediction, Batch], Tensor]


@dataclass
class Stepper:
    """Optimisation steps of one training.

    Args:
        model: trained in place, on its final device.
        loss: of a batch.
        settings: the train section.
        precision: device and arithmetic.
        run: told of the events of a batch that is not finite.
        seed: of the run.
        steps: of the whole training, for the schedule.
    """

    model: nn.Module
    loss: Loss
    settings: TrainSettings
    precision: Precision
    run: RunDirectory
    seed: int
    steps: int

    def __post_init__(self) -> None:
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        self.optimiser = OPTIMISERS[self.settings.optimiser](self.model.parameters(), lr=rate, weight_decay=decay)
        self.schedule = Schedule(self.optimiser, self.settings, self.steps)
        self.scaler = self.precision.scaler()
        self.average = None if self.settings.average is None else WeightAverage(self.model, self.settings.average)
        self.done, self.skipped = 0, 0

    @property
    def judged(self) -> nn.Module:
        """The model that is validated and kept: the average where there is one."""
        return self.model if self.average is None else self.average.model

    def epoch(self, data: EventData, epoch: int, gate: BatchGate) -> float:
        """One pass over the training events; returns the mean loss an event.

        Raises:
            KeyboardInterrupt: asked to stop, between two batches.
            NonFiniteError: a loss or gradient is not finite.
        """
        self.model.train()
        total, count = 0.0, 0
        num_events = data.num_events("train")
        with progress(f"training, epoch {epoch} of {self.settings.epochs}", num_events, "events") as advance:
            for number, batch in enumerate(data.batches("train", self.settings.batch_size, epoch)):
                gate.check()
                # Draws inside the network (a variational latent) follow (seed, epoch, batch) as well.
                key = draws.event_keys(self.seed, epoch, torch.tensor([number]), "network")
                torch.manual_seed(int(key[0]) & 0x7FFFFFFF)
                value = self.step(to_device(batch, self.precision))
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
        if self.average is not None:
            self.average.update()
        self.done += 1
        return float(loss.detach())

    # ---- keeping and restoring -------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Model, optimiser, average and the state of torch's generators, for a :class:`Checkpoint`."""
        names = [name for name, _ in self.model.named_parameters()]
        moments = {
            f"{names[index]}.{entry}": value
            for index, entries in self.optimiser.state_dict()["state"].items()
            for entry, value in entries.items()
        }
        rng = {"cpu": torch.get_rng_state()}
        if self.precision.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.precision.device)
        average = {} if self.average is None else named("average", self.average.model.state_dict())
        return {
            **named("model", self.model.state_dict()), **named("optimiser", moments), **average, **named("rng", rng)
        }  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Counters and the scaler, JSON-able, for a :class:`Checkpoint`."""
        updates = 0 if self.average is None else self.average.updates
        return {"steps": self.done, "skipped": self.skipped, "averaged": updates, "scaler": self.scaler.state_dict()}

    def restore(self, checkpoint: Checkpoint, validation_losses: list[float], where: Path) -> None:
        """Go on as if the steps of ``checkpoint`` had just been done; settings are this stepper's own.

        Args:
            checkpoint: made of :meth:`tensors` and :meth:`facts`.
            validation_losses: of its epochs, for the schedule.
            where: the run it was read from, for errors.

        Raises:
            CheckpointError: it is of another model.
        """
        facts = checkpoint.facts
        fill_model(self.model, checkpoint.part("model"), where)
        self._restore_optimiser(checkpoint)
        self.done, self.skipped = facts["steps"], facts.get("skipped", 0)
        if self.schedule.per_step is not None and self.done > self.steps:
            raise CheckpointError(
                f"did {self.done:,} steps, more than the {self.steps:,} of its schedule",
                where=where,
                fix="more train.epochs, or train.schedule=constant",
            )
        self.schedule.replay(self.done, validation_losses)
        if self.scaler.is_enabled() and facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        if self.average is not None:
            # An average that is only switched on now, by force, starts from the model.
            fill_model(self.average.model, checkpoint.part("average") or checkpoint.part("model"), where)
            self.average.updates = facts.get("averaged", 0)
        rng = checkpoint.part("rng")
        torch.set_rng_state(rng["cpu"])
        if "cuda" in rng and self.precision.device.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], self.precision.device)

    def _restore_optimiser(self, checkpoint: Checkpoint) -> None:
        """Moments and steps of each parameter; rates and decays stay those of the settings."""
        moments = checkpoint.part("optimiser")
        if {key.rpartition(".")[2] for key in moments} - MOMENTS[self.settings.optimiser]:
            moments = {}  # of the optimiser before, which was changed by force
        indices = {name: index for index, (name, _) in enumerate(self.model.named_parameters())}
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            name, _, entry = key.rpartition(".")
            state.setdefault(indices[name], {})[entry] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})

    # ---- what is not finite ----------------------------------------------------------------------

    def check_weights(self) -> None:
        """Refuse to keep weights that no loss was asked of since the last step.

        Raises:
            NonFiniteError: one of the model or of its average is not finite.
        """
        for model in (self.model, self.judged):
            for name, value in model.state_dict().items():
                if value.is_floating_point() and not bool(value.isfinite().all()):
                    raise NonFiniteError(f"'{name}' of the model is not finite")

    def _count_skips(self, finite: bool, batch: Batch) -> None:
        """fp16 may skip a few overflowing steps; anything else stops at once."""
        self.skipped = 0 if finite else self.skipped + 1
        if not finite and (not self.scaler.is_enabled() or self.skipped > MAX_SKIPPED_STEPS):
            raise self._not_finite("gradient", batch)

    def _not_finite(self, what: str, batch: Batch) -> NonFiniteError:
        ids = batch.hits.event_id
        events = [] if ids is None else list(ids) if isinstance(ids, tuple) else ids.tolist()
        self.run.update_record(non_finite={"what": what, "events": events})
        return NonFiniteError(f"the {what} is not finite; the events of that batch are listed in run.json")


def to_device(batch: Batch, precision: Precision) -> Batch:
    """The batch where the model is."""
    if precision.device.type == "cpu":
        return batch
    tracks = None if batch.tracks is None else batch.tracks.to(precision.device)
    return Batch(batch.hits.to(precision.device), batch.target.to(precision.device), tracks)

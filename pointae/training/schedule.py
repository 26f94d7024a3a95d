"""How the learning rate moves."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torch.optim import Optimizer, lr_scheduler

from pointae.config import TrainSettings


class Schedule:
    """A learning-rate schedule that is told of every step and every epoch.

    ``constant`` · ``cosine`` to zero over the run · ``one_cycle``: a rise over the first tenth, then
    cosine to zero (Smith & Topin 2017, arXiv:1708.07120) · ``plateau``: a fifth after 10 epochs
    without a better validation loss.

    Args:
        optimiser: whose rate is moved.
        settings: the train section.
        steps: optimisation steps of the whole run.
    """

    def __init__(self, optimiser: Optimizer, settings: TrainSettings, steps: int) -> None:
        self.optimiser = optimiser
        self.per_step: lr_scheduler.LRScheduler | None = None
        self.per_epoch: lr_scheduler.ReduceLROnPlateau | None = None
        if settings.schedule == "cosine":
            self.per_step = lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps))
        elif settings.schedule == "one_cycle":
            total = max(1, steps) + 1
            rise = max(0.1, 2 / total)  # at least a step: of a rise of none torch divides by it
            self.per_step = lr_scheduler.OneCycleLR(
                optimiser, settings.learning_rate, total_steps=total, pct_start=rise, cycle_momentum=False
            )
        elif settings.schedule == "plateau":
            self.per_epoch = lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.2, patience=10)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def replay(self, steps: int, validation_losses: Iterable[float]) -> None:
        """Bring a new schedule to where it is after so many steps, and epochs with these validation losses.

        Nothing else of a schedule needs to be kept: its rate is a function of its settings and of
        these, so that under changed settings it stands where it would then have stood.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for _ in range(steps if self.per_step is not None else 0):
                self.after_step()
        for loss in validation_losses:
            self.after_epoch(loss)

    def after_step(self) -> None:
        """Call after every optimisation step."""
        if self.per_step is not None:
            self.per_step.step()

    def after_epoch(self, validation_loss: float) -> None:
        """Call after every epoch."""
        if self.per_epoch is not None:
            self.per_epoch.step(validation_loss)

"""What the epochs of a training came to, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pointae.errors import CheckpointError
from pointae.training.checkpoint import Checkpoint, named

Row = dict[str, Any]
CRITERIA = {"loss": ("validation_loss", -1.0), "f1": ("category_f1", 1.0)}
"""Column of an epoch's row that is best when lowest (-1) or highest (1), by the name of the criterion."""


@dataclass(frozen=True)
class Best:
    """The first of the best epochs by one criterion.

    Args:
        epoch: counted from 1.
        value: of the criterion's column.
        weights: of that epoch, on the CPU.
    """

    epoch: int
    value: float
    weights: dict[str, Tensor]


@dataclass
class History:
    """What the epochs so far came to.

    Args:
        criterion: what decides which weights are the run's.
        rows: one an epoch.
        bests: by criterion; F1 only where the rows have one.
        outputs: histogram of the last epoch's raw outputs, see :func:`~pointae.metrics.output_histogram`.
    """

    criterion: str = "loss"
    rows: list[Row] = field(default_factory=list)
    bests: dict[str, Best] = field(default_factory=dict)
    outputs: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Checkpoint, criterion: str) -> History:
        """The history that a checkpoint ends."""
        facts = checkpoint.facts
        if criterion not in facts.get("bests", {"loss": None}):
            raise CheckpointError(f"keeps no best epoch by {criterion}", where="train.best", fix="set it to loss")
        if "bests" not in facts:  # a checkpoint from before there were several criteria
            found = {"loss": Best(facts["best_epoch"], facts["best_loss"], checkpoint.part("best"))}
        else:
            found = {
                name: Best(best["epoch"], best["value"], checkpoint.part(f"best_{name}"))
                for name, best in facts["bests"].items()
            }
        return cls(criterion, facts["rows"], found, facts.get("outputs", []))

    @property
    def best(self) -> Best:
        """The run's own."""
        return self.bests[self.criterion]

    @property
    def best_epoch(self) -> int:
        """When it was met; 0 before the first epoch."""
        return self.best.epoch if self.rows else 0

    def add(self, row: Row, outputs: list[Row], model: nn.Module) -> None:
        """Take the next epoch's row and outputs, and the weights of ``model`` where none were better."""
        self.rows.append(row)
        self.outputs = outputs
        for name, (column, sign) in CRITERIA.items():
            if column not in row:
                continue
            if name not in self.bests or _better(sign * row[column], sign * self.bests[name].value):
                weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
                self.bests[name] = Best(row["epoch"], row[column], weights)

    def tensors(self) -> dict[str, Tensor]:
        """The best weights, for a :class:`Checkpoint`."""
        parts = [named(f"best_{name}", best.weights) for name, best in self.bests.items()]
        return {name: value for part in parts for name, value in part.items()}

    def facts(self) -> Mapping[str, Any]:
        """JSON-able, for a :class:`Checkpoint`."""
        bests = {name: {"epoch": best.epoch, "value": best.value} for name, best in self.bests.items()}
        return {"rows": self.rows, "bests": bests, "outputs": self.outputs}

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether so many epochs have passed since the best one by any criterion."""
        if patience is None or not self.rows:
            return False
        return len(self.rows) - max(best.epoch for best in self.bests.values()) >= patience


def _better(value: float, than: float) -> bool:
    """Whether it is higher; what is undefined is worse than anything."""
    return value > than or (math.isnan(than) and not math.isnan(value))

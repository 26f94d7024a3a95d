"""How a model does on validation events: of hits to tell from noise, and of robots to make again."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from pointae.data.events import Batch, EventData
from pointae.errors import ConfigError, NonFiniteError
from pointae.losses import active_units, kl_divergence, total
from pointae.metrics import DenoiseMetrics, RobotMetrics, cut_at_retention, output_histogram
from pointae.nn.autoencoder import Prediction
from pointae.precision import Precision
from pointae.recover import generated_pattern, recover
from pointae.training.history import Row
from pointae.training.objective import Objective
from pointae.training.stepper import to_device

FIGURES = (
    "noise_removed_at_97", "noise_removed_at_99", "roc_auc", "signal_retention", "noise_removed", "purity", "f1",
    "snr_db_in", "snr_db_out", "events", "signal_hits", "noise_hits", "signal_kept", "noise_kept",
)  # fmt: skip
"""Of the validation events, in each row; what depends on a threshold is at a score of 0.5."""


class Judge(Protocol):
    """Figures of the events that it was shown."""

    def update(self, batch: Batch, prediction: Prediction) -> None:
        """Take a batch."""

    def figures(self) -> Row:
        """What a row of ``metrics.csv`` holds of them."""

    def outputs(self) -> list[Row]:
        """The histogram of raw outputs; none where there are no scores."""


class HitJudge:
    """Of hits to tell from noise."""

    def __init__(self) -> None:
        self.metrics = DenoiseMetrics(threshold=0.5)

    def update(self, batch: Batch, prediction: Prediction) -> None:
        self.metrics.update(recover(batch.hits, prediction.output.hit_logits(batch.hits), 0.5).to("cpu"))

    def figures(self) -> Row:
        figures = self.metrics.compute()
        threshold = cut_at_retention(*self.metrics.scores(), 0.97)
        return {**{name: figures[name] for name in FIGURES}, "threshold_at_97": threshold}

    def outputs(self) -> list[Row]:
        return output_histogram(*self.metrics.scores())


class RobotJudge:
    """Of robots made again from their codes."""

    def __init__(self) -> None:
        self.metrics = RobotMetrics()
        self.posteriors: list[tuple[Tensor, Tensor]] = []

    def update(self, batch: Batch, prediction: Prediction) -> None:
        made = generated_pattern(prediction.output, batch.hits.geometry)
        if made is None or made.category is None:
            raise ConfigError(
                "the decoder makes no voxels with a category, so no robots",
                where="model.decoder",
                fix="point_set or autoregressive with categories: 4, or category_grid",
            )
        self.metrics.update(made.to("cpu"), batch.target.to("cpu"))
        latent = prediction.latent
        if latent.mean is not None and latent.log_var is not None:
            self.posteriors.append((latent.mean.cpu(), latent.log_var.cpu()))

    def figures(self) -> Row:
        row: Row = dict(self.metrics.compute())
        if self.posteriors:
            mean, log_var = (torch.cat(parts) for parts in zip(*self.posteriors, strict=True))
            row |= {"kl": float(kl_divergence(mean, log_var)), "active_units": int(active_units(mean))}
        return row

    def outputs(self) -> list[Row]:
        return []


@torch.no_grad()
def validate(
    model: nn.Module, data: EventData, loss: Objective, batch_size: int, precision: Precision
) -> tuple[Row, list[Row]]:
    """Loss and figures over all validation events, and the histogram of raw outputs.

    Of a loss of several parts each is told raw and, as ``..._scaled``, as it enters the sum.

    Raises:
        NonFiniteError: the loss or a score is not finite.
        ConfigError: robots are to be made by a decoder that makes none.
    """
    model.eval()
    judge: Judge = RobotJudge() if data.robots else HitJudge()
    sums = {"loss": 0.0}
    count = 0
    for batch in data.batches("validation", batch_size):
        batch = to_device(batch, precision)
        with precision.autocast():
            prediction = model(batch.hits)
        parts = loss.parts(prediction, batch)
        told = {"loss": total(parts)}
        if not bool(told["loss"].isfinite()):
            raise NonFiniteError("the validation loss is not finite")
        for name, part in parts.items() if len(parts) > 1 else ():
            told |= {name: part.raw, f"{name}_scaled": part.scaled}
        for name, value in told.items():
            sums[name] = sums.get(name, 0.0) + float(value) * batch.hits.batch_size
        count += batch.hits.batch_size
        judge.update(batch, prediction)
    means = {f"validation_{name}": value / max(1, count) for name, value in sums.items()}
    return {**means, **judge.figures()}, judge.outputs()


def in_words(row: Row) -> str:
    """The figure of a row that tells most."""
    if "noise_removed_at_97" in row:
        removed = row["noise_removed_at_97"]
        if math.isfinite(removed):
            return f"noise removed {removed:.1%} at 97 % signal kept"
        return f"no {'signal' if not row['signal_hits'] else 'noise'} in validation to judge by"
    return f"exact robots {row['exact_accuracy']:.1%}, category F1 {row['category_f1']:.1%}"

"""A finished run judged on robots that it has not seen: the same robots, made again from their codes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointae.data.events import EventData
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.io import write_hits
from pointae.losses import active_units, kl_divergence, kl_per_dimension
from pointae.metrics import RobotMetrics, exact_robots
from pointae.recover import generated_pattern
from pointae.robots import valid_robots
from pointae.runs import RunDirectory
from pointae.storage import write_json, write_table
from pointae.terminal import progress

FIGURES = {
    "exact_accuracy": "exact robots",
    "voxel_precision": "voxels: precision",
    "voxel_recall": "voxels: recall",
    "voxel_f1": "voxels: F1",
    "category_f1": "kinds: F1, weighted by support",
    "wheel_f1": "wheels: F1",
    "sensor_f1": "sensors: F1",
    "joint_f1": "joints: F1",
    "caster_f1": "casters: F1",
    "position_error": "true voxel to the nearest made, cells",
    "validity": "made robots that are valid",
    "kl": "KL divergence, nats",
    "active_units": "active units",
    "robots_per_second": "robots a second",
}
"""Figures of the printed table, and what they are called."""


@dataclass(frozen=True)
class RobotEvaluation:
    """What a run makes of robots.

    Args:
        figures: of all of them, by name.
        truth: the robots.
        made: what came out, event by event.
        latent: a row for each dimension of a variational code; empty for a plain one.
    """

    figures: dict[str, float]
    truth: HitBatch
    made: HitBatch
    latent: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = [f"{self.figures['robots']:,} robots, {self.figures['true_voxels']:,} voxels"]
        return "\n".join([*lines, *(f"{FIGURES[n]}: {self.figures[n]:.4g}" for n in FIGURES if n in self.figures)])

    def save(self, run: RunDirectory, pictures: int) -> None:
        """Keep tables and figures in the run, and what the first robots have become as its predictions."""
        run.evaluation.mkdir(exist_ok=True)
        write_json(run.judged_path, {"network": self.figures})
        write_table(run.evaluation_table("robots"), _rows(self))
        if self.latent:
            write_table(run.evaluation_table("latent"), self.latent)
        if pictures:
            run.predictions_path("events").parent.mkdir(exist_ok=True)
            write_hits(run.predictions_path("events"), self.made.events(slice(0, pictures)))


def evaluate_robots(run: RunDirectory, robots: HitBatch | None = None) -> RobotEvaluation:
    """Judge a run on its test robots, or on others.

    Args:
        run: a finished run on robots.
        robots: with ``category``, on the robots' grid; ``None``: the test robots of the run's config.

    Raises:
        CheckpointError: the run has no weights or does not fit the robots.
        DataError: no robots.
    """
    model = Denoiser.open(run.path)
    if robots is None:
        robots = EventData(model.config.data, model.config.seed).all_events("test").target
    if not robots.batch_size or robots.category is None:
        raise DataError("no robots to judge", fix="a robot is voxels with a category")
    made, means, log_vars = [], [], []
    begin = time.perf_counter()
    with progress("evaluating", robots.batch_size, "robots") as advance:
        for part, prediction in model.predictions(robots):
            pattern = generated_pattern(prediction.output, model.geometry)
            assert pattern is not None, "training refuses decoders that make no robots"
            made.append(pattern.to("cpu"))
            if prediction.latent.mean is not None and prediction.latent.log_var is not None:
                means.append(prediction.latent.mean.cpu())
                log_vars.append(prediction.latent.log_var.cpu())
            advance(part.batch_size, "")
    seconds = time.perf_counter() - begin
    together = HitBatch.concat(made).replace(event_id=robots.event_id)
    metrics = RobotMetrics()
    metrics.update(together, robots)
    figures = {**metrics.compute(), "robots_per_second": robots.batch_size / max(seconds, 1e-9)}
    latent = _latent(torch.cat(means), torch.cat(log_vars)) if means else []
    if means:
        figures["kl"] = float(kl_divergence(torch.cat(means), torch.cat(log_vars)))
        figures["active_units"] = sum(row["active"] for row in latent)
    return RobotEvaluation(figures, robots, together, latent)


def _latent(mean: Tensor, log_var: Tensor) -> list[dict[str, Any]]:
    """Of each dimension: KL divergence in nats, variance of the posterior means, whether it is active."""
    variance = mean.var(0, correction=0)
    columns = zip(kl_per_dimension(mean, log_var).tolist(), variance.tolist(), strict=True)
    return [
        {"dimension": i, "kl": kl, "variance_of_means": var, "active": int(bool(active_units(mean[:, i : i + 1])))}
        for i, (kl, var) in enumerate(columns)
    ]


def _rows(evaluation: RobotEvaluation) -> list[dict[str, Any]]:
    """A row for each robot."""
    made, truth = evaluation.made, evaluation.truth
    ids = range(truth.batch_size) if truth.event_id is None else truth.event_id
    columns = {
        "robot": ids.tolist() if isinstance(ids, Tensor) else list(ids),
        "voxels": truth.counts.tolist(),
        "made_voxels": made.counts.tolist(),
        "exact": exact_robots(made, truth).int().tolist(),
        "valid": valid_robots(made).int().tolist(),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

"""Other stages of the events kept for the viewer: degradation, what a decoder made up, what the oracle keeps."""

from __future__ import annotations

import torch

from pointae.analysis.evaluation import Evaluation
from pointae.data.events import EventData
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.io import write_hits
from pointae.recover import generated_pattern
from pointae.runs import RunDirectory

STAGES = ("full", "thinned", "smeared", "reconstructed", "oracle")
"""Predictions of a run beside its ``events``: the same events at other stages."""


def save_stages(run: RunDirectory, evaluation: Evaluation, of_config: bool) -> None:
    """Keep the stages of the events whose predictions are kept; those of an earlier evaluation go.

    Args:
        run: that was evaluated.
        evaluation: what was found.
        of_config: the events were the test events of the run's config, whose degradation can be made again.

    Raises:
        StorageError: they cannot be written.
    """
    config = run.config()
    kept = evaluation.rows[0].hits.events(slice(0, config.evaluate.pictures))
    stages = degradation_stages(EventData(config.data, config.seed), kept.batch_size) if of_config else {}
    made = reconstructed(Denoiser.open(run.path), kept)
    if made is not None:
        stages["reconstructed"] = made
    for row in evaluation.rows:
        if row.kind == "bound":
            stages["oracle"] = row.hits.events(slice(0, kept.batch_size))
    for name in STAGES:
        path = run.predictions_path(name)
        if name in stages and kept.batch_size:
            write_hits(path, stages[name])
        else:
            path.unlink(missing_ok=True)


def degradation_stages(data: EventData, count: int) -> dict[str, HitBatch]:
    """The first test events before each step of their degradation; none where there is none.

    Args:
        data: of a run's config.
        count: number of events.

    Returns:
        ``count`` events each: ``"full"``, what the particles left; ``"thinned"``; ``"smeared"``. A step
        that changes nothing is left out.
    """
    views = data.views("test", torch.arange(count))
    if views.noised is views.full:
        return {}
    signal = views.full.signal
    full = views.full if signal is None else views.full.select(signal)
    stages, before = {"full": full}, views.full
    for name, after in (("thinned", views.thinned), ("smeared", views.smeared)):
        if not torch.equal(after.coords, before.coords):
            stages[name] = after
        before = after
    return stages


def reconstructed(denoiser: Denoiser, hits: HitBatch) -> HitBatch | None:
    """The hits that a generating decoder makes of each event from its code alone; ``None`` for other decoders."""
    parts = []
    for _, prediction in denoiser.predictions(hits):
        made = generated_pattern(prediction.output, denoiser.geometry)
        if made is None:
            return None
        parts.append(made.to("cpu"))
    return HitBatch.concat(parts).replace(geometry=hits.geometry) if parts else None

"""A finished run judged on events it has not seen, beside the oracle and the classical baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pointae.analysis.judging import oracle_name
from pointae.attempts import Each, strictly
from pointae.classical import BASELINES
from pointae.data.events import Batch, EventData, Split
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.io import write_hits
from pointae.metrics import (
    DenoiseMetrics,
    PatternMetrics,
    calibration,
    cut_at_retention,
    noise_removed_curve,
    per_event_table,
)
from pointae.oracle import oracle_score
from pointae.recover import generated_pattern
from pointae.runs import RunDirectory
from pointae.storage import write_json, write_table
from pointae.terminal import progress, warn

RETENTIONS = [*np.linspace(0, 0.9, 46).tolist(), *np.linspace(0.9, 1, 101).tolist()[1:]]
"""Where the curves of noise removed against signal kept are told: finely where it matters."""
RANKED = 3
"""Events kept of the best, of those in the middle, and of the worst."""


@dataclass
class Judged:
    """One denoiser's hits and figures on the events of an evaluation."""

    name: str
    kind: Literal["network", "bound", "baseline"]
    hits: HitBatch
    figures: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Evaluation:
    """All that an evaluation found.

    Args:
        rows: the network first; the oracle, where the events allow one; then the baselines.
        pattern: figures of generated hits, for decoders that generate; empty otherwise.
    """

    rows: list[Judged]
    pattern: dict[str, float]

    def table(self) -> list[dict[str, Any]]:
        """A row a denoiser, for a CSV or a picture."""
        return [{"name": row.name, "kind": row.kind, **row.figures} for row in self.rows]

    def curves(self) -> list[dict[str, Any]]:
        """A row for each of :data:`RETENTIONS` of each denoiser: the noise removed there."""
        rows = []
        for row in self.rows:
            assert row.hits.score is not None
            assert row.hits.signal is not None
            removed = noise_removed_curve(row.hits.score, row.hits.signal, RETENTIONS)
            rows += [
                {"name": row.name, "kind": row.kind, "signal_kept": kept, "noise_removed": share}
                for kept, share in zip(RETENTIONS, removed.tolist(), strict=True)
            ]
        return rows


def evaluate_run(
    run: RunDirectory, events: HitBatch | None = None, baselines: bool = True, each: Each = strictly
) -> Evaluation:
    """Judge a run on its test events, or on others that carry truth.

    Micro metrics at the threshold that the run fixed on its validation events; the baselines are
    tuned and cut on the same validation events. Test events that are TORCH events just as the simulator
    makes them are judged by the oracle as well, which knows their particles (:mod:`pointae.oracle`).

    Args:
        run: a finished run.
        events: with ``signal``; ``None``: the test events of the run's config.
        baselines: judge the classical ones and the oracle as well.
        each: in what each of these is judged.

    Raises:
        CheckpointError: the run has no weights or does not fit the events.
        DataError: the events carry no truth.
    """
    denoiser = Denoiser.open(run.path)
    config = denoiser.config
    data = EventData(config.data, config.seed) if events is None or baselines else None
    batch = data.all_events("test") if events is None and data is not None else _labelled(events)
    if note := denoiser.check_grid(batch.hits.geometry):
        warn(note)
    _warn_of_nothing(batch.hits)
    names = config.evaluate.baselines if baselines else []
    bounded = baselines and events is None and data is not None and data.torch_origin("test") is not None
    with progress("evaluating", 1 + bounded + len(names)) as advance:
        rows = [_judge_network(denoiser, batch.hits)]
        advance(1, denoiser.config.model.encoder.name)
        if data is not None and (bounded or names):
            validation = data.all_events("validation").hits
            if bounded:
                with each("oracle"):
                    rows.append(_judge_oracle(data, validation, batch.hits, config.evaluate.retention))
                advance(1, "oracle")
            for name in names:
                with each(name):
                    rows.append(_judge_baseline(name, validation, batch.hits, config.evaluate.retention))
                advance(1, name)
    return Evaluation(rows, _judge_pattern(denoiser, batch))


def save_evaluation(run: RunDirectory, evaluation: Evaluation, pictures: int) -> None:
    """Keep tables, figures and the predictions of a few events in the run."""
    run.evaluation.mkdir(exist_ok=True)
    network = evaluation.rows[0]
    write_table(run.evaluation_table("table"), evaluation.table())
    columns = {name: values.tolist() for name, values in per_event_table(network.hits).items()}
    if network.hits.event_id is not None:
        ids = network.hits.event_id
        columns["event_id"] = list(ids) if isinstance(ids, tuple) else ids.tolist()
    write_table(run.evaluation_table("events"), _rows_of(columns))
    content = {row.name: {**row.figures, "settings": row.settings} for row in evaluation.rows}
    write_table(run.evaluation_table("curves"), evaluation.curves())
    hits = network.hits
    assert hits.score is not None
    assert hits.signal is not None
    write_table(run.evaluation_table("calibration"), calibration(hits.score, hits.signal))
    write_json(run.judged_path, {**content, "pattern": evaluation.pattern})
    if pictures:
        run.predictions_path("events").parent.mkdir(exist_ok=True)
        write_hits(run.predictions_path("events"), network.hits.events(slice(0, pictures)))
    ranked = ranked_events(network.hits)
    write_table(run.evaluation_table("ranked"), ranked)
    write_hits(run.predictions_path("ranked"), network.hits.events([row["event"] for row in ranked]))


def ranked_events(hits: HitBatch) -> list[dict[str, Any]]:
    """The best, the median and the worst events by F1, :data:`RANKED` of each; fewer where there are fewer.

    Args:
        hits: B events with truth and decision.

    Returns:
        a row an event, the best first: ``rank`` in words, ``event`` in [0, B), ``f1``, ``signal_retention``,
        ``noise_removed``. Events without signal are left out: nothing in them could be kept rightly.
    """
    table = per_event_table(hits)
    known = (table["signal"] > 0).nonzero()[:, 0]
    order = known[torch.argsort(table["f1"][known], descending=True, stable=True)].tolist()
    count = min(RANKED, len(order) // 3) or min(1, len(order))
    middle = (len(order) - count) // 2
    parts = {"best": order[:count], "median": order[middle : middle + count], "worst": order[::-1][:count]}
    places = {f"{rank} {i}": event for rank, events in parts.items() for i, event in enumerate(events, start=1)}
    names = ("f1", "signal_retention", "noise_removed")
    return [
        {"rank": rank, "event": event, **{name: float(table[name][event]) for name in names}}
        for rank, event in places.items()
        if rank == next(first for first, same in places.items() if same == event)  # of a few events, each once
    ]


def _warn_of_nothing(hits: HitBatch) -> None:
    """Figures that are shares of nothing are left out; say why."""
    assert hits.signal is not None
    found = int(hits.signal.sum())
    lacking = "signal" if not found else "noise" if found == hits.num_hits else None
    if lacking is not None:
        told = f"no {lacking} among the {hits.num_hits:,} hits that are judged: what is a share of it is left out"
        warn(told)


def _labelled(events: HitBatch | None) -> Batch:
    if events is None or events.signal is None:
        raise DataError("the hits carry no truth", fix="evaluation needs a 'signal' column; tools/denoise.py does not")
    return Batch(events, events.select(events.signal))


def _judge_network(denoiser: Denoiser, hits: HitBatch) -> Judged:
    begin = time.perf_counter()
    scored = denoiser(hits)
    seconds = time.perf_counter() - begin
    settings = {"threshold": denoiser.threshold, "run": denoiser.source.name}
    return Judged("network", "network", scored, _figures(scored, seconds), settings)


def _judge_baseline(name: str, validation: HitBatch, hits: HitBatch, retention: float) -> Judged:
    baseline = BASELINES[name](retention).fit(validation)
    threshold = _cut(baseline.score(validation), validation, retention)
    scored, seconds = _timed(baseline.score, hits, threshold)
    settings = {**baseline.settings, "threshold": threshold}
    return Judged(name, "baseline", scored, _figures(scored, seconds), settings)


def _judge_oracle(data: EventData, validation: HitBatch, hits: HitBatch, retention: float) -> Judged:
    def scorer(split: Split) -> Callable[[HitBatch], Tensor]:
        origin = data.torch_origin(split)
        assert origin is not None

        def score(events: HitBatch) -> Tensor:
            assert isinstance(events.event_id, Tensor)
            return oracle_score(events, *origin, events.event_id)

        return score

    threshold = _cut(scorer("validation")(validation), validation, retention)
    scored, seconds = _timed(scorer("test"), hits, threshold)
    origin = data.torch_origin("test")
    assert origin is not None
    return Judged(oracle_name(origin[0]), "bound", scored, _figures(scored, seconds), {"threshold": threshold})


def _cut(score: Tensor, hits: HitBatch, retention: float) -> float:
    assert hits.signal is not None
    return cut_at_retention(score, hits.signal, retention)


def _timed(scorer: Callable[[HitBatch], Tensor], hits: HitBatch, threshold: float) -> tuple[HitBatch, float]:
    """The hits with score and decision, and the seconds that the scores took."""
    begin = time.perf_counter()
    score = scorer(hits)
    return hits.replace(score=score, kept=score >= threshold), time.perf_counter() - begin


def _figures(scored: HitBatch, seconds: float) -> dict[str, float]:
    metrics = DenoiseMetrics()
    metrics.update(scored)
    return {**metrics.compute(), "events_per_second": scored.batch_size / max(seconds, 1e-9)}


def _judge_pattern(denoiser: Denoiser, batch: Batch) -> dict[str, float]:
    """Figures of generated hits against the target; empty where the decoder generates none."""
    evaluate = denoiser.config.evaluate
    metrics = PatternMetrics(evaluate.tolerance_bins, evaluate.reach_bins)
    start = 0
    for part, prediction in denoiser.predictions(batch.hits):
        made = generated_pattern(prediction.output, denoiser.geometry)
        if made is None:
            return {}
        truth = batch.target.events(slice(start, start + part.batch_size))
        metrics.update(made.to("cpu"), truth.replace(geometry=denoiser.geometry))
        start += part.batch_size
    return metrics.compute() if start else {}


def _rows_of(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

"""Networks, the oracle and classical filters, each judged in the same way on simulated events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from pointae.analysis.bootstrap import Weights, event_weights, noise_removed_at_error, share_error
from pointae.analysis.conditions import Condition, by_chunks
from pointae.attempts import Each, strictly
from pointae.classical import BASELINES
from pointae.config import TorchSource
from pointae.file_names import names_of
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.metrics import count_hits, cut_at_retention, noise_removed_at
from pointae.oracle import oracle_score
from pointae.terminal import warn
from pointae.trained import Trained

Kind = Literal["network", "bound", "baseline"]
RETENTIONS = (0.97, 0.99)
CALIBRATION_EVENTS = 1000
"""Events on which filters are tuned and the cuts of filters and oracle are fixed."""
RETENTION = 0.97
"""Share of signal at which those cuts are."""


@dataclass(frozen=True)
class Scorer:
    """What scores the hits of a condition.

    Args:
        name: how a table calls it.
        kind: a network, the bound, or a classical baseline.
        score: (N,) of N hits, higher = more like signal.
        threshold: hits that score at least this are kept; ``None``: it decides nothing.
    """

    name: str
    kind: Kind
    score: Callable[[HitBatch], Tensor]
    threshold: float | None = None


def open_denoisers(
    found: Sequence[Trained],
    device: str = "auto",
    geometry: DetectorGeometry | None = None,
    each: Each = strictly,
) -> dict[str, Denoiser]:
    """Denoisers by the name of their run or shipped weights; where two are called alike, by the whole path.

    Args:
        found: of :func:`~pointae.trained.open_trained`.
        device: as of :meth:`~pointae.inference.Denoiser.of`.
        geometry: of the events that all will judge, if they are the same; it is said where bins differ.
        each: in what each is made.

    Raises:
        UsageError: one is named twice.
        CheckpointError: weights that are damaged or do not fit their config, or a network of another grid.
    """
    names = names_of([trained.source for trained in found])
    denoisers = {}
    for name, trained in zip(names, found, strict=True):
        with each(name):
            denoiser = Denoiser.of(trained, device)
            note = None if geometry is None else denoiser.check_grid(geometry)
            for told in [*denoiser.notes, *([] if note is None else [f"{name}: {note}"])]:
                warn(told)
            denoisers[name] = denoiser
    return denoisers


def network_scorer(name: str, denoiser: Denoiser) -> Scorer:
    """A trained network, with the threshold it was saved with."""

    def score(hits: HitBatch) -> Tensor:
        scored = denoiser(hits).score
        assert scored is not None
        return scored

    return Scorer(name, "network", score, denoiser.threshold)


def oracle_name(source: TorchSource) -> str:
    """What the oracle is called on such events: it assumes uniform noise, with any other a network may know more."""
    return "oracle" if source.noise_mode == "uniform" else "oracle (if uniform)"


def oracle_scorer(condition: Condition) -> Scorer:
    """The oracle, who knows the tracks of the condition's events; it has no threshold."""

    def score(hits: HitBatch) -> Tensor:
        assert isinstance(hits.event_id, Tensor)
        return oracle_score(hits, condition.source, condition.seed(), hits.event_id)

    return Scorer(oracle_name(condition.source), "bound", score)


def baseline_scorers(condition: Condition, names: Sequence[str]) -> list[Scorer]:
    """Classical filters, tuned and cut on other events of the condition."""
    calibration = condition.events(CALIBRATION_EVENTS, "figures calibration")
    return [_baseline(name, calibration) for name in names]


def _baseline(name: str, calibration: HitBatch) -> Scorer:
    baseline = BASELINES[name](RETENTION).fit(calibration)
    assert calibration.signal is not None
    threshold = cut_at_retention(by_chunks(calibration, baseline.score), calibration.signal, RETENTION)
    return Scorer(name, "baseline", baseline.score, threshold)


def judge(scorer: Scorer, condition: Condition, hits: HitBatch, weights: Weights | None = None) -> dict[str, Any]:
    """A scorer's figures on the events of a condition, one global cut over all hits at each retention.

    Args:
        scorer: what scores them.
        condition: where the events are from.
        hits: B events of it, with ``signal``.
        weights: of :func:`~pointae.analysis.bootstrap.event_weights`; ``None``: those of B events.

    Returns:
        a row: ``condition``, ``sweep``, ``setting``, ``name``, ``kind``, ``events``, ``signal_hits_per_event``,
        ``noise_hits_per_event``; ``noise_removed_at_97`` and ``_at_99``; where it has a threshold ``threshold``
        and, there, ``signal_retention`` and ``noise_removed``. Shares in [0, 1], ``nan`` where undefined, each
        followed by its standard error, ``..._error``.
    """
    assert hits.signal is not None
    weights = event_weights(hits.batch_size) if weights is None else weights
    score, signal, batch = by_chunks(hits, scorer.score), hits.signal, hits.batch
    row: dict[str, Any] = {
        "condition": condition.name, "sweep": condition.sweep, "setting": condition.setting,
        "name": scorer.name, "kind": scorer.kind, "events": hits.batch_size,
        "signal_hits_per_event": int(signal.sum()) / hits.batch_size,
        "noise_hits_per_event": int((~signal).sum()) / hits.batch_size,
    }  # fmt: skip
    for retention in RETENTIONS:
        name = f"noise_removed_at_{retention * 100:.0f}"
        row[name] = noise_removed_at(score, signal, retention)
        row[f"{name}_error"] = noise_removed_at_error(score, signal, batch, retention, weights)
    if scorer.threshold is not None:
        row["threshold"] = scorer.threshold
        counts = count_hits(score >= scorer.threshold, signal, batch, hits.batch_size)
        for name, part, rest in (
            ("signal_retention", counts.tp, counts.fn), ("noise_removed", counts.tn, counts.fp),
        ):  # fmt: skip
            whole = part + rest
            row[name] = int(part.sum()) / int(whole.sum()) if bool(whole.any()) else float("nan")
            row[f"{name}_error"] = share_error(part, whole, weights)
    return row

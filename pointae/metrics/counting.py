"""Metrics over many batches: the classes only count, the science is in the pure functions.

Sums of counts are exact for batches of any size, and across processes (torchmetrics syncs them).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.metrics.pattern import (
    chamfer_distance,
    false_positives_xy,
    false_positives_xyt,
    near_hits,
    time_differences,
    timing_of,
)
from pointae.metrics.per_hit import HitCounts, count_hits, f1, iou, purity, share, snr_db
from pointae.metrics.scores import noise_removed_at, purity_at_efficiency, roc_auc


def per_event_table(hits: HitBatch, threshold: float | None = None) -> dict[str, Tensor]:
    """What became of each event, a column a quantity.

    Args:
        hits: with ``signal``, and with ``score`` or ``kept``.
        threshold: keep where ``score >= threshold``; ``None``: as ``hits.kept`` says.

    Returns:
        columns (B,): counts int64, ratios float32 with ``nan`` where undefined, SNR in dB.

    Raises:
        DataError: one of the fields is missing.
    """
    counts = _counts_of(hits, threshold)
    return {
        "event": torch.arange(hits.batch_size, device=hits.device),
        "hits": hits.counts,
        "signal": counts.tp + counts.fn,
        "noise": counts.fp + counts.tn,
        "signal_kept": counts.tp,
        "noise_kept": counts.fp,
        **_ratios(counts),
    }


class DenoiseMetrics(Metric):
    """Metrics of hits with truth, score and decision.

    Pooled over all hits ("micro") under the plain names; mean over the events where defined under
    ``*_macro``. All numbers are Python floats and ints; undefined ones are ``nan``.

    Args:
        threshold: keep where ``score >= threshold``; ``None``: as ``hits.kept`` says.
        kwargs: of :class:`torchmetrics.Metric`.

    Example:
        >>> metrics = DenoiseMetrics(threshold=0.5)
        >>> for hits in batches:
        ...     metrics.update(hits)
        >>> metrics.compute()["noise_removed_at_97"]
    """

    full_state_update = False
    counts: Tensor
    macro_sums: Tensor
    macro_events: Tensor
    events: Tensor
    signal_scores: list[Tensor]
    noise_scores: list[Tensor]

    def __init__(self, threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("macro_sums", torch.zeros(len(_MACRO), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("macro_events", torch.zeros(len(_MACRO), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("events", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("signal_scores", [], dist_reduce_fx="cat")
        self.add_state("noise_scores", [], dist_reduce_fx="cat")

    def update(self, hits: HitBatch) -> None:
        """Count a batch.

        Args:
            hits: with ``signal``, ``score`` and, without a threshold, ``kept``.

        Raises:
            DataError: one of the fields is missing.
        """
        counts = _counts_of(hits, self.threshold)
        signal, score = _field(hits, "signal"), _field(hits, "score")
        ratios = _ratios(counts)
        macro = torch.stack([ratios[name] for name in _MACRO]).double()  # (R, B)
        self.counts += torch.stack([count.sum() for count in counts]).to(self.counts)
        self.macro_sums += macro.nansum(1).to(self.macro_sums)
        self.macro_events += (~macro.isnan()).sum(1).to(self.macro_events)
        without = [(counts.tp + counts.fn == 0).sum(), (counts.fp + counts.tn == 0).sum()]
        self.events += torch.stack([torch.tensor(hits.batch_size).to(without[0]), *without]).to(self.events)
        self.signal_scores.append(score[signal].to(self.counts.device))
        self.noise_scores.append(score[~signal].to(self.counts.device))

    def compute(self) -> dict[str, float]:
        """The metrics of everything counted so far."""
        pooled = HitCounts(*self.counts.unbind())
        tp, fp, fn, tn = pooled
        score, signal = self.scores()
        events, without_signal, without_noise = self.events.tolist()
        micro = {name: float(value) for name, value in _ratios(pooled).items()}
        macro = (self.macro_sums / self.macro_events).tolist()
        return {
            **micro,
            "noise_removed_at_97": noise_removed_at(score, signal, 0.97),
            "noise_removed_at_99": noise_removed_at(score, signal, 0.99),
            "noise_kept_per_event": float(share(fp, self.events[0])),
            "roc_auc": roc_auc(score, signal),
            "purity_at_95": purity_at_efficiency(score, signal, 0.95),
            **{f"{name}_macro": value for name, value in zip(_MACRO, macro, strict=True)},
            "events": events,
            "events_without_signal": without_signal,
            "events_without_noise": without_noise,
            "signal_hits": int(tp + fn),
            "noise_hits": int(fp + tn),
            "signal_kept": int(tp),
            "noise_kept": int(fp),
        }

    def scores(self) -> tuple[Tensor, Tensor]:
        """(N,) float32 score and (N,) bool truth of every hit counted so far, signal first."""
        of_signal, of_noise = _joined(self.signal_scores, self.counts), _joined(self.noise_scores, self.counts)
        signal = torch.arange(len(of_signal) + len(of_noise), device=of_signal.device) < len(of_signal)
        return torch.cat([of_signal, of_noise]).float(), signal


class PatternMetrics(Metric):
    """Metrics of generated hits against the true ones.

    Args:
        tolerance_bins: largest abs(dt) of a right time, in steps of the time axis.
        reach_bins: semi-axes of the ellipsoid within which a hit counts as near, in bins of each axis.
        kwargs: of :class:`torchmetrics.Metric`.
    """

    full_state_update = False
    sums: Tensor
    chamfer_sum: Tensor
    chamfer_events: Tensor
    steps: list[Tensor]
    times: list[Tensor]

    def __init__(self, tolerance_bins: float = 0.5, reach_bins: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance_bins, self.reach_bins = tolerance_bins, reach_bins
        self.add_state("sums", torch.zeros(7, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("chamfer_sum", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("chamfer_events", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("steps", [], dist_reduce_fx="cat")
        self.add_state("times", [], dist_reduce_fx="cat")

    def update(self, generated: HitBatch, truth: HitBatch) -> None:
        """Count a batch: hits that the model made, and the true hits of the same events."""
        reach = [self.reach_bins * width for width in truth.geometry.bin_widths]
        distance = chamfer_distance(generated, truth).double()
        defined = ~distance.isnan().any(1)
        steps, times = time_differences(generated, truth)
        sums = [
            false_positives_xy(generated, truth).sum(),
            false_positives_xyt(generated, truth, self.tolerance_bins).sum(),
            near_hits(truth, generated, reach).sum(),
            near_hits(generated, truth, reach).sum(),
            truth.counts.sum(),
            generated.counts.sum(),
            truth.counts.new_tensor(truth.batch_size),
        ]
        self.sums += torch.stack(sums).to(self.sums)
        self.chamfer_sum += distance[defined].sum(0).to(self.chamfer_sum)
        self.chamfer_events += defined.sum().to(self.chamfer_events)
        self.steps.append(steps.to(self.sums.device))
        self.times.append(times.to(self.sums.device))

    def compute(self) -> dict[str, float]:
        """The metrics of everything counted so far; times in ns and lengths in mm on a TORCH grid.

        ``hallucinated_xy`` and ``hallucinated_xyt`` are shares of the generated hits, as is ``purity``: of those
        near a true hit. ``coverage`` is the share of the true hits near a generated one.
        """
        hallucinated_xy, hallucinated_xyt, covered, right, true, made, events = self.sums
        timing = timing_of(_joined(self.steps, self.sums), _joined(self.times, self.sums), self.tolerance_bins)
        apart = (self.chamfer_sum / self.chamfer_events).tolist()
        return {
            "hallucinated_xy_per_event": float(share(hallucinated_xy, events)),
            "hallucinated_xyt_per_event": float(share(hallucinated_xyt, events)),
            "hallucinated_xy": float(share(hallucinated_xy, made)),
            "hallucinated_xyt": float(share(hallucinated_xyt, made)),
            "coverage": float(share(covered, true)),
            "purity": float(share(right, made)),
            "temporal_retention": timing.share,
            "dt_median": timing.median,
            "dt_rms": timing.rms,
            "chamfer_space_macro": apart[0],
            "chamfer_time_macro": apart[1],
            "events": int(events),
            "true_hits": int(true),
            "generated_hits": int(made),
            "matched_hits": timing.matched,
        }


_MACRO = ("signal_retention", "noise_removed", "purity", "f1", "iou")


def _ratios(counts: HitCounts) -> dict[str, Tensor]:
    tp, fp, fn, tn = counts
    return {
        "signal_retention": share(tp, tp + fn),
        "noise_removed": share(tn, tn + fp),
        "purity": purity(tp, fp),
        "f1": f1(tp, fp, fn),
        "iou": iou(tp, fp, fn),
        "snr_db_in": snr_db(tp + fn, fp + tn),
        "snr_db_out": snr_db(tp, fp),
    }


def _counts_of(hits: HitBatch, threshold: float | None) -> HitCounts:
    kept = _field(hits, "kept") if threshold is None else _field(hits, "score") >= threshold
    return count_hits(kept, _field(hits, "signal"), hits.batch, hits.batch_size)


def _field(hits: HitBatch, name: str) -> Tensor:
    value = getattr(hits, name)
    if value is None:
        raise DataError(f"hits carry no '{name}', which these metrics need")
    return value


def _joined(parts: list[Tensor] | Tensor, device_of: Tensor) -> Tensor:
    # torchmetrics leaves a list of parts in one process and one tensor after a sync of several.
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else device_of.new_zeros(0, dtype=torch.float64)

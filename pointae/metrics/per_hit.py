"""How well hits were told apart: pure functions, the definitions of the metrics.

A hit is *kept* if its score is at least the cut. Counts of kept and lost signal and noise are
named as usual: ``tp`` kept signal, ``fp`` kept noise, ``fn`` lost signal, ``tn`` lost noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class HitCounts(NamedTuple):
    """Hits by truth and decision, (B,) int64 each."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor


def count_hits(kept: Tensor, signal: Tensor, batch: Tensor, batch_size: int) -> HitCounts:
    """Count each event's kept and lost, signal and noise hits.

    Args:
        kept: (N,) bool, hits the model decided to keep.
        signal: (N,) bool, hits left by a particle rather than by noise.
        batch: (N,) int64, event of each hit, in [0, batch_size).
        batch_size: number of events B, counting events without hits.

    Returns:
        four tensors (B,) int64.

    Raises:
        TypeError: if ``kept`` or ``signal`` is not bool, e.g. logits by mistake.
        ValueError: if the three tensors have different lengths.

    Example:
        >>> kept = torch.tensor([True, False, True])
        >>> signal = torch.tensor([True, True, False])
        >>> count_hits(kept, signal, torch.tensor([0, 0, 1]), batch_size=2).tp
        tensor([1, 0])
    """
    for name, value in (("kept", kept), ("signal", signal)):
        if value.dtype != torch.bool:
            raise TypeError(f"{name} must be bool, got {value.dtype}")
    if not len(kept) == len(signal) == len(batch):
        raise ValueError(f"kept, signal and batch differ in length: {len(kept)}, {len(signal)}, {len(batch)}")
    kind = 2 * signal.long() + kept.long()
    table = torch.bincount(4 * batch + kind, minlength=4 * batch_size).view(batch_size, 4)
    tn, fp, fn, tp = table.unbind(1)
    return HitCounts(tp, fp, fn, tn)


def signal_retention(kept: Tensor, signal: Tensor, batch: Tensor, batch_size: int) -> Tensor:
    """Fraction of the true signal hits that survive recovery, for each event.

    Known elsewhere as recall, or hit efficiency.

    Args:
        kept: (N,) bool, hits the model decided to keep.
        signal: (N,) bool, hits left by a particle rather than by noise.
        batch: (N,) int64, event of each hit, in [0, batch_size).
        batch_size: number of events B, counting events without hits.

    Returns:
        (B,) float32 in [0, 1], no unit. ``nan`` where an event has no signal hit:
        nothing could be retained, so neither 0 nor 1 would be true.

    Raises:
        TypeError: if ``kept`` or ``signal`` is not bool, e.g. logits by mistake.
        ValueError: if the three tensors have different lengths.

    Example:
        >>> kept = torch.tensor([True, False, True])
        >>> signal = torch.tensor([True, True, False])
        >>> signal_retention(kept, signal, torch.tensor([0, 0, 1]), batch_size=2)
        tensor([0.5000,    nan])
    """
    counts = count_hits(kept, signal, batch, batch_size)
    return share(counts.tp, counts.tp + counts.fn)


def noise_removed(kept: Tensor, signal: Tensor, batch: Tensor, batch_size: int) -> Tensor:
    """Fraction of the noise hits that recovery removes, for each event.

    Known elsewhere as specificity, or background rejection.

    Args:
        kept, signal, batch, batch_size: as of :func:`signal_retention`.

    Returns:
        (B,) float32 in [0, 1], no unit. ``nan`` where an event has no noise hit.

    Raises:
        TypeError, ValueError: as of :func:`signal_retention`.

    Example:
        >>> kept = torch.tensor([True, False, True])
        >>> signal = torch.tensor([False, False, True])
        >>> noise_removed(kept, signal, torch.tensor([0, 0, 1]), batch_size=2)
        tensor([0.5000,    nan])
    """
    counts = count_hits(kept, signal, batch, batch_size)
    return share(counts.tn, counts.tn + counts.fp)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` of counts: float32, ``nan`` where ``whole`` is 0."""
    return (part.double() / whole.double()).float()


def purity(tp: Tensor, fp: Tensor) -> Tensor:
    """Fraction of the kept hits that are signal, ``tp / (tp + fp)``; known elsewhere as precision.

    Args:
        tp, fp: counts of any equal shape: kept signal, kept noise.

    Returns:
        float32 in [0, 1] of that shape; ``nan`` where nothing was kept.
    """
    return share(tp, tp + fp)


def f1(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """Harmonic mean of purity and retention, ``2 tp / (2 tp + fp + fn)``.

    Args:
        tp, fp, fn: counts of any equal shape: kept signal, kept noise, lost signal.

    Returns:
        float32 in [0, 1] of that shape; ``nan`` without signal and without kept hits.
    """
    return share(2 * tp, 2 * tp + fp + fn)


def iou(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """Intersection over union of kept and signal hits, ``tp / (tp + fp + fn)``; the Jaccard index.

    Args:
        tp, fp, fn: counts of any equal shape: kept signal, kept noise, lost signal.

    Returns:
        float32 in [0, 1] of that shape; ``nan`` without signal and without kept hits.
    """
    return share(tp, tp + fp + fn)


def snr_db(signal_hits: Tensor, noise_hits: Tensor) -> Tensor:
    """Signal-to-noise ratio ``10 log10((S + 1/2) / (N + 1/2))``.

    The halves keep it finite where one of the counts is 0. For the ratio of many events count
    first: it is no mean of the ratios of each.

    Args:
        signal_hits, noise_hits: counts S and N of any equal shape.

    Returns:
        float32 of that shape, in dB.

    Example:
        >>> snr_db(torch.tensor(30), torch.tensor(200))
        tensor(-8.1784)
    """
    return (10 * torch.log10((signal_hits.double() + 0.5) / (noise_hits.double() + 0.5))).float()


def cut_at_retention(score: Tensor, signal: Tensor, retention: float) -> float:
    """The cut that keeps a given share of the signal: the ``1 - retention`` quantile of its scores.

    One cut for the pooled hits of all events; linear between scores as in :func:`numpy.quantile`.
    Hits are kept where ``score >= cut``.

    Args:
        score: (N,) float, higher = more like signal.
        signal: (N,) bool, truth.
        retention: share of signal to keep, in (0, 1).

    Returns:
        a score, exact in float32; ``nan`` if there is no signal.

    Raises:
        TypeError: if ``signal`` is not bool.
        ValueError: if the lengths differ, or ``retention`` is outside (0, 1).

    Example:
        >>> score = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
        >>> signal = torch.tensor([True, True, True, True, True, False])
        >>> round(cut_at_retention(score, signal, 0.75), 6)
        0.2
    """
    _check_scores(score, signal)
    if not 0 < retention < 1:
        raise ValueError(f"retention must be in (0, 1), got {retention}")
    of_signal = score[signal].detach().double().cpu().numpy()
    if not len(of_signal):
        return float("nan")
    return float(np.float32(np.quantile(of_signal, 1 - retention)))


def noise_removed_at(score: Tensor, signal: Tensor, retention: float) -> float:
    """Fraction of all noise hits removed by the cut that keeps a given share of the signal.

    Args:
        score, signal, retention: as of :func:`cut_at_retention`.

    Returns:
        in [0, 1]; ``nan`` without signal (there is no cut) or without noise.

    Raises:
        TypeError, ValueError: as of :func:`cut_at_retention`.
    """
    cut = cut_at_retention(score, signal, retention)
    noise = score[~signal]
    if cut != cut or not len(noise):
        return float("nan")
    return float((noise < cut).double().mean())


def purity_at_efficiency(score: Tensor, signal: Tensor, efficiency: float = 0.95) -> float:
    """Purity of what is kept by the cut that keeps a given share of the signal.

    Args:
        score, signal: as of :func:`cut_at_retention`.
        efficiency: share of signal to keep, in (0, 1).

    Returns:
        in [0, 1]; ``nan`` without signal.

    Raises:
        TypeError, ValueError: as of :func:`cut_at_retention`.
    """
    kept = score >= cut_at_retention(score, signal, efficiency)
    return float(share((kept & signal).sum(), kept.sum()))


class RocCurve(NamedTuple):
    """Points of a curve, from "keep nothing" to "keep everything"; float64, equal lengths."""

    noise_kept: Tensor
    signal_kept: Tensor
    cut: Tensor


def roc_curve(score: Tensor, signal: Tensor) -> RocCurve:
    """Shares of noise and of signal kept, for every cut that makes a difference.

    Args:
        score: (N,) float, higher = more like signal.
        signal: (N,) bool, truth.

    Returns:
        noise_kept, signal_kept: (P,) float64 in [0, 1], ascending from 0 to 1; ``nan`` where there
            is no noise, no signal.
        cut: (P,) float64, descending; the first is infinite and keeps nothing.

    Raises:
        TypeError: if ``signal`` is not bool.
        ValueError: if the lengths differ.
    """
    _check_scores(score, signal)
    cuts, group = torch.unique(-score.detach().double(), return_inverse=True)
    kept_signal = torch.bincount(group[signal], minlength=len(cuts)).cumsum(0)
    kept_noise = torch.bincount(group[~signal], minlength=len(cuts)).cumsum(0)
    nothing = kept_signal.new_zeros(1)
    return RocCurve(
        torch.cat([nothing, kept_noise]).double() / (~signal).sum(),
        torch.cat([nothing, kept_signal]).double() / signal.sum(),
        torch.cat([cuts.new_full((1,), torch.inf), -cuts]),
    )


def roc_auc(score: Tensor, signal: Tensor) -> float:
    """Area under :func:`roc_curve`: how often a signal hit scores above a noise hit, ties half.

    Args:
        score, signal: as of :func:`roc_curve`.

    Returns:
        in [0, 1]; ``nan`` without signal or without noise.

    Raises:
        TypeError, ValueError: as of :func:`roc_curve`.
    """
    curve = roc_curve(score, signal)
    return float(torch.trapezoid(curve.signal_kept, curve.noise_kept)) if len(score) else float("nan")


def _check_scores(score: Tensor, signal: Tensor) -> None:
    if signal.dtype != torch.bool:
        raise TypeError(f"signal must be bool, got {signal.dtype}")
    if score.shape != signal.shape:
        raise ValueError(f"score and signal differ in shape: {tuple(score.shape)}, {tuple(signal.shape)}")

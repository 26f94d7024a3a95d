"""How well hits were told apart: pure functions, the definitions of the metrics.

A hit is *kept* if its score is at least the cut. Counts of kept and lost signal and noise are
named as usual: ``tp`` kept signal, ``fp`` kept noise, ``fn`` lost signal, ``tn`` lost noise.
"""

from __future__ import annotations

from typing import NamedTuple

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

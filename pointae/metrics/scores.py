"""How well scores tell signal from noise, for any cut: pure functions over the pooled hits.

A hit is *kept* if its score is at least the cut, so hits that tie at the cut stay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pointae.metrics.per_hit import share


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
    check_scores(score, signal)
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
    check_scores(score, signal)
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


def check_scores(score: Tensor, signal: Tensor) -> None:
    """Refuse scores and truth that do not belong together.

    Raises:
        TypeError: if ``signal`` is not bool.
        ValueError: if the shapes differ.
    """
    if signal.dtype != torch.bool:
        raise TypeError(f"signal must be bool, got {signal.dtype}")
    if score.shape != signal.shape:
        raise ValueError(f"score and signal differ in shape: {tuple(score.shape)}, {tuple(signal.shape)}")

"""Statistical errors of figures over events: the events are drawn again and again, with replacement."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REPLICATES = 100
"""Draws; the error itself is then known to 7 %."""

Weights = NDArray[np.int64]
"""(R, B): how often each of B events is in each of R draws."""


def event_weights(events: int, replicates: int = REPLICATES) -> Weights:
    """(R, B) how often each of B events is drawn; the same in every call."""
    if not events:
        return np.zeros((replicates, 0), dtype=np.int64)
    generator = np.random.default_rng(0)
    return generator.multinomial(events, np.full(events, 1 / events), size=replicates)


def noise_removed_at_error(score: Tensor, signal: Tensor, batch: Tensor, retention: float, weights: Weights) -> float:
    """Standard deviation of :func:`pointae.metrics.noise_removed_at` over events drawn again, cut and all.

    After B. Efron, Ann. Statist. 7 (1979) 1, with whole events as the units, for hits of an event are
    not independent.

    Args:
        score: (N,) float, higher = more like signal.
        signal: (N,) bool, truth.
        batch: (N,) int64, event of each hit.
        retention: share of signal to keep, in (0, 1).
        weights: (R, B) of :func:`event_weights`.

    Returns:
        in [0, 1]; ``nan`` without signal or without noise.
    """
    ranked, of_signal = _ranked(score, batch, signal)
    noise, of_noise = _ranked(score, batch, ~signal)
    if not len(ranked) or not len(noise):
        return float("nan")
    return _spread([_removed(ranked, w[of_signal], noise, w[of_noise], retention) for w in weights])


def share_error(part: Tensor, whole: Tensor, weights: Weights) -> float:
    """Standard deviation of ``sum(part) / sum(whole)`` over events drawn again.

    Args:
        part, whole: (B,) counts of each event.
        weights: (R, B) of :func:`event_weights`.

    Returns:
        ``nan`` where there is nothing to take a share of.
    """
    parts, wholes = weights @ part.cpu().numpy(), weights @ whole.cpu().numpy()
    return _spread((parts[wholes > 0] / wholes[wholes > 0]).tolist())


def _ranked(score: Tensor, batch: Tensor, which: Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores of the hits in question in ascending order, and the event of each."""
    ranked, order = torch.sort(score[which].float().cpu())
    return ranked.numpy(), batch[which].cpu()[order].numpy()


def _removed(
    signal: NDArray[np.float32], signal_weight: Weights, noise: NDArray[np.float32], noise_weight: Weights, kept: float
) -> float:
    """Share of the noise below the cut, where each hit counts as often as its event was drawn."""
    reached = signal_weight.cumsum()
    if not reached[-1]:
        return float("nan")
    # The quantile of numpy, linear between the two scores around it.
    place = (reached[-1] - 1) * (1 - kept)
    below, above = (signal[np.searchsorted(reached, at, side="right")] for at in (np.floor(place), np.ceil(place)))
    cut = np.float32(float(below) + (float(above) - float(below)) * (place - np.floor(place)))
    total = int(noise_weight.sum())
    removed = int(noise_weight[: np.searchsorted(noise, cut, side="left")].sum())
    return removed / total if total else float("nan")


def _spread(values: list[float]) -> float:
    finite = [value for value in values if value == value]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else float("nan")

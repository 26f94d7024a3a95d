"""How scores behave over all their values: pure functions over pooled hits, for curves and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointae.metrics.scores import check_scores

Row = dict[str, Any]

OUTPUT_LIMIT, OUTPUT_BINS = 16.0, 128
"""The histogram of raw outputs: a float32 score reaches 1 at a logit of about 17."""
CALIBRATION_BINS = 10


def noise_removed_curve(score: Tensor, signal: Tensor, retentions: Sequence[float]) -> NDArray[np.float64]:
    """:func:`~pointae.metrics.scores.noise_removed_at` of many retentions in one go.

    Args:
        score: (N,) float, higher = more like signal.
        signal: (N,) bool, truth.
        retentions: R shares of signal to keep, in [0, 1].

    Returns:
        (R,) in [0, 1]; ``nan`` without signal or without noise.

    Raises:
        TypeError, ValueError: as of :func:`~pointae.metrics.scores.cut_at_retention`.
    """
    check_scores(score, signal)
    values, truth = score.detach().double().cpu().numpy(), signal.cpu().numpy()
    noise = np.sort(values[~truth])
    if not truth.any() or not len(noise):
        return np.full(len(retentions), np.nan)
    # A cut is kept as float32, as everywhere: hits that score the same stay.
    cuts = np.quantile(values[truth], 1 - np.asarray(retentions)).astype(np.float32)
    return np.searchsorted(noise, cuts.astype(np.float64), side="left") / len(noise)


def output_histogram(score: Tensor, signal: Tensor) -> list[Row]:
    """Raw outputs of a network before the threshold: logits of its scores, counted by truth.

    Args:
        score: (N,) float in [0, 1], the sigmoid of the raw output.
        signal: (N,) bool, truth.

    Returns:
        a row a bin: ``low``, ``high`` (logits) and numbers of hits ``signal``, ``noise``. What lies beyond
        +-16, where float32 scores are 0 or 1, is in the outermost bins.

    Raises:
        TypeError, ValueError: as of :func:`~pointae.metrics.scores.cut_at_retention`.
    """
    check_scores(score, signal)
    width = 2 * OUTPUT_LIMIT / OUTPUT_BINS
    places = ((torch.logit(score.detach().double()) + OUTPUT_LIMIT) / width).floor().clamp(0, OUTPUT_BINS - 1).long()
    counts = [torch.bincount(places[chosen], minlength=OUTPUT_BINS).tolist() for chosen in (signal, ~signal)]
    lows = [i * width - OUTPUT_LIMIT for i in range(OUTPUT_BINS)]
    return [
        {"low": low, "high": low + width, "signal": of_signal, "noise": of_noise}
        for low, of_signal, of_noise in zip(lows, *counts, strict=True)
    ]


def calibration(score: Tensor, signal: Tensor) -> list[Row]:
    """What share of the hits of each score is signal: a calibrated score is that share.

    Args:
        score: (N,) float in [0, 1].
        signal: (N,) bool, truth.

    Returns:
        a row a bin of scores: ``low``, ``high``, ``hits``, ``mean_score``, ``signal_share`` and its binomial
        standard ``error``; ``nan`` in bins without hits.

    Raises:
        TypeError, ValueError: as of :func:`~pointae.metrics.scores.cut_at_retention`.
    """
    check_scores(score, signal)
    score = score.detach().double()
    places = (score * CALIBRATION_BINS).floor().clamp(0, CALIBRATION_BINS - 1).long()
    hits = torch.bincount(places, minlength=CALIBRATION_BINS)
    mean = torch.bincount(places, score, CALIBRATION_BINS) / hits
    share = torch.bincount(places[signal], minlength=CALIBRATION_BINS) / hits.double()
    error = (share * (1 - share) / hits).sqrt()
    columns = zip(hits.tolist(), mean.tolist(), share.tolist(), error.tolist(), strict=True)
    return [
        {
            "low": i / CALIBRATION_BINS, "high": (i + 1) / CALIBRATION_BINS, "hits": count, "mean_score": score_,
            "signal_share": share_, "error": error_,
        }
        for i, (count, score_, share_, error_) in enumerate(columns)
    ]  # fmt: skip

"""Scores of hits by the likelihood ratio: no classifier of single hits removes more noise at a retention."""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.config import TorchSource
from pointae.errors import DataError
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.oracle.closed_form import expected_counts
from pointae.oracle.monte_carlo import expected_total
from pointae.ordering import numbered
from pointae.simulate.photons import mean_photons, raw_photons
from pointae.simulate.torch_detector import TorchTruth, torch_truth

_GEOMETRY = torch_geometry()
_LEAST = 1e-30
"""Stands for an expectation of nothing, so that ratios stay finite."""


def log_ratio(signal: Tensor, background: Tensor) -> Tensor:
    """Logarithm of the likelihood ratio of each hit.

    Args:
        signal, background: (N,) mean number of hits in the hit's cell.

    Returns:
        (N,) float64, finite.
    """
    return signal.double().clamp(min=_LEAST).log() - background.double().clamp(min=_LEAST).log()


def oracle_log_ratio(
    hits: HitBatch, source: TorchSource, seed: int, index: Tensor, target: int | None = None
) -> Tensor:
    """Logarithm of the likelihood ratio of hits of simulated TORCH events, their particles being known.

    Noise is taken to be uniform over the grid, as many hits as the event was given. For events of
    ``noise_mode="uniform"`` this is the truth; for light of other tracks, of which the oracle is not told,
    and for late light it is an assumption, and the score no bound.

    Args:
        hits: B events on the TORCH grid.
        source: settings that the events were simulated with.
        seed: the data set's seed.
        index: (B,) int64, numbers of the events.
        target: number of the one track that is signal, the light of the others being known background;
            ``None``: the light of all tracks is signal.

    Returns:
        (N,) float64, finite, higher = more like signal; natural logarithm.

    Raises:
        DataError: the hits are no TORCH events, or not as many as ``index`` names.
    """
    if hits.geometry != _GEOMETRY:
        raise DataError(f"the oracle knows the TORCH grid only, these hits are of '{hits.geometry.name}'")
    if len(index) != hits.batch_size:
        raise DataError(f"index must name each of {hits.batch_size} events, got {len(index)}")
    truth = torch_truth(source, seed, index.to(hits.device))
    track, hit = _pairs(hits, truth)
    expected = expected_counts(truth.tracks, truth.sigma_t[truth.tracks.event], track, hits.coords[hit])
    expected = expected.double() * _brightness(source, truth)[track]
    wanted = torch.ones_like(track, dtype=torch.bool) if target is None else truth.tracks.number[track] == target
    nothing = torch.zeros(hits.num_hits, dtype=torch.float64, device=hits.device)
    signal = nothing.index_add(0, hit[wanted], expected[wanted])
    others = nothing.index_add(0, hit[~wanted], expected[~wanted])
    # An event without noise is scored as if it had one hit of it.
    noise = truth.noise.clamp(min=1).double() / hits.geometry.num_cells
    return log_ratio(signal, noise[hits.batch] + others)


def oracle_score(hits: HitBatch, source: TorchSource, seed: int, index: Tensor, target: int | None = None) -> Tensor:
    """Probability that each hit is signal, by :func:`oracle_log_ratio`, whose arguments it has.

    Strictly monotone in the ratio: in float32 up to ratios of 10^7, above any that occur.

    Returns:
        (N,) float32 in [0, 1].
    """
    return torch.sigmoid(oracle_log_ratio(hits, source, seed, index, target)).float()


def _pairs(hits: HitBatch, truth: TorchTruth) -> tuple[Tensor, Tensor]:
    """Rows of track and of hit (P,), for every hit with every track of its event."""
    event = truth.tracks.event
    track, number = numbered(hits.counts[event])
    return track, hits.offsets[:-1][event][track] + number


def _brightness(source: TorchSource, truth: TorchTruth) -> Tensor:
    """(T,) float64: hits that a track leaves, over what physics expects of it."""
    tracks = truth.tracks
    if source.signal_mode == "poisson":
        return torch.ones_like(tracks.x)
    # The first so many detected, of so many followed.
    total = expected_total(tracks, truth.sigma_t[tracks.event])
    wanted = truth.signal[tracks.event]
    return torch.minimum(wanted / total, raw_photons(wanted) / mean_photons(tracks))

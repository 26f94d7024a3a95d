"""What is expected of the light when a track is known only as well as its hits tell: averages over its posterior.

Importance sampling about each fitted track (Kahn & Marshall 1953, J. Oper. Res. Soc. Am. 1, 263): draws of a normal
distribution, wider than the fit's covariance, weighted by how likely the hits are. The resolution is drawn too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointae.simulate import module as m
from pointae.tracking.density import expected_light, time_width
from pointae.tracking.fit import PRIOR_SPREAD, Scale, curvature
from pointae.tracking.hypotheses import CENTRE, physical
from pointae.tracking.paths import LightHits
from pointae.tracking.sequences import even_uniform

_SHARP = Scale(0.08, 0.018, 10.0, wide=True)
_ROUNDS = 2
_WIDENED, _WIDENED_AGAIN = 2.5, 1.3
"""Of the standard deviations, of the fit in the first round, of the round before in later ones: a fit may have stopped
short, and draws must reach where the posterior does."""
_LEAST_SHARE = 0.05
"""Of the fit's covariance, added to that of a round: few draws may say too little of it."""
_RESOLUTIONS = (0.05, 0.10)
"""ns, range of a photon's time resolution."""
_USUAL_RESOLUTION = 0.07
_ROUNDING = 2.0**-20
"""Share of a sum of squares that single precision loses, with room."""
_CELLS = m.COLUMNS * m.ROWS * m.TIME_BINS


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of K tracks of each of B events.

    Args:
        light: (B, K, L), expected number of photons of the track in each hit's cell, over that of noise.
        evidence: (B, K), log of how much likelier the track makes the hits, beside the tracks before it.
        spread: (B, K, 5), standard deviations of its parameters in units of the prior's.
    """

    light: Tensor
    evidence: Tensor
    spread: Tensor


def posterior(hits: LightHits, present: Tensor, noise: Tensor, hypotheses: Tensor, number: int) -> Posterior:
    """Averages over what each fitted track may be.

    The light of the tracks before it is counted as known, so a track that is fitted twice has evidence once.

    Args:
        hits: L of each of B events.
        present: (B, L), 1 for a hit, 0 for padding.
        noise: (B,), mean number of noise hits.
        hypotheses: (B, K, 5), fitted, the strongest first.
        number: S of draws for each track in each of two rounds, the same random numbers for all.
    """
    covariance = _inverse(curvature(hits, present, hypotheses, _SHARP))  # (B, K, 5, 5), float64
    root = _root(covariance, otherwise=torch.eye(len(PRIOR_SPREAD)).to(covariance)) * _WIDENED
    normal, resolution = (values.to(hypotheses) for values in _draws(number))
    prior, cells = hypotheses.new_tensor(PRIOR_SPREAD), (_CELLS / noise.clamp(min=1.0))[:, None, None]
    width = time_width(resolution).repeat(hypotheses.shape[1]).expand(len(hypotheses), -1)  # (B, K S)
    usual = time_width(torch.full_like(hypotheses[..., 0], _USUAL_RESOLUTION))
    known = expected_light(hits, hypotheses, usual) * cells
    for _ in range(_ROUNDS):
        steps = torch.einsum("bkij,sj->bksi", root, normal.to(root)).to(hypotheses)
        drawn = physical(hypotheses[:, :, None] + steps * prior)  # (B, K, S, 5)
        light = (expected_light(hits, drawn.flatten(1, 2), width) * cells).unflatten(1, (-1, number))  # (B, K, S, L)
        before = 1 + known.cumsum(1) - known
        likelihood = ((light / before[:, :, None]).log1p() * present[:, None, None]).sum(-1)
        pull = (drawn - hypotheses.new_tensor(CENTRE)) / prior
        weight = (likelihood - pull.square().sum(-1) / 2 + normal.square().sum(-1) / 2).softmax(-1)  # (B, K, S)
        hypotheses, known = (weight[..., None] * drawn).sum(2), (weight[..., None] * light).sum(2)
        off = ((drawn - hypotheses[:, :, None]) / prior).double()
        scatter = torch.einsum("bks,bksi,bksj->bkij", weight.double(), off, off)
        root = _root(scatter * _WIDENED_AGAIN**2 + covariance * _LEAST_SHARE, otherwise=root)
    spread = scatter.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt().to(hypotheses)
    return Posterior(known, (weight * likelihood).sum(-1), spread)


def _inverse(precision: Tensor) -> Tensor:
    """The covariance of inverse covariances (..., 5, 5), in units of the prior.

    Their sums over hits are in single precision. With many hits in one place that may lose more of the diagonal than
    the prior adds; where it does, as much is put back. What is still no inverse covariance tells nothing: the prior
    remains.
    """
    lost = torch.diag_embed(precision.diagonal(dim1=-2, dim2=-1) * _ROUNDING)
    prior = torch.eye(precision.shape[-1]).to(precision)
    return torch.cholesky_inverse(_root(precision, otherwise=_root(precision + lost, otherwise=prior)))


def _root(matrix: Tensor, otherwise: Tensor) -> Tensor:
    """Cholesky's lower triangle of each of matrices (..., 5, 5); ``otherwise`` where one is not positive definite."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where((failed == 0)[..., None, None], root, otherwise)


def _draws(number: int) -> tuple[Tensor, Tensor]:
    """Normal numbers (S, 5) and resolutions (S,), ns; the first is the middle itself."""
    parameters, (low, high) = len(PRIOR_SPREAD), _RESOLUTIONS
    even = even_uniform(number, parameters + 1)
    normal = torch.special.ndtri(even[:, :parameters])
    normal[0] = 0
    return normal, low + (high - low) * even[:, parameters]

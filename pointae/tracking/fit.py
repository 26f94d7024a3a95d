"""The fit of hypothetical tracks to weighted hits: robust, by Gauss-Newton steps from coarse to fine.

A hit is noise, or light of one of several paths. The support of a hypothesis is the log of one plus how much
likelier light makes the hit, summed over hits by their weight: a hit that no path explains neither helps nor harms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.tracking.hypotheses import CENTRE, SPREAD
from pointae.tracking.loops import by_event, group_coefficients, loops_for, stacked
from pointae.tracking.paths import LightHits, Paths, derivatives, emission, trace


@dataclass(frozen=True)
class Scale:
    """How sharply arrivals are compared.

    Args:
        time: ns.
        index: of refraction; the light's own spread is 0.018.
        odds: of light to noise for a hit that a path explains exactly.
        wide: trace the wider choice of mirror images.
    """

    time: float
    index: float
    odds: float
    wide: bool


COARSE = Scale(0.5, 0.03, 2.0, wide=False)
MIDDLE = Scale(0.2, 0.02, 4.0, wide=False)
FINE = Scale(0.2, 0.02, 4.0, wide=True)
EXACT = Scale(0.1, 0.019, 10.0, wide=True)
"""About the resolution: 70 ps, the pixel's size, and the spectrum."""
PRIOR_SPREAD = (250.0, 900.0, 0.3, 0.03, 1.5)
"""Standard deviations of the parameters about :data:`~pointae.tracking.hypotheses.CENTRE` before any light is seen."""
_DAMPING = 0.02
_LARGEST_STEP = 0.5
"""In prior standard deviations."""
_PULLING = 2
"""Likeliest paths of a hit that move a hypothesis; of the others nothing is left to pull."""


def odds(paths: Paths, scale: Scale) -> Tensor:
    """(B, K, L, W): how much likelier than noise a path makes a hit."""
    pull = paths.late.square() * (-0.5 / scale.time**2) + paths.excess.square() * (-0.5 / scale.index**2)
    return pull.exp_().mul_(scale.odds)


def explained(hits: LightHits, hypotheses: Tensor, scale: Scale) -> Tensor:
    """(B, K, L): odds of light to noise of each hit under each hypothesis (B, K, 5)."""
    loops = loops_for(hypotheses)
    if loops is None:
        return odds(trace(hits, emission(hypotheses), scale.wide), scale).sum(-1)
    light = hypotheses.new_empty(*hypotheses.shape[:2], hits.x.shape[1])
    arrays, settings = (stacked(hits), hypotheses.numpy(), light.numpy()), _settings(scale)
    by_event(lambda e: loops.explained(arrays[0][e], arrays[1][e], *settings, arrays[2][e]), hypotheses)
    return light


def best(hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale, number: int) -> Tensor:
    """The ``number`` of hypotheses (B, K, 5) with most support of hits of weights (B, L)."""
    support = (explained(hits, hypotheses, scale).log1p() * weights[:, None]).sum(-1)
    return _rows_at(hypotheses, support.topk(min(number, hypotheses.shape[1]), 1).indices)


def gauss_newton(hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale, together: bool = False) -> Tensor:
    """Hypotheses (B, K, 5) after one damped step towards more support.

    Args:
        hits: L of each event.
        weights: (B, L).
        hypotheses: (B, K, 5).
        scale: how sharply arrivals are compared.
        together: the hypotheses of an event share each hit, instead of each taking all of it.
    """
    loops = loops_for(hypotheses)
    if loops is not None:
        return _compiled_step(loops, hits, weights, hypotheses, scale, together)
    matrix, gradient = _normal_equations(hits, weights, hypotheses, scale, together)
    ridge = 1 + _DAMPING * matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    matrix = matrix + ridge[..., None, None] * torch.eye(len(SPREAD), device=matrix.device, dtype=matrix.dtype)
    step = -torch.linalg.solve(matrix, gradient[..., None])[..., 0]
    return hypotheses + step.clamp(-_LARGEST_STEP, _LARGEST_STEP) * hypotheses.new_tensor(PRIOR_SPREAD)


def curvature(hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale) -> Tensor:
    """(B, K, 5, 5) float64, inverse covariance of hypotheses that share the hits, in units of :data:`PRIOR_SPREAD`.

    Gauss-Newton's approximation, the prior included. Arguments as of :func:`gauss_newton`.
    """
    loops = loops_for(hypotheses)
    if loops is None:
        matrix = _normal_equations(hits, weights, hypotheses, scale, together=True)[0].double()
        return matrix + torch.eye(len(SPREAD), device=matrix.device, dtype=matrix.dtype)
    light, out = explained(hits, hypotheses, scale).sum(1), hypotheses.new_empty(*hypotheses.shape, 5).double()
    own, *rows = (stacked(hits), *(value.numpy() for value in (weights, hypotheses, light, out)))

    def fill(events: slice) -> None:
        weight, at, lit, to = (row[events] for row in rows)
        loops.curvature(own[events], weight, at, *_settings(scale), lit, np.array(PRIOR_SPREAD), to)

    by_event(fill, hypotheses)
    return out


def _normal_equations(
    hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale, together: bool
) -> tuple[Tensor, Tensor]:
    """Matrix (B, K, 5, 5) and gradient (B, K, 5) in units of the prior, which is in the gradient alone."""
    source = emission(hypotheses)
    paths = trace(hits, source, scale.wide)
    share = odds(paths, scale)
    total = share.sum(-1, keepdim=True)
    share, ways = share.topk(_PULLING, -1)
    paths = paths.select(ways)
    share = share / (1 + (total.sum(1, keepdim=True) if together else total)) * weights[:, None, :, None]
    spread = hypotheses.new_tensor(PRIOR_SPREAD)
    late, index = derivatives(paths, hits, source)
    slopes = torch.cat([(late / scale.time).flatten(2, 3), (index / scale.index).flatten(2, 3)], 2) * spread
    pulls = torch.cat([(paths.late / scale.time).flatten(2), (paths.excess / scale.index).flatten(2)], 2)
    weighted = slopes * torch.cat([share.flatten(2)] * 2, 2)[..., None]  # (B, K, 2 L W, 5)
    gradient = (weighted.transpose(-1, -2) @ pulls[..., None])[..., 0]
    # The prior.
    gradient = gradient + (hypotheses - hypotheses.new_tensor(CENTRE)) / spread
    return weighted.transpose(-1, -2) @ slopes, gradient


def _compiled_step(
    loops: Any, hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale, together: bool
) -> Tensor:
    light = explained(hits, hypotheses, scale).sum(1) if together else weights  # else it is not read
    settings, moved = (*_settings(scale), together), torch.empty_like(hypotheses)
    limits = (np.array(PRIOR_SPREAD), _DAMPING, _LARGEST_STEP)
    own, *rows = (stacked(hits), *(value.numpy() for value in (weights, hypotheses, light, moved)))

    def move(events: slice) -> None:
        weight, at, lit, to = (row[events] for row in rows)
        loops.gauss_newton(own[events], weight, at, *settings, lit, *limits, to)

    by_event(move, hypotheses)
    return moved


def apart(hits: LightHits, weights: Tensor, hypotheses: Tensor, scale: Scale, number: int) -> tuple[Tensor, Tensor]:
    """``number`` hypotheses (B, number, 5) that explain different hits, and the support (B, number) each adds.

    Greedy: the best first, then the one that explains most of what is left.
    """
    light = explained(hits, hypotheses, scale)  # (B, K, L)
    loops = loops_for(hypotheses)
    if loops is not None:
        rows, added = np.empty((len(light), number), np.int64), np.empty((len(light), number), np.float32)
        arrays = (light.numpy(), weights.numpy())
        by_event(lambda e: loops.apart(arrays[0][e], arrays[1][e], number, rows[e], added[e]), hypotheses)
        return _rows_at(hypotheses, torch.from_numpy(rows)), torch.from_numpy(added)
    taken = torch.zeros_like(light[:, :1])
    chosen, gains = [], []
    for _ in range(number):
        gain = (((1 + taken + light) / (1 + taken)).log() * weights[:, None]).sum(-1)
        most = gain.max(1)
        chosen.append(most.indices)
        gains.append(most.values)
        taken = taken + light.gather(1, most.indices[:, None, None].expand(-1, -1, light.shape[2]))
    return _rows_at(hypotheses, torch.stack(chosen, 1)), torch.stack(gains, 1)


def _settings(scale: Scale) -> tuple[np.ndarray, bool, np.ndarray]:
    """A scale and the light's dispersion, for the compiled loops."""
    return np.array([scale.time, scale.index, scale.odds], np.float32), scale.wide, group_coefficients()


def _rows_at(hypotheses: Tensor, rows: Tensor) -> Tensor:
    return hypotheses.gather(1, rows[..., None].expand(-1, -1, hypotheses.shape[-1]))

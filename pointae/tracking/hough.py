"""Starts for the fit: a Hough transform of unfolded light over where a track entered, for many guesses of the rest.

With height, time, speed and slope of a track given, each hit says on each of its paths where in x the track was,
up to the plate's mirror images. The places on which hits agree are worth a fit. After P. V. C. Hough, US Patent
3069654 (1962).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pointae.simulate import module as m
from pointae.tracking.paths import INDEX_RANGE, MEAN_INDEX, LightHits, emission, group_index

_SLOPES = 17
_STEEPEST = 0.6
_BINS, _BIN = 24, 30.0
"""Votes for x: number and width in mm; they reach over the plate's sides by one bin."""
_EDGE = _BINS * _BIN / 2
_MISS, _COLOUR, _EARLY = 0.015, 0.03, 0.01
"""Tolerances: of the index, of the light's own spread, of the share by which light came too early for its path."""
_FIRST, _SECOND = -0.019, 0.021
"""Two colours between which the one that fits is found by a straight line."""


def starts(hits: LightHits, weights: Tensor, guesses: Tensor, number: int) -> Tensor:
    """Hypotheses (B, number, 5) that most weight of hits agrees on.

    Args:
        hits: L of each event.
        weights: (B, L).
        guesses: (B, P, 5), hypotheses whose ``y``, ``inverse_beta`` and ``time`` are used.
        number: of hypotheses, at most P times slopes times places.
    """
    slopes = torch.linspace(-_STEEPEST, _STEEPEST, _SLOPES, device=guesses.device, dtype=guesses.dtype)
    grid = guesses[:, :, None].repeat(1, 1, _SLOPES, 1)  # (B, P, S, 5)
    grid[..., 2] = slopes
    grid[..., 0] = 0
    votes = _votes(hits, weights, grid.flatten(1, 2))
    votes = F.avg_pool1d(votes, 3, 1, 1, count_include_pad=True) * 1.5 + votes / 2
    flat = votes.flatten(1).topk(number, 1).indices
    found = grid.flatten(1, 2).gather(1, (flat // _BINS)[..., None].expand(-1, -1, 5))
    found[..., 0] = (flat % _BINS + 0.5) * _BIN - _EDGE
    return found


def _votes(hits: LightHits, weights: Tensor, grid: Tensor) -> Tensor:
    """(B, G, bins) weight of hits that agree with hypotheses (B, G, 5) on where in x the track was."""
    x, time, cosine, sine, block = (value[:, None] for value in vars(hits).values())  # (B, 1, L)
    source = emission(grid)
    y, start, inverse_beta, dx, dy, dz = (
        getattr(source, name)[..., 0] for name in ("y", "time", "inverse_beta", "dx", "dy", "dz")
    )  # (B, G, 1)
    inverse_beta = inverse_beta.clamp(min=1.0)
    reach = (time - start).clamp(min=0.1) * m.SPEED_OF_LIGHT  # times the group index: the length
    votes = grid.new_zeros(*grid.shape[:2], _BINS)
    for up, climb in ((1, m.BEVEL_BASE - y), (-1, m.BEVEL_BASE + m.PLATE_HEIGHT + y)):
        straight = (climb / cosine + block) / reach  # (B, G, L)
        steep = up * dy * cosine + dz * sine
        for side in (1, -1):
            first, second = (
                _aim(torch.full_like(straight, colour), straight, steep, side, dx, inverse_beta)[0]
                for colour in (_FIRST, _SECOND)
            )
            rise = second - first
            rise = torch.where(rise.abs() < 1e-3, torch.full_like(rise, 1e-3), rise)
            excess = (_FIRST - first * ((_SECOND - _FIRST) / rise)).clamp(*INDEX_RANGE)
            miss, kx, group = _aim(excess, straight, steep, side, dx, inverse_beta)
            early = (straight * group - 1).clamp(min=0)
            chance = (miss / _MISS).square() + (excess / _COLOUR).square() + (early / _EARLY).square()
            weight = (chance * -0.5).exp_() * weights[:, None]
            across = kx * reach / group
            for place in (x, m.PLATE_WIDTH - x):
                at = (place - across + m.PLATE_WIDTH) % (2 * m.PLATE_WIDTH) - m.PLATE_WIDTH
                # The track's middle is half a plate's depth after its entry.
                cell = ((at - source.x[..., 0] + _EDGE) * (1 / _BIN)).floor()
                inside = (cell >= 0) & (cell < _BINS)
                votes.scatter_add_(2, cell.clamp_(0, _BINS - 1).long(), weight * inside)
    return votes


def _aim(
    excess: Tensor, straight: Tensor, steep: Tensor, side: int, dx: Tensor, inverse_beta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For light of a colour: its index less the one that its angle demands, its direction in x, its group index."""
    group = group_index(excess)
    kl = (straight * group).clamp(max=1.0)
    kx = side * (1 - kl.square()).clamp(min=1e-6).sqrt()
    return excess + MEAN_INDEX - inverse_beta / (kx * dx + kl * steep).clamp(min=0.3), kx, group

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
from pointae.tracking.loops import by_event, group_coefficients, loops_for, stacked
from pointae.tracking.paths import INDEX_RANGE, MEAN_INDEX, LightHits, emission, group_index

_SLOPES = 17
_STEEPEST = 0.6
BINS, BIN = 24, 30.0
"""Votes for x: number and width in mm; they reach over the plate's sides by one bin."""
EDGE = BINS * BIN / 2
MISS, COLOUR, EARLY = 0.015, 0.03, 0.01
"""Tolerances: of the index, of the light's own spread, of the share by which light came too early for its path."""
FIRST, SECOND = -0.019, 0.021
"""Two colours between which the one that fits is found by a straight line."""


def starts(hits: LightHits, weights: Tensor, guesses: Tensor, number: int) -> Tensor:
    """Hypotheses (B, number, 5) that most weight of hits agrees on, each a peak among its neighbours.

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
    grid = grid.flatten(1, 2)
    counted = votes(hits, weights, grid)
    smooth = F.avg_pool1d(counted, 3, 1, 1, count_include_pad=True) * 1.5 + counted / 2
    planes = smooth.view(-1, 1, _SLOPES, BINS)
    # Of a strong track's starts the best of each neighbourhood is enough: the others' place is for weaker tracks.
    peaks = torch.where(F.max_pool2d(planes, 3, 1, 1) == planes, planes, 0).view(len(smooth), -1)
    flat = peaks.topk(min(number, peaks.shape[1]), 1).indices
    found = grid.gather(1, (flat // BINS)[..., None].expand(-1, -1, 5))
    found[..., 0] = (flat % BINS + 0.5) * BIN - EDGE
    return found


def votes(hits: LightHits, weights: Tensor, grid: Tensor) -> Tensor:
    """(B, G, bins) weight of hits that agree with hypotheses (B, G, 5) on where in x the track was."""
    loops = loops_for(weights)
    if loops is not None:
        counted = grid.new_zeros(*grid.shape[:2], BINS)
        own, (weight, at, out) = stacked(hits), (value.numpy() for value in (weights, grid, counted))
        by_event(lambda e: loops.votes(own[e], weight[e], at[e], group_coefficients(), out[e]), grid)
        return counted
    x, time, cosine, sine, block = (value[:, None] for value in vars(hits).values())  # (B, 1, L)
    source = emission(grid)
    y, start, inverse_beta, dx, dy, dz = (
        getattr(source, name)[..., 0] for name in ("y", "time", "inverse_beta", "dx", "dy", "dz")
    )  # (B, G, 1)
    inverse_beta = inverse_beta.clamp(min=1.0)
    reach = (time - start).clamp(min=0.1) * m.SPEED_OF_LIGHT  # times the group index: the length
    counted = grid.new_zeros(*grid.shape[:2], BINS)
    for up, climb in ((1, m.BEVEL_BASE - y), (-1, m.BEVEL_BASE + m.PLATE_HEIGHT + y)):
        straight = (climb / cosine + block) / reach  # (B, G, L)
        steep = up * dy * cosine + dz * sine
        for side in (1, -1):
            first, second = (
                aim(torch.full_like(straight, colour), straight, steep, side, dx, inverse_beta)[0]
                for colour in (FIRST, SECOND)
            )
            rise = second - first
            rise = torch.where(rise.abs() < 1e-3, torch.full_like(rise, 1e-3), rise)
            excess = (FIRST - first * ((SECOND - FIRST) / rise)).clamp(*INDEX_RANGE)
            miss, kx, group = aim(excess, straight, steep, side, dx, inverse_beta)
            early = (straight * group - 1).clamp(min=0)
            chance = (miss / MISS).square() + (excess / COLOUR).square() + (early / EARLY).square()
            weight = (chance * -0.5).exp_() * weights[:, None]
            across = kx * reach / group
            for place in (x, m.PLATE_WIDTH - x):
                at = (place - across + m.PLATE_WIDTH) % (2 * m.PLATE_WIDTH) - m.PLATE_WIDTH
                # The track's middle is half a plate's depth after its entry.
                cell = ((at - source.x[..., 0] + EDGE) * (1 / BIN)).floor()
                inside = (cell >= 0) & (cell < BINS)
                counted.scatter_add_(2, cell.clamp_(0, BINS - 1).long(), weight * inside)
    return counted


def aim(
    excess: Tensor, straight: Tensor, steep: Tensor, side: int, dx: Tensor, inverse_beta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For light of a colour: its index less the one that its angle demands, its direction in x, its group index."""
    group = group_index(excess)
    kl = (straight * group).clamp(max=1.0)
    kx = side * (1 - kl.square()).clamp(min=1e-6).sqrt()
    return excess + MEAN_INDEX - inverse_beta / (kx * dx + kl * steep).clamp(min=0.3), kx, group

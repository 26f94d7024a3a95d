"""Votes for starts, as :func:`pointae.tracking.hough.votes`."""

from __future__ import annotations

import numpy as np

from pointae.simulate import module as m
from pointae.tracking import hough
from pointae.tracking.compiled.arithmetic import (
    HALF,
    HIGH,
    LEAST_COSINE,
    LIGHT,
    LOW,
    MEAN_INDEX,
    NEGLIGIBLE,
    ONE,
    ROUND,
    WIDTH,
    ZERO,
    compiled,
    decay,
    emission,
    group_of,
)


@compiled
def _aim(excess, straight, steep, side, dx, inverse_beta, c):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.hough.aim`."""
    group = group_of(excess, c)
    kl = min(straight * group, ONE)
    kx = side * np.sqrt(max(ONE - kl * kl, np.float32(1e-6)))
    return excess + MEAN_INDEX - inverse_beta / max(kx * dx + kl * steep, LEAST_COSINE), kx, group


@compiled
def _agreement(hits, source, c, up, side, weights, across):  # type: ignore[no-untyped-def]
    """Half squared standard deviations by which hits (5, L) are off some colour, and how far across they went."""
    sy, start, dx, dy, dz = source[1], source[3], source[4], source[5], source[6]
    inverse_beta = max(source[2], ONE)
    base = np.float32(m.BEVEL_BASE) - sy if up > 0 else np.float32(m.BEVEL_BASE + m.PLATE_HEIGHT) + sy
    low, high = np.float32(hough.FIRST), np.float32(hough.SECOND)
    least, to_miss, to_colour, to_early = (
        np.float32(1e-3), np.float32(1 / hough.MISS), np.float32(1 / hough.COLOUR), np.float32(1 / hough.EARLY)
    )  # fmt: skip
    for i in range(hits.shape[1]):
        cosine = hits[2, i]
        reach = max(hits[1, i] - start, np.float32(0.1)) * LIGHT
        straight = (base / cosine + hits[4, i]) / reach
        steep = up * dy * cosine + dz * hits[3, i]
        first, _, _ = _aim(low, straight, steep, side, dx, inverse_beta, c)
        second, _, _ = _aim(high, straight, steep, side, dx, inverse_beta, c)
        rise = second - first
        rise = rise if np.abs(rise) >= least else least
        excess = min(max(low - first * ((high - low) / rise), LOW), HIGH)
        miss, kx, group = _aim(excess, straight, steep, side, dx, inverse_beta, c)
        early = max(straight * group - ONE, ZERO)
        pull = (miss * to_miss) ** 2 + (excess * to_colour) ** 2 + (early * to_early) ** 2
        weights[i] = HALF * pull
        across[i] = kx * reach / group


@compiled
def votes(hits, weights, grid, c, out):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.hough.votes`.

    Args:
        hits: (B, 5, L).
        weights: (B, L).
        grid: (B, G, 5).
        c: (5,), coefficients of the group index.
        out: (B, G, bins), zeros.
    """
    source = np.empty(8, np.float32)
    off, across, near = (
        np.empty(hits.shape[2], np.float32),
        np.empty(hits.shape[2], np.float32),
        np.empty(hits.shape[2], np.float32),
    )
    whole = np.empty(hits.shape[2], np.int32)
    narrow, edge = np.float32(1 / hough.BIN), np.float32(hough.EDGE)
    for b in range(grid.shape[0]):
        own = hits[b]
        for g in range(grid.shape[1]):
            emission(grid[b, g], source)
            for direction in range(4):
                up, side = (ONE if direction < 2 else -ONE), (ONE if direction % 2 == 0 else -ONE)
                _agreement(own, source, c, up, side, off, across)
                decay(off, whole, near)
                for i in range(own.shape[1]):
                    weight = near[i] * weights[b, i]
                    if weight > NEGLIGIBLE:
                        for mirrored in range(2):
                            place = WIDTH - own[0, i] if mirrored else own[0, i]
                            at = place - across[i] + WIDTH
                            at = at - ROUND * np.floor(at / ROUND) - WIDTH
                            cell = np.int64(np.floor((at - source[0] + edge) * narrow))
                            if 0 <= cell < out.shape[2]:
                                out[b, g, cell] += weight

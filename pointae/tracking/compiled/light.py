"""What hypotheses explain of the light, as :func:`pointae.tracking.fit.explained` and ``apart``."""

from __future__ import annotations

import numpy as np

from pointae.simulate import module as m
from pointae.tracking.compiled.arithmetic import (
    HALF,
    LEAST_COSINE,
    LIGHT,
    MEAN_INDEX,
    ONE,
    REACH,
    ROUND,
    WIDTH,
    ZERO,
    compiled,
    decay,
    emission,
    group_of,
)


@compiled
def _offset(x, suggested, source_x, mirrored, kind):  # type: ignore[no-untyped-def]
    """Way in x to the mirror image next to ``suggested``: the one below (0), above (1), or the nearer (2)."""
    first = (WIDTH - x if mirrored else x) - source_x
    image = (suggested - first) / ROUND
    number = np.floor(image) if kind == 0 else (np.ceil(image) if kind == 1 else np.rint(image))
    return first + ROUND * number


@compiled
def _far_off(hits, source, scale, c, mirrored, side, kind, up, off, offsets):  # type: ignore[no-untyped-def]
    """Half squared standard deviations by which hits (5, L) are off one path each, ``off`` (L,), and its way in x."""
    sx, sy, inverse_beta, start = source[0], source[1], source[2], source[3]
    dx, dy, dz = source[4], source[5], source[6]
    sharp_time, sharp_index = HALF / (scale[0] * scale[0]), HALF / (scale[1] * scale[1])
    base = np.float32(m.BEVEL_BASE) - sy if up > 0 else np.float32(m.BEVEL_BASE + m.PLATE_HEIGHT) + sy
    for i in range(hits.shape[1]):
        x, cosine = hits[0, i], hits[2, i]
        flight = hits[1, i] - start
        along = base / cosine + hits[4, i]
        reach = max(flight, ZERO) * REACH
        across = np.sqrt(max(reach * reach - along * along, ONE))
        offset = _offset(x, side * across, sx, mirrored, kind)
        length = np.sqrt(offset * offset + along * along)
        cherenkov = (offset * dx + along * (up * dy * cosine + dz * hits[3, i])) / length
        excess = inverse_beta / max(cherenkov, LEAST_COSINE) - MEAN_INDEX
        late = flight - group_of(excess, c) * length / LIGHT
        off[i] = late * late * sharp_time + excess * excess * sharp_index
        offsets[i] = offset


@compiled
def ways(hits, source, scale, wide, c, off, offsets):  # type: ignore[no-untyped-def]
    """:func:`_far_off` of all 8 or 16 paths, (W, L) each; every second one goes down."""
    kinds = 2 if wide else 1
    for way in range(off.shape[0]):
        up = ONE if way % 2 == 0 else -ONE
        side = ONE if way // 2 % 2 == 0 else -ONE
        kind = way // 8 if kinds == 2 else 2
        _far_off(hits, source, scale, c, way // 4 % 2 == 1, side, kind, up, off[way], offsets[way])


@compiled
def explained(hits, hypotheses, scale, wide, c, out):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.fit.explained`.

    Args:
        hits: (B, 5, L), as the fields of ``LightHits``.
        hypotheses: (B, K, 5).
        scale: (3,), time, index and odds of a ``Scale``; float32 as all.
        wide: 16 paths, not 8.
        c: (5,), coefficients of the group index.
        out: (B, K, L).
    """
    source = np.empty(8, np.float32)
    off = np.empty((16 if wide else 8, hits.shape[2]), np.float32)
    offsets = np.empty_like(off)
    whole, odds = np.empty(hits.shape[2], np.int32), np.empty(hits.shape[2], np.float32)
    for b in range(hypotheses.shape[0]):
        own = hits[b]
        for k in range(hypotheses.shape[1]):
            emission(hypotheses[b, k], source)
            ways(own, source, scale, wide, c, off, offsets)
            light_of_paths(off, scale[2], whole, odds, out[b, k])


@compiled
def light_of_paths(off, odds, whole, of_way, out):  # type: ignore[no-untyped-def]
    """Odds of light to noise of hits, over all paths (W, L), into ``out`` (L,)."""
    out[:] = ZERO
    for way in range(off.shape[0]):
        decay(off[way], whole, of_way)
        for i in range(out.size):
            out[i] += odds * of_way[i]


@compiled
def apart(light, weights, number, chosen, gains):  # type: ignore[no-untyped-def]
    """As the greedy choice of :func:`pointae.tracking.fit.apart`: additions only fall, so few are asked again.

    Args:
        light: (B, K, L), odds of each hit.
        weights: (B, L).
        number: N of hypotheses.
        chosen, gains: (B, N) int64 and float32.
    """
    taken, gain, asked = (
        np.empty(light.shape[2], np.float32),
        np.empty(light.shape[1], np.float32),
        np.empty(light.shape[1], np.int64),
    )
    for b in range(light.shape[0]):
        taken[:] = ZERO
        asked[:] = -1
        gain[:] = np.float32(np.inf)
        for turn in range(number):
            best = np.argmax(gain)
            while asked[best] < turn:
                total = ZERO
                for i in range(taken.size):
                    if light[b, best, i] > ZERO and weights[b, i] > ZERO:
                        total += weights[b, i] * np.log1p(light[b, best, i] / (ONE + taken[i]))
                gain[best], asked[best] = total, turn
                best = np.argmax(gain)
            chosen[b, turn], gains[b, turn] = best, gain[best]
            for i in range(taken.size):
                taken[i] += light[b, best, i]

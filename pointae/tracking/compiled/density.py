"""What hypotheses expect of the light, as :func:`pointae.tracking.density.expected_light`."""

from __future__ import annotations

import math

import numpy as np

from pointae.simulate import module as m
from pointae.simulate.quartz import ATTENUATION, ATTENUATION_SQUARED_WAVELENGTH
from pointae.tracking import density
from pointae.tracking.compiled.arithmetic import (
    HALF,
    LEAST_COSINE,
    LIGHT,
    MEAN_INDEX,
    ONE,
    ROUND,
    WIDTH,
    ZERO,
    compiled,
    emission,
    group_of,
)

_FAR = np.float32(1.1 * density.REACH)
"""Standard deviations; the group index of the fit's polynomial is not exactly that of the table."""
_REACH = np.float32(density.REACH)
_FASTEST, _SLOWEST = (np.float32(m.SPEED_OF_LIGHT / group) for group in density.GROUPS)
_LATE, _SLOTS = np.float32(density.LATE), density.SLOTS
_AIR2 = np.float32(m.INDEX_AIR**2)
_ROUGHNESS = np.float32((4 * math.pi * m.ROUGHNESS) ** 2 / m.PLATE_DEPTH)
_ABSORBED = np.float32(ATTENUATION_SQUARED_WAVELENGTH**2 / ATTENUATION)
_PIXEL = np.float32(density.PIXEL)
_TOP, _BOTTOM = np.float32(m.BEVEL_BASE), np.float32(m.BEVEL_BASE + m.PLATE_HEIGHT)
_NONE = np.float32(1e9)


@compiled
def _reach(hits, source, up, along, near, far):  # type: ignore[no-untyped-def]
    """Way in the (y, z) plane, and how far across light got at least and at most; (L,) each.

    Below 0, ``far`` says that no light comes in time.
    """
    climb = _TOP - source[1] if up > ZERO else _BOTTOM + source[1]
    for i in range(along.size):
        way = climb / hits[2, i] + hits[4, i]
        flight = hits[1, i] - source[3]
        fast, slow = max(flight + _LATE, ZERO) * _FASTEST, max(flight - _LATE, ZERO) * _SLOWEST
        most, least = fast * fast - way * way, slow * slow - way * way
        along[i], near[i] = way, np.sqrt(max(least, ZERO))
        far[i] = np.sqrt(most) if most > ZERO else -ONE


@compiled
def _late(hits, source, up, mirrored, side, slot, along, near, far, width, c, late, offsets):  # type: ignore[no-untyped-def]
    """Lateness of hits (L,) in standard deviations by one image each, and the way in x to it."""
    sx, inverse_beta, start = source[0], source[2], source[3]
    dx, dy, dz = source[4], source[5], source[6]
    for i in range(late.size):
        x = hits[0, i]
        first = (WIDTH - x if mirrored else x) - sx
        low, high = (near[i], far[i]) if side > 0 else (-far[i], -near[i])
        offset = first + ROUND * (np.ceil((low - first) / ROUND) + slot)
        length = np.sqrt(offset * offset + along[i] * along[i])
        cherenkov = (offset * dx + along[i] * (up * dy * hits[2, i] + dz * hits[3, i])) / length
        excess = inverse_beta / max(cherenkov, LEAST_COSINE) - MEAN_INDEX
        pull = (hits[1, i] - start - group_of(excess, c) * length / LIGHT) / width
        late[i] = pull if (offset <= high) & (far[i] >= ZERO) else _NONE
        offsets[i] = offset


@compiled
def _of_path(hits, i, source, up, offset, along, table, low, per_step, width):  # type: ignore[no-untyped-def]
    """Light of one path to hit ``i``, but for what is the same for all hits."""
    sine = hits[3, i]
    length = np.sqrt(offset * offset + along * along)
    kx, kl = offset / length, along / length
    ky, kz = kl * hits[2, i], kl * sine
    cosine = max(kx * source[4] + up * ky * source[5] + kz * source[6], LEAST_COSINE)
    index = source[2] / cosine
    entry = int(np.rint((index - low) * per_step))
    if entry < 0 or entry >= table.shape[0]:
        return ZERO
    pull = (hits[1, i] - source[3] - table[entry, 2] * length / LIGHT) / width
    index2 = index * index
    if abs(pull) >= _REACH or index2 * (ONE - kz * kz) <= _AIR2 or (up < ZERO and index2 * (ONE - ky * ky) <= _AIR2):
        return ZERO
    if abs(offset - (hits[0, i] - source[0])) >= ONE and index2 * (ONE - kx * kx) <= _AIR2:
        return ZERO
    wavelength2 = table[entry, 1]
    lost = index2 * kz * kz * (along - hits[4, i]) * sine / wavelength2 * _ROUGHNESS
    lost += length / (wavelength2 * wavelength2) * _ABSORBED
    bright = table[entry, 0] * index2 * (ONE - cosine * cosine) * kl * kl * kl / along
    return bright * np.exp(-(lost + HALF * pull * pull))


@compiled
def expected_light(hits, hypotheses, width, table, low, per_step, c, out):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.density.expected_light`.

    Args:
        hits: (B, 5, L), as the fields of ``LightHits``; float32 as all.
        hypotheses: (B, K, 5).
        width: (B, K), ns.
        table: (I, 3), columns of the light's table.
        low, per_step: its first index, and entries for a unit of index.
        c: (5,), coefficients of the group index.
        out: (B, K, L).
    """
    source, length = np.empty(8, np.float32), hits.shape[2]
    along, near, far = np.empty(length, np.float32), np.empty(length, np.float32), np.empty(length, np.float32)
    late, offsets = np.empty(length, np.float32), np.empty(length, np.float32)
    for b in range(hypotheses.shape[0]):
        own = hits[b]
        for k in range(hypotheses.shape[1]):
            emission(hypotheses[b, k], source)
            wide, total = width[b, k], out[b, k]
            total[:] = ZERO
            for up in (ONE, -ONE):
                _reach(own, source, up, along, near, far)
                for way in range(4 * _SLOTS):
                    mirrored, side, slot = way % 2 == 1, 1 - way // 2 % 2 * 2, way // 4
                    _late(own, source, up, mirrored, side, slot, along, near, far, wide, c, late, offsets)
                    for i in range(length):
                        if abs(late[i]) < _FAR:
                            total[i] += _of_path(own, i, source, up, offsets[i], along[i], table, low, per_step, wide)
            same = _PIXEL * source[7] / (source[2] * wide)
            for i in range(length):
                total[i] *= same

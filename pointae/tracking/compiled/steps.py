"""Steps of the fit, as :func:`pointae.tracking.fit.gauss_newton`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pointae.simulate import module as m
from pointae.tracking.compiled.arithmetic import (
    HIGH,
    LEAST_COSINE,
    LIGHT,
    LOW,
    MEAN_INDEX,
    NEGLIGIBLE,
    ONE,
    TWO,
    ZERO,
    compiled,
    decay,
    emission,
    group_of,
)
from pointae.tracking.compiled.light import light_of_paths, ways
from pointae.tracking.hypotheses import CENTRE

summed = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
"""Sums may be taken in another order."""
_NUMBERS = len(CENTRE)
_MIDDLE = np.array(CENTRE)


@compiled
def _two_nearest(off, offsets, near, way_x, up):  # type: ignore[no-untyped-def]
    """The two paths by which hits are least far off: how far, the way in x, and 1 (up) or -1; (2, L) each."""
    near[0], way_x[0], up[0] = off[0], offsets[0], ONE
    near[1], way_x[1], up[1] = np.float32(np.inf), ZERO, ONE
    for number in range(1, off.shape[0]):
        sign = ONE if number % 2 == 0 else -ONE
        for i in range(off.shape[1]):
            this, first = off[number, i], near[0, i]
            is_first, is_second = this < first, this < near[1, i]
            near[1, i] = first if is_first else (this if is_second else near[1, i])
            way_x[1, i] = way_x[0, i] if is_first else (offsets[number, i] if is_second else way_x[1, i])
            up[1, i] = up[0, i] if is_first else (sign if is_second else up[1, i])
            near[0, i] = this if is_first else first
            way_x[0, i] = offsets[number, i] if is_first else way_x[0, i]
            up[0, i] = sign if is_first else up[0, i]


@compiled
def _slopes(hits, number, source, c, way_x, up, late, index):  # type: ignore[no-untyped-def]
    """Lateness and excess index of the first hits by a path each, (6, number): derivatives, then the value itself."""
    sy, inverse_beta, start = source[1], source[2], source[3]
    dx, dy, dz, slant = source[4], source[5], source[6], source[7]
    rise, half = np.float32(1 / m.DISTANCE), np.float32(m.PLATE_DEPTH / 2)
    top, bottom = np.float32(m.BEVEL_BASE), np.float32(m.BEVEL_BASE + m.PLATE_HEIGHT)
    three, four = np.float32(3), np.float32(4)
    for i in range(number):
        cosine, sine, sign, offset = hits[2, i], hits[3, i], up[i], way_x[i]
        along = (top - sy if sign > ZERO else bottom + sy) / cosine + hits[4, i]
        length = np.sqrt(offset * offset + along * along)
        kx, kl = offset / length, along / length
        steep = sign * dy * cosine + dz * sine
        cherenkov = max(kx * dx + kl * steep, LEAST_COSINE)
        excess = inverse_beta / cherenkov - MEAN_INDEX
        curve = c[1] + excess * (TWO * c[2] + excess * (three * c[3] + excess * four * c[4]))
        slope = curve if (excess > LOW) & (excess < HIGH) else ZERO
        speed, dispersion = group_of(excess, c) / LIGHT, slope * length / LIGHT
        bend = -inverse_beta / (cherenkov * cherenkov)
        tilt = (kl * (sign * (ONE - dy * dy) * cosine - dy * dz * sine) - kx * dx * dy) / slant * rise
        lean = (kx * (ONE - dx * dx) - kl * (sign * dx * dy * cosine + dx * dz * sine)) / slant
        shift = (kx * cherenkov - dx) / length
        climb = -sign / cosine
        by_x, by_beta = bend * shift, ONE / cherenkov
        by_y = bend * (climb * (steep - kl * cherenkov) / length + tilt)
        by_slope = bend * (half * shift + lean)
        index[0, i], index[1, i], index[2, i], index[3, i], index[4, i] = by_x, by_y, by_slope, by_beta, ZERO
        index[5, i] = excess
        late[0, i] = speed * kx - dispersion * by_x
        late[1, i] = -speed * kl * climb - dispersion * by_y
        late[2, i] = speed * kx * half - dispersion * by_slope - half / LIGHT * dx * inverse_beta
        late[3, i] = -dispersion * by_beta - half / LIGHT * slant
        late[4, i] = -ONE
        late[5, i] = hits[1, i] - start - speed * length


@summed
def _add(matrix, gradient, values, number, width, spread, share):  # type: ignore[no-untyped-def]
    """A measurement's part of the normal equations: derivatives and values (6, number) of hits of weights ``share``."""
    for a in range(_NUMBERS):
        for b in range(a, _NUMBERS + 1):
            total = ZERO
            for i in range(number):
                total += values[a, i] * values[b, i] * share[i]
            if b == _NUMBERS:
                gradient[a] += total * spread[a] / (width * width)
            else:
                matrix[b, a] += total * spread[a] * spread[b] / (width * width)


@compiled
def _solve(matrix, gradient):  # type: ignore[no-untyped-def]
    """``matrix^-1 gradient`` in place, by Cholesky's decomposition of the lower triangle."""
    for a in range(_NUMBERS):
        for b in range(a + 1):
            rest = matrix[a, b]
            for k in range(b):
                rest -= matrix[a, k] * matrix[b, k]
            matrix[a, b] = math.sqrt(rest) if a == b else rest / matrix[b, b]
    for a in range(_NUMBERS):
        for k in range(a):
            gradient[a] -= matrix[a, k] * gradient[k]
        gradient[a] /= matrix[a, a]
    for a in range(_NUMBERS - 1, -1, -1):
        for k in range(a + 1, _NUMBERS):
            gradient[a] -= matrix[k, a] * gradient[k]
        gradient[a] /= matrix[a, a]


@compiled
def _pulling(hits, share, way_x, up, light_of, pull):  # type: ignore[no-untyped-def]
    """Hits with their way in x, up or down, and share of the pull, once for each path that matters; their number."""
    n = 0
    for nearest in range(2):
        for i in range(share.shape[1]):
            if share[nearest, i] > NEGLIGIBLE:
                for row in range(5):
                    light_of[row, n] = hits[row, i]
                pull[0, n], pull[1, n], pull[2, n] = way_x[nearest, i], up[nearest, i], share[nearest, i]
                n += 1
    return n


@compiled
def _normal_equations(hits, weights, hypothesis, scale, c, together, light, spread, room, matrix, gradient):  # type: ignore[no-untyped-def]
    """Lower triangle and gradient of one hypothesis, in units of the prior, which is in the gradient alone."""
    source, whole, off, offsets, total, of_way, share, (near, way_x, up), (late, index), light_of, pull = room
    emission(hypothesis, source)
    ways(hits, source, scale, off.shape[0] == 16, c, off, offsets)
    if together:
        total[:] = light
    else:
        light_of_paths(off, scale[2], whole, of_way, total)
    _two_nearest(off, offsets, near, way_x, up)
    for nearest in range(2):
        decay(near[nearest], whole, share[nearest])
        for i in range(total.size):
            share[nearest, i] *= scale[2] / (ONE + total[i]) * weights[i]
    n = _pulling(hits, share, way_x, up, light_of, pull)
    _slopes(light_of, n, source, c, pull[0], pull[1], late, index)
    matrix[:] = 0
    for a in range(_NUMBERS):
        gradient[a] = (hypothesis[a] - _MIDDLE[a]) / spread[a]
    _add(matrix, gradient, late, n, scale[0], spread, pull[2])
    _add(matrix, gradient, index, n, scale[1], spread, pull[2])


@compiled
def _room(length, paths):  # type: ignore[no-untyped-def]
    """What :func:`_normal_equations` works in, for events of ``length`` hits."""
    off, twice = np.empty((paths, length), np.float32), np.empty((3, 2, length), np.float32)
    measured = np.empty((2, _NUMBERS + 1, 2 * length), np.float32)
    return (
        np.empty(8, np.float32), np.empty(length, np.int32), off, np.empty_like(off),
        np.empty(length, np.float32), np.empty(length, np.float32), np.empty((2, length), np.float32),
        (twice[0], twice[1], twice[2]), (measured[0], measured[1]),
        np.empty((5, 2 * length), np.float32), np.empty((3, 2 * length), np.float32),
    )  # fmt: skip


@compiled
def gauss_newton(hits, weights, hypotheses, scale, wide, c, together, light, spread, damping, largest, out):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.fit.gauss_newton`.

    Args:
        hits, hypotheses, scale, wide, c: as of :func:`explained`.
        weights: (B, L).
        together: the hypotheses of an event share each hit.
        light: (B, L), what all of them make it likelier; not read if each takes all of a hit.
        spread: (5,) of the prior; with ``damping`` and ``largest``, the largest step, float64.
        out: (B, K, 5).
    """
    room = _room(hits.shape[2], 16 if wide else 8)
    matrix, gradient = np.empty((_NUMBERS, _NUMBERS)), np.empty(_NUMBERS)
    for b in range(hypotheses.shape[0]):
        for k in range(hypotheses.shape[1]):
            at = hypotheses[b, k]
            _normal_equations(hits[b], weights[b], at, scale, c, together, light[b], spread, room, matrix, gradient)
            ridge = 1 + damping * np.trace(matrix) / _NUMBERS
            for a in range(_NUMBERS):
                matrix[a, a] += ridge
            _solve(matrix, gradient)
            for a in range(_NUMBERS):
                step = min(max(-gradient[a], -largest), largest)
                out[b, k, a] = at[a] + step * spread[a]


@compiled
def curvature(hits, weights, hypotheses, scale, wide, c, light, spread, out):  # type: ignore[no-untyped-def]
    """As :func:`pointae.tracking.fit.curvature`, into ``out`` (B, K, 5, 5) float64; else as :func:`gauss_newton`."""
    room = _room(hits.shape[2], 16 if wide else 8)
    gradient = np.empty(_NUMBERS)
    for b in range(hypotheses.shape[0]):
        for k in range(hypotheses.shape[1]):
            at, matrix = hypotheses[b, k], out[b, k]
            _normal_equations(hits[b], weights[b], at, scale, c, True, light[b], spread, room, matrix, gradient)
            for row in range(_NUMBERS):
                matrix[:row, row] = matrix[row, :row]
                matrix[row, row] += 1

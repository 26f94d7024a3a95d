"""What all of the compiled loops compute with: constants in single precision, and functions of one number or few."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pointae.simulate import module as m
from pointae.tracking import paths

compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})

FAR = np.float32(16.0)
"""Half squared standard deviations beyond which light is not counted: 1e-7 of what is exact."""
NEGLIGIBLE = np.float32(1e-6)
"""Share of a hit's pull below which it is not counted."""
ZERO, ONE, TWO, HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
LIGHT = np.float32(m.SPEED_OF_LIGHT)
REACH = np.float32(m.SPEED_OF_LIGHT / paths.TYPICAL_GROUP_INDEX)
WIDTH, ROUND = np.float32(m.PLATE_WIDTH), np.float32(2 * m.PLATE_WIDTH)
MEAN_INDEX = np.float32(paths.MEAN_INDEX)
LOW, HIGH = (np.float32(end) for end in paths.INDEX_RANGE)
LEAST_COSINE = np.float32(paths.LEAST_COSINE)
LOG2_E, LN_2 = np.float32(1 / math.log(2)), np.float32(math.log(2))
SERIES = (np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120))
EXPONENT, MANTISSA = np.int32(127), np.int32(23)
"""Of a float32: the exponent's bias and the bits below it."""


@compiled
def decay(off, whole, out):  # type: ignore[no-untyped-def]
    """``exp(-off)`` into ``out``, 0 from :data:`FAR` on; (L,) each, ``whole`` int32 to work in.

    A power of two, by its bits, times a polynomial, to 1e-6: a tenth of the time of as many calls of exp.
    """
    for i in range(off.size):
        power = off[i] * LOG2_E
        number = np.rint(power)
        rest = (number - power) * LN_2
        out[i] = ONE + rest * (ONE + rest * (HALF + rest * (SERIES[0] + rest * (SERIES[1] + rest * SERIES[2]))))
        whole[i] = (EXPONENT - np.int32(min(number, np.float32(EXPONENT - 1)))) << MANTISSA
    powers = whole.view(np.float32)
    for i in range(off.size):
        out[i] = out[i] * powers[i] if off[i] < FAR else ZERO


@compiled
def emission(hypothesis, out):  # type: ignore[no-untyped-def]
    """x, y, 1 / beta, time, dx, dy, dz, slant of a hypothesis (5,), in the middle of the plate, into ``out`` (8,)."""
    x, y, slope_x, inverse_beta, time = hypothesis
    half = m.PLATE_DEPTH / 2
    slope_y = (y + m.PLATE_HEIGHT / 2) / m.DISTANCE
    slant = math.sqrt(1 + slope_x**2 + slope_y**2)
    out[0], out[1], out[2] = x + half * slope_x, y + half * slope_y, inverse_beta
    out[3] = time + half * slant * inverse_beta / m.SPEED_OF_LIGHT
    out[4], out[5], out[6], out[7] = slope_x / slant, slope_y / slant, 1 / slant, slant


@compiled
def group_of(excess, c):  # type: ignore[no-untyped-def]
    """Group index, as :func:`pointae.tracking.paths.group_index`."""
    e = min(max(excess, LOW), HIGH)
    return c[0] + e * (c[1] + e * (c[2] + e * (c[3] + e * c[4])))

"""How many photons of a hypothetical track a cell is expected to have: of light the amount, not the time alone.

As :mod:`pointae.oracle.closed_form`, but of the middle of each pixel and of those mirror images that light of some
colour reaches in time: what a fit can afford for hundreds of hypotheses an event.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pointae.oracle.closed_form import PIXEL_TIME
from pointae.oracle.tables import light_table
from pointae.simulate import module as m
from pointae.simulate.quartz import reflects_totally, transmission
from pointae.tracking.loops import by_event, group_coefficients, loops_for, stacked
from pointae.tracking.paths import INDEX_RANGE, LEAST_COSINE, LightHits, emission, group_index

REACH = 6.0
"""Standard deviations of the time beyond which nothing is expected."""
ROW_ANGLE = 3.2e-3
"""rad that a row sees, within two per cent."""
PIXEL = m.PLATE_DEPTH * m.COLUMN_WIDTH * ROW_ANGLE * m.TIME_BIN / math.sqrt(2 * math.pi)
GROUPS = tuple(float(group_index(torch.tensor(end, dtype=torch.float64))) for end in INDEX_RANGE)
"""Least and largest group index of the light."""
LATE = 0.3
"""ns by which the resolution may mislead the choice of mirror images."""
SLOTS = 3
"""Mirror images of one parity on one side at most, between the fastest and the slowest light."""
_PATHS_AT_ONCE = 1 << 23
"""Without compiled loops: bounds memory."""
_ROUND = 2 * m.PLATE_WIDTH
_SAME_PLACE = 1.0
"""mm."""


def time_width(resolution: Tensor) -> Tensor:
    """ns, spread of measured arrivals about the prediction, for a resolution (ns) of a photon's time."""
    return (resolution.square() + m.TIME_BIN**2 / 12 + PIXEL_TIME**2).sqrt()


def expected_light(hits: LightHits, hypotheses: Tensor, width: Tensor) -> Tensor:
    """Mean number of photons that are detected in the cell of each hit.

    Args:
        hits: L of each of B events.
        hypotheses: (B, K, 5).
        width: (B, K), ns, of :func:`time_width`.

    Returns:
        (B, K, L), 0 where no light of the track can come within :data:`REACH` standard deviations.
    """
    loops = loops_for(hypotheses)
    if loops is None:
        at_once = max(1, _PATHS_AT_ONCE // max(1, 4 * SLOTS * hits.x.numel()))
        parts = zip(hypotheses.split(at_once, 1), width.split(at_once, 1), strict=True)
        return torch.cat([_by_torch(hits, *part) for part in parts], 1)
    light = hypotheses.new_empty(*hypotheses.shape[:2], hits.x.shape[1])
    table = light_table(hypotheses.device)
    own, (at, late, out) = stacked(hits), (value.numpy() for value in (hypotheses, width, light))
    about = (table.columns.numpy(), np.float32(table.low), np.float32(1 / table.step), group_coefficients())
    by_event(lambda e: loops.expected_light(own[e], at[e], late[e], *about, out[e]), hypotheses)
    return light


def _by_torch(hits: LightHits, hypotheses: Tensor, width: Tensor) -> Tensor:
    source, table = emission(hypotheses), light_table(hypotheses.device)
    x, time, cosine, sine, block = (value[:, None, :, None] for value in vars(hits).values())
    flight = time - source.time  # (B, K, L, 1)
    total = torch.zeros_like(flight[..., 0])
    for up, climb in ((1.0, m.BEVEL_BASE - source.y), (-1.0, m.BEVEL_BASE + m.PLATE_HEIGHT + source.y)):
        along = climb / cosine + block
        across = _images(x - source.x, m.PLATE_WIDTH - x - source.x, flight, along)  # (B, K, L, W), nan: none
        length = (across.square() + along.square()).sqrt()
        kx, kl = across / length, along / length
        ky, kz = kl * cosine, kl * sine
        cherenkov = (kx * source.dx + up * ky * source.dy + kz * source.dz).clamp(min=LEAST_COSINE)
        index = source.inverse_beta / cherenkov
        entry = ((index - table.low) / table.step).round()
        possible = (entry >= 0) & (entry < len(table.columns))  # false for nan
        entry = torch.where(possible, entry, 0).long()
        photons, wavelength2, group = table.columns[entry].to(index).unbind(-1)
        pull = (flight - group * length / m.SPEED_OF_LIGHT) / width[..., None, None]
        index2 = index.square()
        straight = (across - (x - source.x)).abs() < _SAME_PLACE  # no side wall between
        trapped = reflects_totally(index2, kz) & (straight | reflects_totally(index2, kx))
        if up < 0:
            trapped &= reflects_totally(index2, ky)
        left = transmission(wavelength2, index2, kz, (along - block) * sine / m.PLATE_DEPTH, length)
        bright = photons * index2 * (1 - cherenkov.square()) * kl.pow(3) / along * left
        light = bright * (pull.square() * -0.5).exp()
        total = total + torch.where(possible & trapped & (pull.abs() < REACH), light, 0.0).sum(-1)
    return total * PIXEL * (source.slant / source.inverse_beta)[..., 0] / width[..., None]


def _images(first: Tensor, second: Tensor, flight: Tensor, along: Tensor) -> Tensor:
    """Ways in x to the mirror images that light of any colour can reach in time, (B, K, L, 4 SLOTS); nan: none."""
    fast, slow = (
        (flight + sign * LATE).clamp(min=0) * m.SPEED_OF_LIGHT / GROUPS[end] for end, sign in ((0, 1), (1, -1))
    )
    furthest, nearest = fast.square() - along.square(), slow.square() - along.square()
    reached, furthest, nearest = furthest > 0, furthest.clamp(min=0).sqrt(), nearest.clamp(min=0).sqrt()
    ways = []
    for offset in (first, second):
        for low, high in ((nearest, furthest), (-furthest, -nearest)):
            number = ((low - offset) / _ROUND).ceil()
            for slot in range(SLOTS):
                image = offset + _ROUND * (number + slot)
                ways.append(torch.where(reached & (image <= high), image, torch.nan))
    return torch.cat(ways, -1)

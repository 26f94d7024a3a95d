"""The same expectations from photons that the simulator follows: the reference of the closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pointae.simulate import module as m
from pointae.simulate.digitise import unpack_cells
from pointae.simulate.photons import Photons, follow_photons, mean_photons
from pointae.simulate.tracks import Tracks

_CHUNK = 1 << 18
"""Photons followed at a time."""
_RATIO = 1.1673039782614187
"""The root of x^5 = x + 1."""


def expected_total(tracks: Tracks, sigma_t: Tensor, photons: int = 1024) -> Tensor:
    """Mean number of photons of each track that are detected inside grid and window.

    With the default, accurate to some 2 %: it scales all densities of a track, to which a cut at a
    given retention is hardly sensitive.

    Args:
        tracks: T tracks.
        sigma_t: (T,) float64, ns, resolution of a photon's time.
        photons: followed for each track.

    Returns:
        (T,) float64.
    """
    found = torch.zeros(len(tracks), dtype=torch.int64, device=tracks.x.device)
    for rows in torch.arange(len(tracks), device=tracks.x.device).split(max(1, _CHUNK // photons)):
        owner = rows.new_tensor(range(len(rows))).repeat_interleave(photons)
        number = torch.arange(photons, device=rows.device).repeat(len(rows))
        light = _follow(tracks.select(rows), owner, number, sigma_t[rows])
        found[rows] = torch.bincount(light.track, minlength=len(rows))
    return mean_photons(tracks) * found / photons


def expected_counts_by_photons(tracks: Tracks, sigma_t: Tensor, coords: Tensor, photons: int = 1 << 21) -> Tensor:
    """Mean number of photons of one track that are detected in each of some cells.

    Photons of a low-discrepancy sequence fill a histogram with unsmeared times; the resolution then
    spreads each pixel's times.

    Args:
        tracks: one track.
        sigma_t: (1,) float64, ns, resolution of a photon's time.
        coords: (P, 3) integer [x, y, t], cells of the TORCH grid.
        photons: followed in all.

    Returns:
        (P,) float64.
    """
    device = coords.device
    histogram = torch.zeros(m.COLUMNS * m.ROWS * m.TIME_BINS, dtype=torch.int64, device=device)
    for number in torch.arange(photons, device=device).split(_CHUNK):
        light = _follow(tracks, torch.zeros_like(number), number, torch.zeros_like(sigma_t))
        x, y, t = unpack_cells(light.cell).long().unbind(1)
        histogram += torch.bincount((x * m.ROWS + y) * m.TIME_BINS + t, minlength=len(histogram))
    x, y, t = coords.long().unbind(1)
    # Where in its bin a photon came is not known, nor where in the cell's: a bin's width counts twice.
    width = float((sigma_t.square() + m.TIME_BIN**2 / 6).sqrt())
    counts = torch.zeros(len(coords), dtype=torch.float64, device=device)
    by_pixel = histogram.view(-1, m.TIME_BINS)
    steps = torch.arange(m.TIME_BINS, device=device)
    for rows in torch.arange(len(coords), device=device).split(_CHUNK // m.TIME_BINS):
        pull = (steps - t[rows, None]) * (m.TIME_BIN / width)
        kernel = (-0.5 * pull.double().square()).exp() * (m.TIME_BIN / width / math.sqrt(2 * math.pi))
        counts[rows] = (by_pixel[x[rows] * m.ROWS + y[rows]] * kernel).sum(1)
    return counts * mean_photons(tracks) / photons


def _follow(tracks: Tracks, row: Tensor, number: Tensor, sigma_t: Tensor) -> Photons:
    return follow_photons(tracks, (row, number), sigma_t, uniforms=_even)


def _even(row: Tensor, number: Tensor, word: int) -> tuple[Tensor, Tensor]:
    """Numbered points that fill four dimensions evenly, two a word: an additive recurrence (Roberts 2018)."""
    pair = ((number + 1).double() * _RATIO ** -(2 * word + 1 + i) % 1 for i in range(2))
    first, second = (value.clamp(1e-7, 1 - 1e-7).float() for value in pair)
    return first, second

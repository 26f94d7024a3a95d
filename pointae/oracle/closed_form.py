"""How many hits a known particle is expected to leave in a cell, in closed form.

A cell and a number of reflections fix the light's direction, the direction and the particle fix the
Cherenkov angle, that fixes the index, the index fixes the colour, and path and colour fix the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pointae.geometry import torch_geometry
from pointae.oracle.tables import SUBDIVISION, light_table, row_table
from pointae.simulate import module as m
from pointae.simulate.quartz import reflects_totally, transmission
from pointae.simulate.tracks import Tracks

PIXEL_TIME = 0.030
"""ns, spread of arrivals inside a pixel: place in it, depth of the emission, place on the bevel."""
_GEOMETRY = torch_geometry()
_CHUNK = 2048
"""Pairs of track and cell at a time: few enough for the processor's cache."""
_REACH = 8.0
"""Standard deviations of the time beyond which nothing is expected."""
_IMAGES = torch.arange(-m.MAX_SIDE_REFLECTIONS, m.MAX_SIDE_REFLECTIONS + 1)
_PARTS = (torch.arange(SUBDIVISION) + 0.5) / SUBDIVISION - 0.5


@dataclass(frozen=True, eq=False)
class _Ways:
    """Ways (W,) from a track to a part of a pixel: by top or bottom, over any number of side walls.

    ``pair`` is the row of track and cell, ``part`` of the row table; ``across`` and ``along`` (mm) are the
    way in x and in the (y, z) plane, ``cosine`` is of the Cherenkov angle.
    """

    pair: Tensor
    part: Tensor
    across: Tensor
    along: Tensor
    cosine: Tensor
    down: Tensor
    walls: Tensor

    def select(self, rows: Tensor) -> _Ways:
        return _Ways(*(value.index_select(0, rows) for value in vars(self).values()))


def expected_counts(tracks: Tracks, sigma_t: Tensor, row: Tensor, coords: Tensor) -> Tensor:
    """Mean number of photons of a track that are detected in a cell.

    Emission from mid-plate; 2 x 2 parts of a pixel; sums both ways along the plate and all reflections
    at its sides. The sum over all cells is :func:`pointae.oracle.monte_carlo.expected_total`, within some
    per cent. After M. Charles & R. Forty, Nucl. Instrum. Meth. A 639 (2011) 173.

    Args:
        tracks: T tracks.
        sigma_t: (T,) float64, ns, resolution of a photon's time.
        row: (P,) int64, track of each pair.
        coords: (P, 3) integer [x, y, t], cell of each pair on the TORCH grid.

    Returns:
        (P,) float32, 0 where no light of the track can come within 8 standard deviations.
    """
    facts = _facts(tracks, sigma_t)
    parts = zip(row.split(_CHUNK), coords.split(_CHUNK), strict=True)
    counts = [_chunk(facts.index_select(0, part), cells.long()) for part, cells in parts]
    return torch.cat(counts) if counts else facts.new_zeros(0)


def _facts(tracks: Tracks, sigma_t: Tensor) -> Tensor:
    """(T, 10) float32: all that a pair needs of its track."""
    half = m.PLATE_DEPTH / 2
    y = tracks.y + half * tracks.slope_y
    emitted = tracks.time + half * tracks.slant * tracks.inverse_beta / m.SPEED_OF_LIGHT
    width = (sigma_t.square() + m.TIME_BIN**2 / 12 + PIXEL_TIME**2).sqrt()
    # Photons by index instead of cosine: d cos = d index / (beta index^2).
    light = m.PLATE_DEPTH * tracks.slant / tracks.inverse_beta * (m.COLUMN_WIDTH / SUBDIVISION)
    columns = [
        tracks.x + half * tracks.slope_x,
        m.BEVEL_BASE - y,
        m.BEVEL_BASE + m.PLATE_HEIGHT + y,
        tracks.slope_x / tracks.slant,
        tracks.slope_y / tracks.slant,
        1 / tracks.slant,
        tracks.inverse_beta,
        emitted - m.WINDOW_START,
        width,
        light,
    ]
    return torch.stack(columns, dim=1).float()


def _chunk(facts: Tensor, cells: Tensor) -> Tensor:
    """(P,) expected counts from the facts (P, 10) of each pair's track and its cell (P, 3)."""
    light, rows = light_table(facts.device), row_table(facts.device)
    ways = _ways(facts, cells)
    *_, inverse_beta, emitted, width, scale = (column.index_select(0, ways.pair) for column in facts.unbind(1))
    index = inverse_beta / ways.cosine
    entry = ((index - light.low) * (1 / light.step)).round().long()
    path = (ways.along.square() + ways.across.square()).sqrt()
    measured = (cells[:, 2].float() + 0.5).index_select(0, ways.pair) * m.TIME_BIN
    group = light.columns[:, 2].index_select(0, entry)
    pull = (measured - emitted - group * path * (1 / m.SPEED_OF_LIGHT)) / width

    near = (pull.abs() < _REACH).nonzero()[:, 0]
    ways = ways.select(near)
    index2, path, pull, width, scale = (
        value.index_select(0, near) for value in (index.square(), path, pull, width, scale)
    )
    photons, wavelength2, _ = light.columns.index_select(0, entry.index_select(0, near)).unbind(1)
    cosine, sine, angle, block = (getattr(rows, name)[ways.part] for name in ("cosine", "sine", "width", "block"))
    flat = ways.along / path  # cosine of the angle between the light and the (y, z) plane
    kx, ky, kz = ways.across / path, flat * cosine, flat * sine
    trapped = reflects_totally(index2, kz)
    trapped &= ~ways.down | reflects_totally(index2, ky)
    trapped &= (ways.walls == 0) | reflects_totally(index2, kx)
    bounces = (ways.along - block) * sine * (1 / m.PLATE_DEPTH)
    left = transmission(wavelength2, index2, kz, bounces, path) * trapped
    solid_angle = flat.pow(3) / ways.along * angle  # a mm of x
    at_time = (-0.5 * pull.square()).exp() / width * (m.TIME_BIN / math.sqrt(2 * math.pi))
    density = photons * index2 * (1 - ways.cosine.square()) * scale * solid_angle * left * at_time
    return facts.new_zeros(len(facts)).index_add_(0, ways.pair, density)


def _ways(facts: Tensor, cells: Tensor) -> _Ways:
    """The ways whose Cherenkov angle some colour has."""
    light, rows = light_table(facts.device), row_table(facts.device)
    x, up, down, dx, dy, dz, inverse_beta, *_ = facts.unbind(1)
    part = cells[:, 1, None] * SUBDIVISION + torch.arange(SUBDIVISION, device=cells.device)  # (P, 2)
    cosine, sine, block = rows.cosine[part], rows.sine[part], rows.block[part]
    climb = torch.stack([up, down], 1)[:, :, None]  # (P, 2, 1)
    along = climb / cosine[:, None] + block[:, None]  # (P, 2, 2): way up or down, part of the row
    steep = torch.stack([dy, -dy], 1)[:, :, None] * cosine[:, None] + (dz[:, None] * sine)[:, None]
    ahead = torch.where(climb > 0, along * steep, -torch.inf).flatten(1)[:, :, None]  # (P, 4, 1)
    along = along.flatten(1)[:, :, None]

    centre = _GEOMETRY.x.centres_of(cells[:, 0]).float()[:, None, None]
    column = centre + _PARTS.to(facts)[:, None] * m.COLUMN_WIDTH  # (P, 2, 1)
    images = _IMAGES.to(facts)
    across = images * m.PLATE_WIDTH + (1 - 2 * (images % 2)) * column - x[:, None, None]
    across = across.flatten(1)[:, None]  # (P, 1, 2 images)
    cherenkov = (across * dx[:, None, None] + ahead) * (across.square() + along.square()).rsqrt()
    possible = cherenkov > (inverse_beta / light.high)[:, None, None]
    possible &= cherenkov < (inverse_beta / light.low)[:, None, None]

    flat = possible.flatten().nonzero()[:, 0]
    places = across.shape[2]
    start, place = flat // places, flat % places
    pair = start // along.shape[1]
    return _Ways(
        pair,
        part[:, None].expand(-1, 2, -1).flatten().index_select(0, start),
        across.flatten().index_select(0, pair * places + place),
        along.flatten().index_select(0, start),
        cherenkov.flatten().index_select(0, flat),
        start % along.shape[1] >= SUBDIVISION,
        _IMAGES.to(pair.device).index_select(0, place % len(_IMAGES)),
    )

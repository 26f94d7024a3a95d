"""Cherenkov photons from their emission in the plate to a cell of the photon detectors.

Every photon is a pure function of its track's key and its own number, so those that are lost
are dropped as soon as it is known and nothing depends on who else is being followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from pointae import draws
from pointae.simulate import module as m
from pointae.simulate.digitise import pack_cells
from pointae.simulate.focusing import focus
from pointae.simulate.quartz import HC, group_index, reflects_totally, refractive_index, spectrum, transmission
from pointae.simulate.tracks import Tracks

MEAN_PHOTONS = 83
"""Photons of a track on average."""
_EMISSION, _TRAVEL, _DETECTION = range(3)
"""Words drawn a photon."""
Uniforms = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""``(row, number, word) -> two uniforms``, (N,) float32 each: energy and azimuth, then depth and survival."""
_FORWARD_PER_UP = (math.tan(0.435), math.tan(0.870))
"""k_z / |k_y| of light that can reach a row (0.445 to 0.855 rad), with room for smearing."""
_GROUP_INDEX_BOUNDS = (1.46, 1.83)
"""Bounds of the group index between 1.75 and 6.2 eV."""
_LONGEST_BLOCK = 300.0
"""mm, above any path inside the focusing block."""
_LARGEST_NORMAL = 6.0
"""No normal draw of 23 bits is larger."""


@dataclass(frozen=True, eq=False)
class Photons:
    """M detected photons, ordered by track and number.

    Args:
        track: (M,) int64, row of its track.
        cell: (M,) int64, packed cell (:func:`pointae.simulate.digitise.pack_cells`).
        energy: (M,) float32, eV.
        path: (M,) float32, mm from emission to detection.
        sides: (M,) int32, reflections at the side walls.
        down: (M,) bool, sent down and reflected at the plate's bottom.
    """

    track: Tensor
    cell: Tensor
    energy: Tensor
    path: Tensor
    sides: Tensor
    down: Tensor


@dataclass(frozen=True, eq=False)
class _Light:
    """Emitted photons: track, number, energy (eV), squared wavelength (um^2), index, unit vector."""

    track: Tensor
    number: Tensor
    energy: Tensor
    wavelength2: Tensor
    index: Tensor
    kx: Tensor
    ky: Tensor
    kz: Tensor


@dataclass(frozen=True, eq=False)
class _Arrival:
    """Photons in the plane of the detectors, after all losses on the way.

    ``depth`` is the z of the emission, ``side`` the place across the unfolded plates in plate
    widths, ``height`` the place on the detectors; mm.
    """

    track: Tensor
    number: Tensor
    energy: Tensor
    wavelength2: Tensor
    index: Tensor
    ky: Tensor
    depth: Tensor
    path: Tensor
    side: Tensor
    height: Tensor


def mean_photons(tracks: Tracks) -> Tensor:
    """(T,) float64, mean number of photons of each track that the detectors' efficiency leaves."""
    table = spectrum(tracks.x.device)
    return table.mean_photons(table.rows(tracks.inverse_beta)) * tracks.slant


def count_photons(tracks: Tracks) -> Tensor:
    """(T,) int64, Poisson number of photons of each track, at most ``RAW_PHOTONS``."""
    # Arrivals of a Poisson process in [0, mean): the gaps between them are exponential.
    key = draws.derive(tracks.key, "number of photons")[:, None]
    pairs = draws.uniform_pair(key, torch.arange(m.RAW_PHOTONS // 2, device=key.device))
    arrivals = torch.stack(pairs, dim=2).flatten(1).log_().neg_().double().cumsum(1)
    return (arrivals < mean_photons(tracks)[:, None]).sum(1)


def raw_photons(signal: Tensor) -> Tensor:
    """Photons to follow for a fixed number of hits: ``RAW_PHOTONS``, and above 30 hits in proportion.

    Args:
        signal: hits wanted of each track, int64, any shape.

    Returns:
        int64 of that shape.
    """
    return (-(-signal * m.RAW_PHOTONS // m.RAW_PHOTONS_FOR)).clamp(min=m.RAW_PHOTONS)


def follow_photons(
    tracks: Tracks,
    photons: tuple[Tensor, Tensor],
    sigma_t: Tensor,
    window_start: float = m.WINDOW_START,
    uniforms: Uniforms | None = None,
) -> Photons:
    """Emit photons, send them through plate and block, and digitise those that arrive.

    Args:
        tracks: T tracks.
        photons: track row (N,) and number under its track (N,) of each photon, int64.
        sigma_t: (T,) float64, ns, resolution of the arrival time.
        window_start: ns, start of the 25 ns window; one crossing later for light that is late.
        uniforms: where emission and travel are drawn from; ``None``: the tracks' own keys.
    """
    light = _emit(tracks, *photons, sigma_t, window_start, uniforms)
    return _digitise(tracks, _travel(tracks, light, uniforms), sigma_t, window_start)


def _own_uniforms(tracks: Tracks) -> Uniforms:
    return lambda row, number, word: draws.uniform_pair(tracks.key.index_select(0, row), number * 3 + word)


def _emit(
    tracks: Tracks,
    row: Tensor,
    number: Tensor,
    sigma_t: Tensor,
    window_start: float,
    uniforms: Uniforms | None = None,
) -> _Light:
    """Energies and directions of light, of which only what may arrive is kept."""
    table = spectrum(row.device)
    dx, dy, dz = tracks.slope_x / tracks.slant, tracks.slope_y / tracks.slant, 1 / tracks.slant
    # Two unit vectors across the flight; the second has no z component.
    up = (dx.square() + dy.square()).sqrt().clamp(min=1e-12)
    u, v = (uniforms or _own_uniforms(tracks))(row, number, _EMISSION)
    energy = table.energies(table.rows(tracks.inverse_beta).index_select(0, row), u)
    wavelength2 = (HC / energy).square()
    index = refractive_index(wavelength2)
    cosine = _of(row, tracks.inverse_beta) / index
    sine = (1 - cosine * cosine).clamp(min=0).sqrt()
    azimuth = v.mul_(2 * math.pi)
    along, across = sine * azimuth.cos(), sine * azimuth.sin()
    ky = along * _of(row, dy * dz / up) + across * _of(row, dx / up) + cosine * _of(row, dy)
    kz = cosine * _of(row, dz) - along * _of(row, up)

    steep = ky.abs()
    keep = (kz > steep * _FORWARD_PER_UP[0]) & (kz < steep * _FORWARD_PER_UP[1])
    keep &= reflects_totally(index * index, kz)
    keep &= _in_time(tracks, row, ky, sigma_t, window_start)
    kept = keep.nonzero()[:, 0]

    def take(value: Tensor) -> Tensor:
        return value.index_select(0, kept)

    track = take(row)
    kx = take(along) * _of(track, dx * dz / up) - take(across) * _of(track, dy / up) + take(cosine) * _of(track, dx)
    return _Light(track, take(number), take(energy), take(wavelength2), take(index), kx, take(ky), take(kz))


def _in_time(tracks: Tracks, row: Tensor, ky: Tensor, sigma_t: Tensor, window_start: float) -> Tensor:
    """Whether light may arrive inside the window: its way is its height over |k_y| and little more."""
    blur = _LARGEST_NORMAL * sigma_t
    climb = tracks.slope_y * m.PLATE_DEPTH
    up, down = m.BEVEL_BASE - tracks.y, m.BEVEL_BASE + m.PLATE_HEIGHT + tracks.y
    slowest, fastest = (m.SPEED_OF_LIGHT / bound for bound in reversed(_GROUP_INDEX_BOUNDS))
    longest = ((window_start + m.CROSSING - tracks.time + blur) * fastest).clamp(min=1e-6)
    keep = (ky > _of(row, (up - climb).clamp(min=0) / longest)) | (ky < _of(row, -down / longest))
    if window_start > m.WINDOW_START:
        shortest = ((window_start - tracks.time - blur) * slowest - _LONGEST_BLOCK).clamp(min=1e-6)
        keep &= (ky < _of(row, up / shortest)) & (ky > _of(row, -(down + climb) / shortest))
    return keep


def _travel(tracks: Tracks, light: _Light, uniforms: Uniforms | None = None) -> _Arrival:
    """Through the plate and the block, with all losses on the way."""
    row, (kx, ky, kz) = light.track, (light.kx, light.ky, light.kz)
    u, survival = (uniforms or _own_uniforms(tracks))(row, light.number, _TRAVEL)
    z = u.mul_(m.PLATE_DEPTH)
    x = _of(row, tracks.x) + z * _of(row, tracks.slope_x)
    y = _of(row, tracks.y) + z * _of(row, tracks.slope_y)
    # Mirror images instead of reflections: light goes straight through a stack of plates.
    steep, down = ky.abs(), ky < 0
    climb = torch.where(down, y + (m.BEVEL_BASE + m.PLATE_HEIGHT), m.BEVEL_BASE - y)
    rise = climb / steep
    unfolded = (z + rise * kz) * (1 / m.PLATE_DEPTH)
    bounces = unfolded.floor()
    # The bevel is at z = D, so the way to go ends at the next odd multiple of D.
    to_bevel = (bounces + _odd(bounces) + 1 - unfolded) * m.PLATE_DEPTH
    height, block_path, hit = focus(steep, kz, to_bevel)
    path = rise + block_path
    side = (x + kx * path) * (1 / m.PLATE_WIDTH) + 0.5
    walls = side.floor().abs()

    index2 = light.index * light.index
    hit &= (climb > 0) & (walls <= m.MAX_SIDE_REFLECTIONS)
    hit &= ~down | reflects_totally(index2, ky)
    hit &= (walls == 0) | reflects_totally(index2, kx)
    hit &= survival < transmission(light.wavelength2, index2, kz, bounces, path)
    arrival = _Arrival(row, light.number, light.energy, light.wavelength2, light.index, ky, z, path, side, height)
    return _take(arrival, hit.nonzero()[:, 0])


def _digitise(tracks: Tracks, light: _Arrival, sigma_t: Tensor, window_start: float) -> Photons:
    """Columns, rows and times of arrivals; those beside the detectors or out of the window are lost."""
    row, walls = light.track, light.side.floor()
    across = light.side - walls
    x = torch.where(_odd(walls) > 0, 1 - across, across) * m.PLATE_WIDTH
    tube = (x * (1 / m.TUBE_PITCH)).floor()
    local = x - tube * m.TUBE_PITCH - m.TUBE_EDGE

    sharing, jitter = draws.normal_pair(tracks.key.index_select(0, row), light.number * 3 + _DETECTION)
    y = light.height + sharing * m.CHARGE_SHARING + m.TUBE_WIDTH / 2
    emitted = _of(row, tracks.time - window_start) + light.depth * _of(row, tracks.slant * tracks.inverse_beta) * (
        1 / m.SPEED_OF_LIGHT
    )
    flight = group_index(light.wavelength2, light.index) * light.path * (1 / m.SPEED_OF_LIGHT)
    t = emitted + flight + jitter * _of(row, sigma_t)

    inside = (local >= 0) & (local < m.TUBE_WIDTH) & (y > 0) & (y < m.TUBE_WIDTH) & (t >= 0) & (t < m.CROSSING)
    column, line, step = tube * 8 + local * (1 / m.COLUMN_WIDTH), y * (1 / m.ROW_HEIGHT), t * (1 / m.TIME_BIN)
    kept = inside.nonzero()[:, 0]
    # A product may round up to the edge that its factor is below.
    bins = (
        value.index_select(0, kept).long().clamp(max=count - 1)
        for value, count in ((column, m.COLUMNS), (line, m.ROWS), (step, m.TIME_BINS))
    )
    detected = _take(light, kept)
    sides = walls.index_select(0, kept).abs().int()
    return Photons(detected.track, pack_cells(*bins), detected.energy, detected.path, sides, detected.ky < 0)


def _of(row: Tensor, value: Tensor) -> Tensor:
    """(N,) float32, the tracks' (T,) value for each photon."""
    return value.float().index_select(0, row)


def _odd(whole: Tensor) -> Tensor:
    """1 for odd, 0 for even whole numbers in float."""
    return whole - (whole * 0.5).floor() * 2


Rows = TypeVar("Rows", _Light, _Arrival)


def _take(value: Rows, kept: Tensor) -> Rows:
    columns: dict[str, Any] = {spec.name: getattr(value, spec.name).index_select(0, kept) for spec in fields(value)}
    return type(value)(**columns)

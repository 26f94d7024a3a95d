"""Cherenkov photons from their emission in the plate to a cell of the photon detectors.

Every photon is a pure function of its track's key and its own number, so those that are lost
are dropped as soon as it is known and nothing depends on who else is being followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pointae import draws
from pointae.simulate import module as m
from pointae.simulate.digitise import pack_cells
from pointae.simulate.focusing import focus
from pointae.simulate.quartz import HC, attenuation_length, group_index, refractive_index, spectrum
from pointae.simulate.tracks import Tracks

_DRAWS = 3
"""Words drawn a photon: emission, survival, detection."""
_FORWARD_PER_UP = (math.tan(0.435), math.tan(0.870))
"""k_z / |k_y| of light that can reach a row (0.445 to 0.855 rad), with room for smearing."""
_GROUP_INDEX_BOUNDS = (1.46, 1.83)
"""Generous bounds of the group index between 1.75 and 6.2 eV."""
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
    """Photons on their way: row of the track, number, energy, squared wavelength, index, direction."""

    row: Tensor
    number: Tensor
    energy: Tensor
    wavelength2: Tensor
    index: Tensor
    kx: Tensor
    ky: Tensor
    kz: Tensor


def mean_photons(tracks: Tracks) -> Tensor:
    """(T,) float64, mean number of photons of each track that the detectors' efficiency leaves."""
    table = spectrum(tracks.x.device)
    slant = (1 + tracks.slope_x.square() + tracks.slope_y.square()).sqrt()
    return table.mean_photons(table.rows(tracks.inverse_beta)) * slant


def follow_photons(
    tracks: Tracks, rows: Tensor, numbers: Tensor, sigma_t: Tensor, window_start: float = m.WINDOW_START
) -> Photons:
    """Emit photons, send them through plate and block, and digitise those that arrive.

    Args:
        tracks: T tracks.
        rows: (N,) int64, track of each photon.
        numbers: (N,) int64, number of each photon under its track.
        sigma_t: (T,) float64, ns, resolution of the arrival time.
        window_start: ns, start of the 25 ns window; one crossing later for light that is late.
    """
    light = _emit(tracks, rows, numbers, sigma_t, window_start)
    return _detect(tracks, light, sigma_t, window_start)


def _emit(tracks: Tracks, rows: Tensor, numbers: Tensor, sigma_t: Tensor, window_start: float) -> _Light:
    """Energies and directions of light, of which only what may arrive is kept."""

    def at(value: Tensor) -> Tensor:
        return value.float().index_select(0, rows)

    table = spectrum(rows.device)
    slant = (1 + tracks.slope_x.square() + tracks.slope_y.square()).sqrt()
    dx, dy, dz = tracks.slope_x / slant, tracks.slope_y / slant, 1 / slant
    # Of two axes across the flight, `across` has no z component.
    up = (dx.square() + dy.square()).sqrt().clamp(min=1e-12)
    u, v = draws.uniform_pair(tracks.key.index_select(0, rows), numbers * _DRAWS)
    energy = table.energies(table.rows(tracks.inverse_beta).index_select(0, rows), u)
    wavelength2 = (HC / energy).square()
    index = refractive_index(wavelength2)
    cosine = at(tracks.inverse_beta) / index
    sine = (1 - cosine * cosine).clamp(min=0).sqrt()
    angle = v.mul_(2 * math.pi)
    along, across = sine * angle.cos(), sine * angle.sin()
    ky = along * at(dy * dz / up) + across * at(dx / up) + cosine * at(dy)
    kz = cosine * at(dz) - along * at(up)

    steep = ky.abs()
    keep = (kz > steep * _FORWARD_PER_UP[0]) & (kz < steep * _FORWARD_PER_UP[1])
    keep &= index * index * (1 - kz * kz) > m.INDEX_AIR**2
    keep &= _in_time(tracks, at, ky, sigma_t, window_start)
    kept = keep.nonzero()[:, 0]

    def take(value: Tensor) -> Tensor:
        return value.index_select(0, kept)

    row = take(rows)
    kx = take(along) * (dx * dz / up).float().index_select(0, row)
    kx = kx - take(across) * (dy / up).float().index_select(0, row)
    kx = kx + take(cosine) * dx.float().index_select(0, row)
    return _Light(row, take(numbers), take(energy), take(wavelength2), take(index), kx, take(ky), take(kz))


def _in_time(tracks: Tracks, at, ky: Tensor, sigma_t: Tensor, window_start: float) -> Tensor:  # type: ignore[no-untyped-def]
    """Whether light may arrive inside the window, from bounds of its path and speed."""
    steep = ky.abs()
    climb = tracks.slope_y * m.PLATE_DEPTH
    height = torch.where(ky > 0, at(m.BEVEL_BASE - tracks.y), at(m.BEVEL_BASE + m.PLATE_HEIGHT + tracks.y))
    blur = _LARGEST_NORMAL * sigma_t
    latest = (window_start + m.CROSSING - tracks.time + blur) * (m.SPEED_OF_LIGHT / _GROUP_INDEX_BOUNDS[0])
    keep = height - at(climb) < at(latest) * steep
    if window_start > m.WINDOW_START:
        earliest = (window_start - tracks.time - blur) * (m.SPEED_OF_LIGHT / _GROUP_INDEX_BOUNDS[1]) - _LONGEST_BLOCK
        keep &= height + at(climb) > at(earliest) * steep
    return keep


def _detect(tracks: Tracks, light: _Light, sigma_t: Tensor, window_start: float) -> Photons:
    """Way through plate and block, losses, and digitisation."""

    def at(value: Tensor) -> Tensor:
        return value.float().index_select(0, light.row)

    key = tracks.key.index_select(0, light.row)
    u, survival = draws.uniform_pair(key, light.number * _DRAWS + 1)
    z = u.mul_(m.PLATE_DEPTH)
    x, y = at(tracks.x) + z * at(tracks.slope_x), at(tracks.y) + z * at(tracks.slope_y)
    # Mirror images instead of reflections: light goes straight through a stack of plates.
    steep, down = light.ky.abs(), light.ky < 0
    height = torch.where(down, y + (m.BEVEL_BASE + m.PLATE_HEIGHT), m.BEVEL_BASE - y)
    rise = height / steep
    unfolded = (z + rise * light.kz) * (1 / m.PLATE_DEPTH)
    bounces = unfolded.floor()
    within = (unfolded - bounces) * m.PLATE_DEPTH
    # The bevel is at z = D, so the way to go ends at the next odd multiple of D.
    odd = bounces - (bounces * 0.5).floor() * 2
    depth = (odd + 1) * m.PLATE_DEPTH - within
    at_detector, block_path, hit = focus(steep, light.kz, depth)
    path = rise + block_path

    side = (x + light.kx * path) * (1 / m.PLATE_WIDTH) + 0.5
    walls = side.floor()
    sides = walls.abs()
    index2, enough = light.index * light.index, m.INDEX_AIR**2
    hit &= (height > 0) & (sides <= m.MAX_SIDE_REFLECTIONS)
    hit &= ~down | (index2 * (1 - light.ky * light.ky) > enough)
    hit &= (sides == 0) | (index2 * (1 - light.kx * light.kx) > enough)
    roughness = index2 * light.kz.square() * bounces / light.wavelength2 * (4 * math.pi * m.ROUGHNESS) ** 2
    hit &= survival < (-roughness - path / attenuation_length(light.wavelength2)).exp()
    return _digitise(tracks, light, sigma_t, window_start, hit.nonzero()[:, 0], z, path, side, walls, at_detector)


def _digitise(
    tracks: Tracks,
    light: _Light,
    sigma_t: Tensor,
    window_start: float,
    kept: Tensor,
    z: Tensor,
    path: Tensor,
    side: Tensor,
    walls: Tensor,
    at_detector: Tensor,
) -> Photons:
    def take(value: Tensor) -> Tensor:
        return value.index_select(0, kept)

    row, path, walls = take(light.row), take(path), take(walls)
    sideways = take(side) - walls
    x = torch.where(walls - (walls * 0.5).floor() * 2 > 0, 1 - sideways, sideways) * m.PLATE_WIDTH
    tube = (x * (1 / m.TUBE_PITCH)).floor()
    local = x - tube * m.TUBE_PITCH - m.TUBE_EDGE
    column = tube * 8 + (local * (1 / m.COLUMN_WIDTH)).floor()

    key = tracks.key.index_select(0, row)
    sharing, jitter = draws.normal_pair(key, take(light.number) * _DRAWS + 2)
    height = take(at_detector) + sharing * m.CHARGE_SHARING + m.TUBE_WIDTH / 2
    slant = (1 + tracks.slope_x.square() + tracks.slope_y.square()).sqrt()
    flight = (slant * tracks.inverse_beta / m.SPEED_OF_LIGHT).float().index_select(0, row)
    start = (tracks.time - window_start).float().index_select(0, row)
    speed = group_index(take(light.wavelength2), take(light.index)) * (1 / m.SPEED_OF_LIGHT)
    time = start + take(z) * flight + speed * path + jitter * sigma_t.float().index_select(0, row)

    inside = (local >= 0) & (local < m.TUBE_WIDTH) & (height > 0) & (height < m.TUBE_WIDTH)
    inside &= (time >= 0) & (time < m.CROSSING)
    seen = inside.nonzero()[:, 0]
    axes = (
        (column, m.COLUMNS),
        ((height * (1 / m.ROW_HEIGHT)).floor(), m.ROWS),
        ((time * (1 / m.TIME_BIN)).floor(), m.TIME_BINS),
    )
    # A product may round up to the edge that its factor is below.
    bins = (value.index_select(0, seen).long().clamp(max=bins - 1) for value, bins in axes)
    kept = kept.index_select(0, seen)
    return Photons(
        row.index_select(0, seen),
        pack_cells(*bins),
        take(light.energy),
        path.index_select(0, seen),
        walls.index_select(0, seen).abs().int(),
        take(light.ky) < 0,
    )


def count_photons(tracks: Tracks) -> Tensor:
    """(T,) int64, Poisson number of photons of each track, at most :data:`RAW_PHOTONS`."""
    mean = mean_photons(tracks)
    if not len(mean):
        return mean.long()
    # Arrivals of a Poisson process in [0, mean): the gaps between them are exponential.
    most = float(mean.max())
    words = min(m.RAW_PHOTONS, math.ceil(most + 10 * math.sqrt(most) + 20)) // 2
    key = draws.derive(tracks.key, "number of photons")
    pairs = draws.uniform_pair(key[:, None], torch.arange(words, device=key.device))
    arrivals = torch.stack(pairs, dim=2).flatten(1).log_().neg_().double().cumsum(1)
    return (arrivals < mean[:, None]).sum(1)


def photon_numbers(counts: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Track row and number of the photons ``first .. first + counts - 1`` of each track: (N,) and (N,) int64."""
    rows = torch.repeat_interleave(counts)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts, output_size=len(rows))
    return rows, torch.arange(first, first + len(rows), device=counts.device) - starts

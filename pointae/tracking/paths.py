"""Paths of light from a hypothetical track to a hit: what they say of the arrival, and its derivatives.

The mirror images of a plate unfold every reflection into a straight line. A path fixes the light's direction,
direction and track fix the Cherenkov angle, hence the index, hence the colour and its speed: the path predicts
when the hit should have come. After M. Charles & R. Forty, Nucl. Instrum. Meth. A 639 (2011) 173.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pointae.geometry import torch_geometry
from pointae.oracle.tables import SUBDIVISION, light_table, row_table
from pointae.simulate import module as m

MEAN_INDEX = 1.4889
"""Of the detected light; its standard deviation is 0.018."""
INDEX_RANGE = (-0.034, 0.062)
"""Detected light's indices about the mean."""
_EMISSION = m.PLATE_DEPTH / 2
TYPICAL_GROUP_INDEX = 1.5625
_ROUND = 2 * m.PLATE_WIDTH
LEAST_COSINE = 0.3


@dataclass(frozen=True, eq=False)
class LightHits:
    """L hits of each of B events as light measurements; (B, L) float32 each.

    Args:
        x: mm from the plate's middle.
        time: ns.
        cosine, sine: of the light's angle to the plate's length, from the row.
        block: mm, path in the focusing block.
    """

    x: Tensor
    time: Tensor
    cosine: Tensor
    sine: Tensor
    block: Tensor

    def columns(self, number: int) -> LightHits:
        """The first hits of each event."""
        return LightHits(*(value[:, :number] for value in vars(self).values()))

    def events(self, rows: slice) -> LightHits:
        """Some of the events."""
        return LightHits(*(value[rows] for value in vars(self).values()))


def light_hits(coords: Tensor) -> LightHits:
    """Light measurements of cells (B, L, 3) of the TORCH grid."""
    geometry = torch_geometry()
    rows = _rows(coords.device)
    cosine, sine, block = (table[coords[..., 1].long()] for table in rows)
    time = m.WINDOW_START + (coords[..., 2].float() + 0.5) * m.TIME_BIN
    return LightHits(geometry.x.centres_of(coords[..., 0]).float(), time, cosine, sine, block)


@dataclass(frozen=True, eq=False)
class Emission:
    """Where, when and whither B x K hypothetical tracks shine; (B, K, 1, 1) each.

    Args:
        x, y: mm, middle of the track in the plate.
        inverse_beta: c over the speed.
        time: ns.
        dx, dy, dz: direction.
        slant: path through the plate over its depth.
    """

    x: Tensor
    y: Tensor
    inverse_beta: Tensor
    time: Tensor
    dx: Tensor
    dy: Tensor
    dz: Tensor
    slant: Tensor


def emission(hypotheses: Tensor) -> Emission:
    """Emission of hypotheses (B, K, 5)."""
    x, y, slope_x, inverse_beta, time = (value[..., None, None] for value in hypotheses.unbind(-1))
    slope_y = (y + m.PLATE_HEIGHT / 2) / m.DISTANCE
    slant = (1 + slope_x.square() + slope_y.square()).sqrt()
    return Emission(
        x=x + _EMISSION * slope_x,
        y=y + _EMISSION * slope_y,
        inverse_beta=inverse_beta,
        time=time + _EMISSION * slant * inverse_beta / m.SPEED_OF_LIGHT,
        dx=slope_x / slant,
        dy=slope_y / slant,
        dz=1 / slant,
        slant=slant,
    )


@dataclass(frozen=True, eq=False)
class Paths:
    """W paths from each of K hypotheses to each of L hits; (B, K, L, W) each.

    Args:
        late: ns, measured minus predicted time.
        excess: index that the Cherenkov angle demands, over the mean.
        kx, kl: direction of the light across the plate, and in the (y, z) plane.
        steep: share of ``kl`` in the cosine of the Cherenkov angle.
        cosine: of the Cherenkov angle.
        length: mm.
        up: +1 by the top, -1 by the bottom edge.
    """

    late: Tensor
    excess: Tensor
    kx: Tensor
    kl: Tensor
    steep: Tensor
    cosine: Tensor
    length: Tensor
    up: Tensor

    def select(self, ways: Tensor) -> Paths:
        """Some of the paths of each pair; ``ways`` (B, K, L, W') numbers them."""
        return Paths(*(value.expand_as(self.late).gather(-1, ways) for value in vars(self).values()))


def trace(hits: LightHits, source: Emission, wide: bool) -> Paths:
    """Paths by the top and the bottom edge, to the mirror images that the time suggests.

    Time and speed suggest how far the light went across; on either side and for either parity of reflections
    the nearest image is taken, with ``wide`` the two about it: 8 or 16 paths. The time suggests too little
    where light goes almost straight up, so narrow tracing misses one signal hit in twenty.
    """
    x, time, cosine, sine, block = (value[:, None, :, None] for value in vars(hits).values())
    flight = time - source.time  # (B, K, L, 1)
    up = torch.tensor([1.0, -1.0], device=x.device, dtype=x.dtype)
    climb = torch.where(up > 0, m.BEVEL_BASE - source.y, m.BEVEL_BASE + m.PLATE_HEIGHT + source.y)
    along = climb / cosine + block  # (B, K, L, 2)
    steep = up * source.dy * cosine + source.dz * sine
    reach = flight.clamp(min=0) * (m.SPEED_OF_LIGHT / TYPICAL_GROUP_INDEX)
    across = (reach.square() - along.square()).clamp(min=1.0).sqrt()
    ways = []
    for first in (x - source.x, m.PLATE_WIDTH - x - source.x):
        for suggested in (across, -across):
            image = (suggested - first) / _ROUND
            chosen = (image.floor(), image.ceil()) if wide else (image.round(),)
            ways += [first + _ROUND * number for number in chosen]
    offset = torch.cat(ways, -1)
    along, steep, up = (value.repeat(1, 1, 1, len(ways)) for value in (along, steep, up.expand(1, 1, 1, 2)))
    inverse = (offset.square() + along.square()).rsqrt()
    kx, kl = offset * inverse, along * inverse
    cherenkov = (kx * source.dx + kl * steep).clamp(min=LEAST_COSINE)
    excess = source.inverse_beta / cherenkov - MEAN_INDEX
    length = 1 / inverse
    late = flight - group_index(excess) * length / m.SPEED_OF_LIGHT
    return Paths(late, excess, kx, kl, steep, cherenkov, length, up)


def derivatives(paths: Paths, hits: LightHits, source: Emission) -> tuple[Tensor, Tensor]:
    """Derivatives of ``late`` and ``excess`` by the five parameters, (B, K, L, W, 5) each, images kept."""
    cosine, sine = hits.cosine[:, None, :, None], hits.sine[:, None, :, None]
    dx, dy, dz, slant = source.dx, source.dy, source.dz, source.slant
    kx, kl, length = paths.kx, paths.kl, paths.length
    speed = group_index(paths.excess) / m.SPEED_OF_LIGHT  # ns/mm
    dispersion = _group_slope(paths.excess) * length / m.SPEED_OF_LIGHT  # ns a unit of index
    bend = -source.inverse_beta / paths.cosine.square()  # of the index, by the Cherenkov angle's cosine

    def turned(by_x: Tensor, by_y: Tensor, by_z: Tensor) -> Tensor:
        """Of the Cherenkov angle's cosine, by a turn of the track."""
        return kx * by_x + kl * (paths.up * (by_y * cosine) + by_z * sine)

    rise = 1 / m.DISTANCE
    tilt = turned(-dx * dy / slant * rise, (1 - dy.square()) / slant * rise, -dy * dz / slant * rise)
    lean = turned((1 - dx.square()) / slant, -dx * dy / slant, -dx * dz / slant)
    shift = (kx * paths.cosine - dx) / length  # of the angle's cosine, by x
    climb = -paths.up / cosine  # of the way in the (y, z) plane, by y
    crossing = _EMISSION / m.SPEED_OF_LIGHT
    by_x = bend * shift
    by_y = bend * (climb * (paths.steep - kl * paths.cosine) / length + tilt)
    by_slope = bend * (_EMISSION * shift + lean)
    by_beta = 1 / paths.cosine
    late = [
        speed * kx - dispersion * by_x,
        -speed * kl * climb - dispersion * by_y,
        speed * kx * _EMISSION - dispersion * by_slope - crossing * dx * source.inverse_beta,
        -dispersion * by_beta - crossing * slant,
        torch.full_like(kx, -1.0),
    ]
    return torch.stack(late, -1), torch.stack([by_x, by_y, by_slope, by_beta, torch.zeros_like(kx)], -1)


def group_index(excess: Tensor) -> Tensor:
    """Group index of light whose index is above the mean by ``excess``; constant beyond the detected colours."""
    e = excess.clamp(*INDEX_RANGE)
    c = dispersion_coefficients()
    return c[0] + e * (c[1] + e * (c[2] + e * (c[3] + e * c[4])))


def _group_slope(excess: Tensor) -> Tensor:
    c = dispersion_coefficients()
    slope = c[1] + excess * (2 * c[2] + excess * (3 * c[3] + excess * 4 * c[4]))
    return slope * ((excess > INDEX_RANGE[0]) & (excess < INDEX_RANGE[1]))


@cache
def dispersion_coefficients() -> tuple[float, ...]:
    """A polynomial of the fourth degree through the simulator's own table: right to 1e-3, 6 ps in 3 m."""
    table = light_table(torch.device("cpu"))
    index = table.low + table.step * torch.arange(len(table.columns), dtype=torch.float64)
    powers = torch.stack([(index - MEAN_INDEX) ** power for power in range(5)], 1)
    solution = torch.linalg.lstsq(powers, table.columns[:, 2:].double()).solution
    return tuple(solution[:, 0].tolist())


@cache
def _rows(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine, sine and block path of each row, means over the table's parts."""
    table = row_table(device)
    cosine, sine, block = (v.view(-1, SUBDIVISION).mean(1) for v in (table.cosine, table.sine, table.block))
    return cosine, sine, block

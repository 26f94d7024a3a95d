"""What the closed form looks up, made from the simulator's own functions: light by its index, rows by their angle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pointae.simulate import module as m
from pointae.simulate.focusing import focus
from pointae.simulate.quartz import ENERGY_RANGE, HC, YIELD, detection_efficiency, group_index, refractive_index

SUBDIVISION = 2
"""Parts of a column and of a row, each with its own angle."""
_INDICES = 8192
"""Steps of the index; one moves an arrival by less than a ps."""
_ANGLES, _DEPTHS = 2001, 64


@dataclass(frozen=True, eq=False)
class LightTable:
    """Light by its refractive index, evenly spaced; a measured angle gives the index, hence the colour.

    Args:
        low, step: first index and spacing.
        columns: (I, 3) float32: photons detected a mm of path, unit of index and radian of azimuth over the
            squared sine of the Cherenkov angle; squared wavelength, um^2; group index.
    """

    low: float
    step: float
    columns: Tensor

    @property
    def high(self) -> float:
        """The last index."""
        return self.low + self.step * (len(self.columns) - 1)


@dataclass(frozen=True, eq=False)
class RowTable:
    """Parts of the rows, from row 0 up: (R,) float32 each.

    Args:
        cosine, sine: of the light's angle to the plate's length, tan(angle) = k_z / |k_y|.
        width: rad, range of angles that the part sees.
        block: mm, path in the focusing block in the (y, z) plane.
    """

    cosine: Tensor
    sine: Tensor
    width: Tensor
    block: Tensor


@cache
def light_table(device: torch.device) -> LightTable:
    """The light's table on a device, computed once."""
    energy = torch.linspace(*ENERGY_RANGE, 8 * _INDICES, dtype=torch.float64)
    wavelength2 = (HC / energy).square()
    index = refractive_index(wavelength2)
    (slope,) = torch.gradient(index, spacing=(energy,))
    light = YIELD / (2 * math.pi) * detection_efficiency(energy) / slope
    wanted = torch.linspace(float(index[0]), float(index[-1]), _INDICES, dtype=torch.float64)
    columns = [_interpolate(wanted, index, of) for of in (light, wavelength2, group_index(wavelength2, index))]
    step = float(wanted[1] - wanted[0])
    return LightTable(float(wanted[0]), step, torch.stack(columns, 1).float().to(device))


@cache
def row_table(device: torch.device) -> RowTable:
    """The rows' table on a device, computed once.

    Light fills the bevel evenly, so heights and paths are means over it. The aberration left out is half
    a mrad, a sixth of a row.
    """
    angle = torch.linspace(0.43, 0.87, _ANGLES, dtype=torch.float64)
    depth = (torch.arange(_DEPTHS, dtype=torch.float64)[:, None] + 0.5) / _DEPTHS * (2 * m.PLATE_DEPTH)
    height, path, _ = focus(angle.cos().expand(_DEPTHS, -1), angle.sin().expand(_DEPTHS, -1), depth)
    # Heights fall with the angle, a search wants them to rise.
    rising, angle, path = height.mean(0).flip(0), angle.flip(0), path.mean(0).flip(0)
    parts = m.ROWS * SUBDIVISION
    edges = torch.linspace(-m.TUBE_WIDTH / 2, m.TUBE_WIDTH / 2, parts + 1, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    middle = _interpolate(middles, rising, angle)
    width = -_interpolate(edges, rising, angle).diff()
    block = _interpolate(middles, rising, path)
    return RowTable(*(column.float().to(device) for column in (middle.cos(), middle.sin(), width, block)))


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    right = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return y[right - 1] + share * (y[right] - y[right - 1])

"""Fused silica and the photon detectors: refractive index, attenuation, efficiency, photon energies."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from pointae.simulate.module import INDEX_AIR, PLATE_DEPTH, ROUGHNESS

HC = 1.239841984
"""eV um: photon energy times wavelength."""
ENERGY_RANGE = (1.75, 6.2)
"""eV; the glue of the focusing block absorbs what lies above."""

# Sellmeier coefficients of Corning 7980 fused silica, wavelength in um.
_STRENGTH = (0.683740494, 0.420323613, 0.58502748)
_RESONANCE = (0.00460352869, 0.0133968856, 64.4932732)

_EFFICIENCY_NM = (200, 220, 240, 300, 360, 400, 440, 500, 560, 620, 700, 800)
_EFFICIENCY = (0.21, 0.28, 0.28, 0.25, 0.22, 0.19, 0.16, 0.11, 0.07, 0.04, 0.02, 0.006)
_COLLECTION, _MIRROR, _GLUE = 0.65, 0.885, 0.98
YIELD = 37.0
"""Photons a mm and eV, times the squared sine of the Cherenkov angle."""

ATTENUATION, ATTENUATION_SQUARED_WAVELENGTH = 5e5, 0.442**2
"""mm, of light of a squared wavelength in um^2; it grows as the fourth power of the wavelength."""

_BETA_ROWS, _QUANTILES = 256, 512


def refractive_index(wavelength2: Tensor) -> Tensor:
    """Phase index of fused silica; ``wavelength2`` is the squared wavelength in um^2."""
    terms = [wavelength2 / (wavelength2 - c) * b for b, c in zip(_STRENGTH, _RESONANCE, strict=True)]
    return (terms[0] + terms[1] + terms[2] + 1.0).sqrt()


def group_index(wavelength2: Tensor, index: Tensor) -> Tensor:
    """n - lambda dn/dlambda, which sets the speed of the light's pulse, from the phase index."""
    terms = [(wavelength2 - c).square().reciprocal() * (b * c) for b, c in zip(_STRENGTH, _RESONANCE, strict=True)]
    return (terms[0] + terms[1] + terms[2]) * wavelength2 / index + index


def attenuation_length(wavelength2: Tensor) -> Tensor:
    """mm; Rayleigh scattering in the bulk, as the fourth power of the wavelength."""
    return (wavelength2 * (1 / ATTENUATION_SQUARED_WAVELENGTH)).square() * ATTENUATION


def reflects_totally(index2: Tensor, across: Tensor) -> Tensor:
    """Whether light is reflected totally by a face.

    Args:
        index2: squared index of the quartz, any shape.
        across: component of the light's unit vector along the face's normal, of that shape.
    """
    return index2 * (1 - across * across) > INDEX_AIR**2


def transmission(wavelength2: Tensor, index2: Tensor, kz: Tensor, bounces: Tensor, path: Tensor) -> Tensor:
    """Fraction of light left by the polished faces' roughness and by the bulk; all of one shape.

    Args:
        wavelength2: squared wavelength, um^2.
        index2: squared index.
        kz: component of the light's unit vector across the plate.
        bounces: reflections at the two large faces.
        path: mm.
    """
    roughness = index2 * kz.square() * bounces / wavelength2 * (4 * math.pi * ROUGHNESS) ** 2
    return (-roughness - path / attenuation_length(wavelength2)).exp()


def detection_efficiency(energy: Tensor) -> Tensor:
    """Fraction of photons of these energies (eV, any shape) that are detected once they arrive.

    Quantum and collection efficiency of the photon detectors, mirror, and the glue's edge.
    """
    wavelength = HC * 1000 / energy
    grid = torch.tensor(_EFFICIENCY_NM, dtype=energy.dtype, device=energy.device)
    value = torch.tensor(_EFFICIENCY, dtype=energy.dtype, device=energy.device)
    right = torch.searchsorted(grid, wavelength.contiguous()).clamp(1, len(grid) - 1)
    share = (wavelength - grid[right - 1]) / (grid[right] - grid[right - 1])
    quantum = value[right - 1] + share * (value[right] - value[right - 1])
    quantum = torch.where((wavelength >= grid[0]) & (wavelength <= grid[-1]), quantum, 0.0)
    glue = _GLUE / (1 + torch.exp((230 - wavelength) / 6))
    return quantum * glue * (_COLLECTION * _MIRROR)


class CherenkovSpectrum:
    """Energies and number of the photons that a particle's light would have detected, by its speed.

    Tabulated over 1 / beta^2, in which the spectrum is linear; the nearest row is taken, which
    moves arrival times by less than a ps.
    """

    def __init__(self, device: torch.device) -> None:
        energy = torch.linspace(*ENERGY_RANGE, 4001, dtype=torch.float64)
        index = refractive_index((HC / energy).square())
        self._step = (float(index.max()) ** 2 - 1) / (_BETA_ROWS - 1)
        inverse_beta2 = 1 + self._step * torch.arange(_BETA_ROWS, dtype=torch.float64)
        sine2 = (1 - inverse_beta2[:, None] / index.square()).clamp(min=0)
        density = detection_efficiency(energy) * sine2  # (rows, energies)
        cumulative = torch.cat([torch.zeros(_BETA_ROWS, 1), torch.cumulative_trapezoid(density, energy)], 1)
        total = cumulative[:, -1:]
        # A vanishing slope keeps the quantiles defined where there is no light at all.
        cumulative = cumulative / total.clamp(min=1e-12) + torch.linspace(0, 1e-9, 4001, dtype=torch.float64)
        wanted = torch.linspace(0, 1, _QUANTILES + 1, dtype=torch.float64).expand(_BETA_ROWS, -1).contiguous()
        right = torch.searchsorted(cumulative, wanted).clamp(1, 4000)
        low, high = cumulative.gather(1, right - 1), cumulative.gather(1, right)
        share = ((wanted - low) / (high - low)).clamp(0, 1)
        quantiles = energy[right - 1] + share * (energy[right] - energy[right - 1])
        self._energies = quantiles.float().flatten().to(device)
        self._light = (total[:, 0] * YIELD * PLATE_DEPTH).to(device)

    def rows(self, inverse_beta: Tensor) -> Tensor:
        """Row of the table for each track: (T,) int64."""
        return ((inverse_beta.square() - 1) / self._step).round().long().clamp(0, _BETA_ROWS - 1)

    def mean_photons(self, rows: Tensor) -> Tensor:
        """(T,) float64, mean number of photons of a particle that crosses the plate at right angles."""
        return self._light.index_select(0, rows)

    def energies(self, rows: Tensor, uniform: Tensor) -> Tensor:
        """Photon energies (N,) in eV from each photon's table row and a uniform draw."""
        place = uniform * _QUANTILES
        left = place.int()
        at = rows * (_QUANTILES + 1) + left
        low = self._energies.index_select(0, at)
        return (self._energies.index_select(0, at + 1) - low) * (place - left) + low


@cache
def spectrum(device: torch.device) -> CherenkovSpectrum:
    """The spectrum's tables on a device, computed once."""
    return CherenkovSpectrum(device)

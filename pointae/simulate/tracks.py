"""Charged particles that cross the plate of one module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from pointae import draws
from pointae.ordering import numbered
from pointae.simulate.module import (
    BEND,
    DISTANCE,
    MODULE_CENTRES,
    PLATE_HEIGHT,
    PLATE_WIDTH,
    SPEED_OF_LIGHT,
)

MASSES_GEV = (0.13957, 0.493677, 0.938272)
"""Pion, kaon, proton."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """T tracks; float64 unless said otherwise.

    Args:
        event: (T,) int64, row of the track's event in its batch.
        number: (T,) int64, its number in its event.
        key: (T,) int64, key of the track's own draws.
        x, y: (T,) mm, where it enters the plate, from the plate's centre.
        slope_x, slope_y: (T,) its direction, against z.
        momentum: (T,) GeV/c.
        species: (T,) int64, index into :data:`MASSES_GEV`.
        inverse_beta: (T,) c over its speed.
        time: (T,) ns, when it enters the plate.
    """

    event: Tensor
    number: Tensor
    key: Tensor
    x: Tensor
    y: Tensor
    slope_x: Tensor
    slope_y: Tensor
    momentum: Tensor
    species: Tensor
    inverse_beta: Tensor
    time: Tensor

    def __len__(self) -> int:
        return len(self.event)

    @cached_property
    def slant(self) -> Tensor:
        """(T,) path through the plate over its depth."""
        return (1 + self.slope_x.square() + self.slope_y.square()).sqrt()

    def to(self, device: torch.device) -> Tracks:
        """The same tracks on a device."""
        return Tracks(**{spec.name: getattr(self, spec.name).to(device) for spec in fields(self)})

    def of_events(self, event: Tensor) -> Tracks:
        """The same tracks as those of other events, (T,) int64."""
        return replace(self, event=event)

    def at_events(self, events: Tensor) -> Tracks:
        """The tracks of the given events (E,), grouped by them; ``event`` becomes the row of ``events``."""
        counts = torch.bincount(self.event, minlength=int(events.max()) + 1 if len(events) else 0)
        row, number = numbered(counts[events])
        return self.select((counts.cumsum(0) - counts)[events][row] + number).of_events(row)

    @staticmethod
    def concat(tracks: Sequence[Tracks]) -> Tracks:
        """Several sets of tracks as one."""
        return Tracks(**{s.name: torch.cat([getattr(t, s.name) for t in tracks]) for s in fields(Tracks)})

    def select(self, rows: Tensor) -> Tracks:
        """The tracks of the given rows (index or mask)."""
        return Tracks(**{spec.name: getattr(self, spec.name)[rows] for spec in fields(self)})


def draw_tracks(
    event: Tensor, number: Tensor, keys: Tensor, module_x: Tensor, time: Tensor, momentum_gev: tuple[float, float]
) -> Tracks:
    """Tracks from the interaction point through a module of the upper row, evenly over its plate.

    Pions, kaons and protons of both charges are equally likely; the momentum is log-uniform.

    Args:
        event: (T,) int64, row of the track's event.
        number: (T,) int64, number of the track in its event.
        keys: (B,) int64, one an event.
        module_x: (T,) float64, mm, centre of the track's module.
        time: (T,) float64, ns, time of its collision.
        momentum_gev: range of momenta.
    """
    key = draws.derive(keys.index_select(0, event), number)
    across, along = (u.double() for u in draws.uniform_pair(key, 0))
    spin, species_draw = draws.uniform_pair(key, 1)
    low, high = (math.log(p) for p in momentum_gev)
    momentum = (low + (high - low) * draws.uniform(key, 2).double()).exp()
    species = (species_draw * 3).long()
    mass = torch.tensor(MASSES_GEV, dtype=torch.float64, device=key.device)[species]
    inverse_beta = (1 + (mass / momentum).square()).sqrt()
    x, y = (across - 0.5) * PLATE_WIDTH, (along - 0.5) * PLATE_HEIGHT
    x_global, y_global = module_x + x, y + PLATE_HEIGHT / 2
    charge = torch.where(spin < 0.5, -1.0, 1.0)
    flight = (x_global.square() + y_global.square() + DISTANCE**2).sqrt()
    return Tracks(
        event=event,
        number=number,
        key=key,
        x=x,
        y=y,
        slope_x=x_global / DISTANCE + charge * BEND / momentum,
        slope_y=y_global / DISTANCE,
        momentum=momentum,
        species=species,
        inverse_beta=inverse_beta,
        time=time + flight * inverse_beta / SPEED_OF_LIGHT,
    )


def draw_module(keys: Tensor) -> Tensor:
    """(B,) float64, mm: centre of each event's module, one of nine side by side."""
    half = MODULE_CENTRES // 2
    return draws.integers(keys, 0, -half, half + 1).double() * PLATE_WIDTH

"""Plausible robots: up to eight voxels that grow in limbs from the centre of the grid, two in five mirror-symmetric.

All robots of a batch grow at once, a voxel a round. Robots are empty or copies of others only where asked, but two
small ones may come out equal: :func:`pointae.robots.cleaned` leaves such out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointae import draws
from pointae.config import RobotSource
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.robots import GRID, MAX_VOXELS

CENTRE = GRID // 2
SIZES = (0.03, 0.08, 0.20, 0.24, 0.20, 0.13, 0.07, 0.05)
"""Share of robots of 1, 2, ... voxels."""
SYMMETRIC = 0.325
"""Share of robots that are grown as their own mirror image in x; with those that are so by chance it is 40 %, once
duplicates are gone."""
LONGEST_LIMB = 5
"""Cells from the centre to a limb's end, drawn from 1 to this."""
NEW_LIMB, LONG_STEP, ASIDE = 0.3, 0.5, 0.3
"""Chance that a voxel begins a limb, is two cells from the one before rather than one, is one cell off its line."""
KIND_SHARES = (
    (0.393, 0.297, 0.282, 0.028),
    (0.582, 0.263, 0.106, 0.049),
    (0.699, 0.189, 0.043, 0.069),
    (0.776, 0.135, 0.012, 0.077),
    (0.820, 0.077, 0.006, 0.097),
)
"""Share of wheels, sensors, joints and casters 1, 2, ... 5 cells from the centre; over all 55, 25, 15 and 5 %."""
TRIES = 12
"""Places tried for a voxel before the robot stays as small as it is."""
WORDS = 8
"""Random words of a try."""


def simulate_robots(source: RobotSource, seed: int, index: Tensor, epoch: int = 0) -> HitBatch:
    """Robots by number; see :func:`pointae.simulate.simulate_events`.

    The voxels of a robot are sorted by cell and have a ``category``; there is no ``signal``.
    """
    origin = _origins(source, seed, index, epoch)
    place = draws.uniform(draws.event_keys(seed, epoch, origin, "robots"), 0)
    return _grow(draws.event_keys(seed, epoch, origin, "grow"), place >= 1 - source.empties).hits(index)


def _origins(source: RobotSource, seed: int, index: Tensor, epoch: int) -> Tensor:
    """(B,) int64, number of the earlier robot that each repeats, or its own."""
    while True:
        keys = draws.event_keys(seed, epoch, index, "robots")
        copied = (draws.uniform(keys, 0) < source.duplicates) & (index > 0)
        if not bool(copied.any()):
            return index
        index = torch.where(copied, draws.integers(keys, 1, 0, index.clamp(min=1)), index)


def voxels_per_robot(source: RobotSource) -> int:
    """About how many places are held for a robot while it grows."""
    return MAX_VOXELS * TRIES


@dataclass
class _Robots:
    """B robots while they grow.

    Args:
        kinds: (B, GRID^3) int8, the kind in each cell; 0 empty.
        wanted: (B,) int64, voxels that each robot is still to get.
        tip: (B, 3) int64, the last voxel of the limb that grows.
        axis, way: (B,) int64, its direction: axis 0, 1, 2 and -1 or 1.
        limb: (B,) int64, cells from the centre at which it ends.
    """

    kinds: Tensor
    wanted: Tensor
    tip: Tensor
    axis: Tensor
    way: Tensor
    limb: Tensor

    def hits(self, index: Tensor) -> HitBatch:
        batch, cell = self.kinds.nonzero(as_tuple=True)
        coords = torch.stack([cell // GRID**2, cell // GRID % GRID, cell % GRID], dim=1).int()
        counts = torch.bincount(batch, minlength=len(index))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return HitBatch(
            robot_geometry(), coords, offsets, category=self.kinds[batch, cell], event_id=index, trusted=True
        )


def _grow(keys: Tensor, empty: Tensor) -> _Robots:
    """The robots of (B,) keys; none where ``empty`` (B,)."""
    robots = len(keys)
    wanted = 1 + torch.searchsorted(torch.tensor(SIZES).cumsum(0), draws.uniform(keys, 0)).clamp(max=MAX_VOXELS - 1)
    grown = _Robots(
        keys.new_zeros((robots, GRID**3), dtype=torch.int8),
        wanted.masked_fill(empty, 0),
        keys.new_full((robots, 3), CENTRE),
        *keys.new_zeros((3, robots)),
    )
    symmetric = draws.uniform(keys, 1) < SYMMETRIC
    for voxel in range(MAX_VOXELS):
        tries = draws.derive(keys, voxel)
        waiting = grown.wanted > 0
        for attempt in range(TRIES):
            rows = waiting.nonzero()[:, 0]
            if not len(rows):
                break
            done = _try(grown, rows, tries[rows], 1 + attempt * WORDS, symmetric[rows], first=voxel == 0)
            waiting[rows[done]] = False
        grown.wanted[waiting] = 0
    return grown


def _try(robots: _Robots, rows: Tensor, keys: Tensor, word: int, symmetric: Tensor, first: bool) -> Tensor:
    """Put one voxel, or a mirrored pair, on the robots ``rows`` (R,) where the drawn place is free: (R,) bool."""
    tip, axis, way, limb = (value[rows] for value in (robots.tip, robots.axis, robots.way, robots.limb))
    begins = (draws.uniform(keys, word) < NEW_LIMB) | first | ((tip - CENTRE).abs().amax(1) >= limb)
    axis = torch.where(begins, draws.integers(keys, word + 1, 0, 3), axis)
    way = torch.where(begins, draws.integers(keys, word + 2, 0, 2) * 2 - 1, way)
    way = torch.where(symmetric & (axis == 0), 1, way)  # the half of larger x grows, the other mirrors it
    limb = torch.where(begins, draws.integers(keys, word + 3, 1, LONGEST_LIMB + 1), limb)
    step = 1 + (draws.uniform(keys, word + 4) < LONG_STEP).long()
    side = draws.integers(keys, word + 5, 0, 4)  # two axes, two ways
    aside = (draws.uniform(keys, word + 6) < ASIDE).long() * (side % 2 * 2 - 1)
    place = torch.where(begins[:, None], CENTRE, tip)
    place = place.scatter_add(1, axis[:, None], (way * step)[:, None])
    place = place.scatter_add(1, ((axis + 1 + side // 2) % 3)[:, None], aside[:, None])

    far = (place - CENTRE).abs().amax(1)
    pair = symmetric & (place[:, 0] != CENTRE)
    cell = _cell(place.clamp(0, GRID - 1))
    free = (far > 0) & (far <= limb) & (robots.kinds[rows, cell] == 0)
    free &= ~pair | ((robots.wanted[rows] >= 2) & (place[:, 0] > CENTRE))
    table = torch.tensor(KIND_SHARES).cumsum(1)[far.clamp(1, CENTRE) - 1]  # (R, 4)
    kind = (1 + (draws.uniform(keys, word + 7)[:, None] >= table[:, :3]).sum(1)).to(torch.int8)

    kept, mirrored = rows[free], free & pair
    robots.kinds[kept, cell[free]] = kind[free]
    opposite = _cell(place[mirrored] * place.new_tensor([-1, 1, 1]) + place.new_tensor([GRID - 1, 0, 0]))
    robots.kinds[rows[mirrored], opposite] = kind[mirrored]
    robots.wanted[kept] -= 1 + pair[free].long()
    for name, value in (("tip", place), ("axis", axis), ("way", way), ("limb", limb)):
        getattr(robots, name)[kept] = value[free]
    return free


def _cell(place: Tensor) -> Tensor:
    """(R,) int64 cell in C order of (R, 3) coordinates."""
    return (place[:, 0] * GRID + place[:, 1]) * GRID + place[:, 2]

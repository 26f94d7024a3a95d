"""Simplified full patterns on DeepClean3D's grid: cross, hemisphere, line, folded V, parabola, blank.

Every pattern is drawn on the full grid and digitised to one hit a cell; what falls outside is
dropped. An event is a pure function of its seed, epoch and number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pointae import draws
from pointae.config import PatternSource
from pointae.errors import ConfigError
from pointae.geometry import deepclean3d_geometry
from pointae.hits import HitBatch
from pointae.ordering import numbered
from pointae.simulate.digitise import CELL_BITS, batch_of_places, first_in_cell, pack_cells

_GEOMETRY = deepclean3d_geometry()
_SHAPE = _GEOMETRY.spatial_shape
COLUMNS, ROWS, STEPS = _SHAPE

Points = tuple[Tensor, Tensor, Tensor]
"""Event row (N,) int64, positions (N, 3) in bins, and the pattern's number in its event (N,) int64."""


def simulate_patterns(source: PatternSource, seed: int, index: Tensor, epoch: int = 0) -> HitBatch:
    """Events with one pattern each; see :func:`pointae.simulate.simulate_events`.

    ``track`` numbers the crosses of an event and is 0 for other patterns.
    """
    kinds = pattern_kinds(source.mixture, index)
    keys = draws.event_keys(seed, epoch, index, "patterns")
    parts = []
    for number, kind in enumerate(source.mixture):
        rows = (kinds == number).nonzero()[:, 0]
        event, points, track = PATTERNS[kind](keys.index_select(0, rows), source)
        parts.append((rows.index_select(0, event), points, track))
    event, points, track = (torch.cat(column) for column in zip(*parts, strict=True))

    cells = points.round().long()
    limits = torch.tensor(_SHAPE, device=index.device)
    inside = ((cells >= 0) & (cells < limits)).all(1)
    event, cells, track = event[inside], cells[inside], track[inside]
    order, first = first_in_cell((event << CELL_BITS) | pack_cells(*cells.unbind(1)))
    order = order[first]
    place = ((event << CELL_BITS) | pack_cells(*cells.unbind(1)))[order]
    signal = torch.ones(len(place), dtype=torch.bool, device=index.device)
    return batch_of_places(
        _GEOMETRY, place, index, signal=signal, track=track[order].int(), origin=(~signal).to(torch.int8)
    )


def points_per_event(source: PatternSource) -> int:
    """About how many points are drawn for an event: its size in memory."""
    crosses = max(source.crosses) if isinstance(source.crosses, tuple) else source.crosses
    return 1 + max(source.points * max(crosses, 1), 2 * _LEG)


def pattern_kinds(mixture: Mapping[Any, float], index: Tensor) -> Tensor:
    """Which pattern each event has: number of the kind in ``mixture``, (B,) int64.

    The first kind takes event i where round(i share) steps up, so it has round(n share) of the
    first n events; the second does the same among the events left over, and so on. So the first
    n events hold exactly n times each share wherever these are whole numbers, and else the whole
    numbers next to them; a share of 0 gives no event.

    Args:
        mixture: share of each kind, normalised here.
        index: (B,) int64, numbers of the events.

    Raises:
        ConfigError: all shares are 0.
    """
    # Large shares first: their rounding then disturbs the later ones least.
    shares = sorted(((share, number) for number, share in enumerate(mixture.values()) if share > 0), reverse=True)
    if not shares:
        raise ConfigError("the mixture of patterns has no share above 0")
    place, kinds = index, torch.full_like(index, -1)
    for turn, (share, number) in enumerate(shares):
        of_the_rest = share / sum(other for other, _ in shares[turn:])
        before, after = (((place + step).double() * of_the_rest).round().long() for step in (0, 1))
        kinds = torch.where((kinds < 0) & (after > before), number, kinds)
        place = place - before
    return kinds


def cross(keys: Tensor, source: PatternSource) -> Points:
    """Two space diagonals of the grid, turned about its middle and shifted; several in an event."""
    crosses = draws.integers_in(keys, 0, source.crosses)
    event, number = numbered(crosses)
    key = draws.derive(draws.derive(keys, "cross")[event], number)
    point = torch.arange(source.points, device=keys.device)
    second = point >= (source.points + 1) // 2
    along = torch.where(second, point - (source.points + 1) // 2, point) / max(source.points // 2 - 1, 1)
    x = (along - 0.5) * (COLUMNS - 1)
    y = torch.where(second, 0.5 - along, along - 0.5) * (ROWS - 1)
    t = torch.where(second, 0.5 - along, along - 0.5) * (STEPS - 1)
    angle = (draws.integers(key, 0, 0, 360).float() * (math.pi / 180))[:, None]
    turned = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), t.expand(len(key), -1)])
    shifts = torch.stack([draws.uniform(key, 1 + axis) - 0.5 for axis in range(3)])  # (3, crosses)
    middle = torch.tensor([(bins - 1) / 2 for bins in _SHAPE], device=keys.device)[:, None]
    limits = torch.tensor(source.max_shift, device=keys.device)[:, None]
    position = turned + (middle + shifts * limits)[:, :, None]
    if source.spread_px:
        counters = 4 + point * 3
        position = position + source.spread_px * torch.stack(
            [draws.normal(key[:, None], counters + a) for a in range(3)]
        )
    return event.repeat_interleave(source.points), position.flatten(1).T, number.repeat_interleave(source.points)


def hemisphere(keys: Tensor, source: PatternSource) -> Points:
    """Points of a half sphere that opens to early times, denser at its pole."""
    radius = draws.integers(keys, 0, 10, 40)[:, None]
    shift_x, shift_y = ((draws.uniform(keys, counter) * 100 - 50)[:, None] for counter in (1, 2))
    u, v = draws.uniform_pair(keys[:, None], 3 + torch.arange(source.points, device=keys.device))
    polar, azimuth = u * (math.pi / 2), v * (2 * math.pi)
    x = COLUMNS // 2 + shift_x + radius * polar.sin() * azimuth.cos()
    y = ROWS // 2 + shift_y + radius * polar.sin() * azimuth.sin()
    return _grid(x, y, STEPS // 2 + radius * polar.cos())


def line(keys: Tensor, source: PatternSource) -> Points:
    """A straight line through the grid, in a direction even on the sphere (with t scaled to the rows)."""
    box = torch.tensor([COLUMNS, ROWS, ROWS], device=keys.device) - 1.0
    inside = torch.stack([draws.uniform(keys, axis) for axis in range(3)], dim=1) * box
    rise = draws.uniform(keys, 3) * 2 - 1
    azimuth = draws.uniform(keys, 4) * (2 * math.pi)
    flat = (1 - rise.square()).sqrt()
    direction = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), rise], dim=1)
    # Distances to the box's faces, behind and ahead; zero directions are never drawn.
    faces = torch.stack([-inside / direction, (box - inside) / direction])
    behind, ahead = faces.amin(0).amax(1), faces.amax(0).amin(1)
    along = (torch.arange(source.points, device=keys.device) + 0.5) / source.points
    way = behind[:, None] + (ahead - behind)[:, None] * along
    x, y, t = (inside[:, None] + way[:, :, None] * direction[:, None]).unbind(2)
    return _grid(x, y, t * ((STEPS - 1) / (ROWS - 1)))


def folded_v(keys: Tensor, source: PatternSource) -> Points:
    """Two arms that fall from one point, one step of time a row or three, mirrored at the side walls."""
    x0, y0, t0 = (draws.integers(keys, axis, 0, bins)[:, None] for axis, bins in enumerate(_SHAPE))
    steep = draws.integers(keys, 3, 0, 2)[:, None] == 1
    fall, run = torch.where(steep, 3, 1), torch.where(steep, 1, 3)
    step = torch.arange(1, ROWS, device=keys.device)
    sides = torch.cat([x0 + run * step, x0 - run * step], dim=1)
    y, t = y0 - fall * step, t0 + step
    return _grid(_mirrored(sides), y.repeat(1, 2), t.repeat(1, 2))


def parabola(keys: Tensor, source: PatternSource) -> Points:
    """An arc over all columns with straight legs from its ends, mirrored at the side walls.

    Later rows are lower: t counts rows from the arc's top.
    """
    radius = draws.integers(keys, 0, 58, 180)[:, None]
    centre_x = draws.integers(keys, 1, 36, 53)[:, None]
    top = draws.integers(keys, 2, 30, 120)[:, None] + 1
    slope = ((draws.integers(keys, 3, 93, 117) - 90).float() * (math.pi / 180)).tan()[:, None]
    start = draws.integers(keys, 4, 0, STEPS - 2)[:, None]
    column = torch.arange(COLUMNS, device=keys.device)
    arc = top - radius + (radius.square() - (column - centre_x).square()).float().sqrt()
    step = torch.arange(1, _LEG + 1, device=keys.device)
    x = torch.cat([column, _mirrored(step), _mirrored(COLUMNS - 1 - step)]).expand(len(keys), -1)
    y = torch.cat([arc, arc[:, :1] - slope * step, arc[:, -1:] - slope * step], dim=1).round()
    return _grid(x, y, start + top - y)


def blank(keys: Tensor, source: PatternSource) -> Points:
    """Nothing."""
    return _grid(*keys.new_zeros((3, len(keys), 0)).unbind(0))


PATTERNS: dict[str, Callable[[Tensor, PatternSource], Points]] = {
    "cross": cross,
    "hemisphere": hemisphere,
    "line": line,
    "folded_v": folded_v,
    "parabola": parabola,
    "blank": blank,
}
"""Patterns by name: ``(keys (B,), settings) -> points`` for B events at once."""

_LEG = 400
"""Pixels of a parabola's leg at most."""


def _mirrored(x: Tensor) -> Tensor:
    """Columns mirrored at the centres of the outermost ones."""
    period = 2 * (COLUMNS - 1)
    return (COLUMNS - 1) - (x.remainder(period) - (COLUMNS - 1)).abs()


def _grid(x: Tensor, y: Tensor, t: Tensor) -> Points:
    """Points of B events with P points each, from (B, P) positions."""
    events, points = x.shape
    event = torch.arange(events, device=x.device).repeat_interleave(points)
    return event, torch.stack([x.flatten(), y.flatten(), t.flatten()], dim=1).float(), torch.zeros_like(event)

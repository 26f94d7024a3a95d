"""Profiles of noise that may be added to hits of any detector: where noise lies on the grid.

A profile is ``(geometry, keys (B,), counts (B,)) -> coords (N, 3) int32`` with exactly ``counts``
hits of each event, one event after the other; times cover the whole window.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pointae import draws
from pointae.config import TorchSource
from pointae.geometry import Axis, DetectorGeometry, torch_geometry
from pointae.ordering import numbered
from pointae.simulate.digitise import unpack_cells
from pointae.simulate.noise import light_cells, noise_streams
from pointae.simulate.tracks import draw_module

HOT_PIXELS = 4
"""Pixels of an event that are noisy."""
EDGE_DEPTH = 0.1
"""Depth of noisy edges, as a fraction of the axis; the noise grows towards the edge."""
CLUSTER_HITS, CLUSTER_SIGMA = 10, 0.015
"""Hits of a cluster, and its Gaussian width as a fraction of each axis."""
TRACK_HITS = 25
"""Hits of a straight track through the grid."""
CROSSING_DECAY = 0.2
"""Decay of the light of a neighbouring crossing into the window, as a fraction of the window."""


def uniform(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """Evenly over the grid."""
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    return _coords(_even(axis, key, number * 3 + i) for i, axis in enumerate(geometry.axes))


def hot(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """A few hot pixels, at any time."""
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    pixel = draws.derive(key, draws.integers(key, number * 2, 0, HOT_PIXELS))
    return _coords([_even(geometry.x, pixel, 0), _even(geometry.y, pixel, 1), _even(geometry.t, key, number * 2 + 1)])


def edges(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """Near the four edges of the detector's face, denser towards them."""
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    side = draws.integers(key, number * 4, 0, 4)
    near = draws.uniform(key, number * 4 + 1).square() * EDGE_DEPTH
    near = torch.where(side % 2 == 0, near, 1 - near)
    x, y = (
        torch.where(side // 2 == i, _bin(axis, near), _even(axis, key, number * 4 + 2))
        for i, axis in enumerate(geometry.axes[:2])
    )
    return _coords([x, y, _even(geometry.t, key, number * 4 + 3)])


def clusters(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """Gaussian clusters around even positions, mirrored at the grid's faces."""
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    cluster = draws.derive(key, number // CLUSTER_HITS)

    def along(axis: Axis, i: int) -> Tensor:
        place = draws.uniform(cluster, i) + draws.normal(key, number * 3 + i) * CLUSTER_SIGMA
        return _bin(axis, 1 - (place.abs() - 1).abs())

    return _coords(along(axis, i) for i, axis in enumerate(geometry.axes))


def tracks(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """Light of other tracks in a TORCH module; straight tracks across any other grid."""
    if geometry == torch_geometry():
        return _torch_light("tracks", keys, counts)
    place = _straight(keys, counts)
    return _coords(_bin(axis, place[i]) for i, axis in enumerate(geometry.axes))


def crossing(geometry: DetectorGeometry, keys: Tensor, counts: Tensor) -> Tensor:
    """Late light of the previous crossing in a TORCH module.

    On any other grid straight tracks whose times decay into the window from its start (the
    previous crossing) or from its end (the next one).
    """
    if geometry == torch_geometry():
        return _torch_light("crossing", keys, counts)
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    # An exponential cut off at the window's other end.
    reach = 1 - math.exp(-1 / CROSSING_DECAY)
    late = (1 - draws.uniform(draws.derive(key, "decay"), number) * reach).log() * -CROSSING_DECAY
    previous = draws.integers(draws.derive(key, "side"), number // TRACK_HITS, 0, 2) == 0
    place = _straight(keys, counts)
    time = _bin(geometry.t, torch.where(previous, late, 1 - late))
    return _coords([_bin(geometry.x, place[0]), _bin(geometry.y, place[1]), time])


PROFILES: dict[str, Callable[[DetectorGeometry, Tensor, Tensor], Tensor]] = {
    "uniform": uniform,
    "hot": hot,
    "edges": edges,
    "clusters": clusters,
    "tracks": tracks,
    "crossing": crossing,
}
"""Profiles by name."""

PROFILE_ORIGINS = {
    "uniform": "uniform",
    "hot": "hot",
    "edges": "edge",
    "clusters": "cluster",
    "tracks": "track",
    "crossing": "crossing",
}
"""The origin (:data:`pointae.hits.ORIGINS`) of each profile's hits."""


def _torch_light(kind: str, keys: Tensor, counts: Tensor) -> Tensor:
    source = TorchSource()
    module_x = draw_module(draws.derive(keys, "module"))
    sigma_t = draws.uniform_in(keys, 0, source.sigma_t_ps) * 1e-3
    nothing = keys.new_zeros(0)
    stream = noise_streams(source, keys, module_x, sigma_t)[kind]
    place, _, _ = light_cells(nothing, nothing.to(torch.int8), counts, stream, kind)
    return unpack_cells(place)


def _straight(keys: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fractions along each axis of hits on straight lines between two opposite faces of x, y or t."""
    event, number = numbered(counts)
    key = keys.index_select(0, event)
    track = draws.derive(draws.derive(key, "track"), number // TRACK_HITS)
    across = draws.integers(track, 0, 0, 3)
    along = draws.uniform(draws.derive(key, "along"), number)

    def fraction(i: int) -> Tensor:
        start, end = draws.uniform_pair(track, 1 + i)
        return torch.where(across == i, along, start + (end - start) * along)

    return fraction(0), fraction(1), fraction(2)


def _even(axis: Axis, keys: Tensor, counters: Tensor | int) -> Tensor:
    return draws.integers(keys, counters, 0, axis.bins)


def _bin(axis: Axis, fraction: Tensor) -> Tensor:
    return (fraction.double() * axis.bins).long().clamp(0, axis.bins - 1)


def _coords(columns) -> Tensor:  # type: ignore[no-untyped-def]
    return torch.stack(list(columns), dim=1).int()

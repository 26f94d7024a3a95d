"""Which hit is under the mouse, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pointae.hits import ORIGINS
from visual.scene.layers import Layer, Scene, SceneAxis

REACH = 12.0
"""Pixels from a hit within which it can be picked."""


def nearest(
    scene: Scene, layers: Sequence[Layer], project: Callable[[NDArray], NDArray], x: float, y: float
) -> tuple[Layer, int] | None:
    """The layer and the row of the hit at a place on the screen; of several, the one nearest to it.

    Args:
        scene: whose box the hits are in.
        layers: those shown, most important first: of hits at the same place the first layer's is told.
        project: from places in the box (N, 3) to the screen, (N, 3): pixels right and down, and depth.
        x, y: the place, in pixels.
    """
    best, found = REACH, None
    for layer in layers:
        if not len(layer.pos):
            continue
        seen = project(scene.in_box(layer.pos))
        away = np.where(seen[:, 2] > 0, np.hypot(seen[:, 0] - x, seen[:, 1] - y), np.inf)
        row = int(away.argmin())
        if away[row] < best:
            best, found = float(away[row]), (layer, row)
    return found


def described(layer: Layer, row: int, axes: Sequence[SceneAxis]) -> str:
    """A hit in words: its layer, where it is, and all its values."""
    # All digits that a position has: a time in a long window is told as finely as it is known.
    places = [np.format_float_positional(place, trim="-") for place in layer.pos[row]]
    parts = [f"{axis.name} {place} {axis.unit}" for place, axis in zip(places, axes, strict=True)]
    for name, values in layer.values.items():
        value = values[row]
        if name == "origin":
            parts.append(f"origin {ORIGINS[int(value)]}")
        elif values.dtype == bool:
            parts.append(f"{name} {'yes' if value else 'no'}")
        else:
            parts.append(f"{name} {value:.5g}" if np.issubdtype(values.dtype, np.floating) else f"{name} {value}")
    return f"{layer.name}: {', '.join(parts)}"

"""The box around a scene with its numbers, for windows that have no axes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from visual.scene.layers import Scene

GAP = 0.06
"""From the box to its numbers."""
LETTER = 0.026
"""About the width of a letter."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Lines and texts in the box of :meth:`Scene.in_box`.

    Args:
        edges: (12, 2, 3), the edges of the box.
        grid: (G, 2, 3), lines at the numbers, on the floor and on the wall behind.
        anchors: (A, 3), centres of the texts.
        texts: A numbers and names of axes.
    """

    edges: NDArray[np.float64]
    grid: NDArray[np.float64]
    anchors: NDArray[np.float64]
    texts: tuple[str, ...]


def behind(front: NDArray, along: int | None = None) -> tuple[bool, bool]:
    """Whether one looks from the other end of t, and of x, than :func:`frame_of` puts numbers for.

    Args:
        front: (3,) towards the viewer, along (t, x, y).
        along: the axis of the box that one looks along, from where there is one side only.
    """
    return (False, False) if along is not None else (bool(front[0] < 0), bool(front[1] > 0))


def frame_of(scene: Scene, along: int | None = None, turned: tuple[bool, bool] = (False, False)) -> Frame:
    """The box, grid, numbers and names of a scene's axes.

    Args:
        scene: whose box.
        along: the axis of the box that one looks along: its numbers would lie over each other.
        turned: by :func:`behind`, so that numbers lie outside the box and lines behind the hits.
    """
    box = np.array(scene.box)
    # Along which edge the numbers of t, x and y stand, and where outside is: in front of the floor,
    # at its right, and left of the front.
    origins = np.array([[0, 0, 0], [box[0], 0, 0], [0, 0, 0]])
    outward = np.array([[0, -1, -1], [1, 0, -1], [-1, -1, 0]]) * GAP
    names = _names(scene, box, along)
    mirrored = np.array([*turned, False])
    grid, anchors, texts = [], [], []
    for i, axis in enumerate(scene.drawn_axes):
        if i == along:
            continue
        for value, text in axis.ticks():
            share = (value - axis.low) / (axis.high - axis.low)
            # What is put at the other end now comes to its place when all is mirrored.
            place = np.eye(3)[i] * (1 - share if mirrored[i] else share) * axis.edge
            anchors.append(origins[i] + place + outward[i])
            texts.append(text)
            grid += _grid_lines(i, place, box)
        anchors.append(names[i])
        texts.append(axis.label)
    lines, seats = (np.where(mirrored, box - places, places) for places in (np.array(grid), np.array(anchors)))
    if along is not None:
        # On the side that faces the viewer: what is farther away would lie inside the box.
        seats[:, along] = 0 if along == 1 else box[along]
    return Frame(_edges(box), lines, seats, tuple(texts))


def _names(scene: Scene, box: NDArray, along: int | None) -> NDArray[np.float64]:
    """(3, 3) centres of the names of t, x and y, which is upright: beside it there is no room, its name is on top."""
    if along is not None:  # below the numbers, or right of them
        low = -3 * GAP if along == 0 else -GAP
        return np.array([[box[0] / 2, -3 * GAP, -3 * GAP], [box[0] + 3.5 * GAP, box[1] / 2, low], [0, 0, box[2] + GAP]])
    # So far out that half the name has room beside the numbers of an axis that runs into the depth.
    t, x, _ = (2.5 * GAP + LETTER / 2 * len(axis.label) for axis in scene.drawn_axes)
    return np.array([[box[0] / 2, -t, -1.5 * GAP], [box[0] + x, box[1] / 2, -GAP], [0, 0, box[2] + GAP]])


def _grid_lines(axis: int, place: NDArray, box: NDArray) -> list[NDArray]:
    t, x, y = np.diag(box)
    if axis == 0:
        return [np.array([place, place + x]), np.array([place + x, place + x + y])]
    if axis == 1:
        return [np.array([place, place + t])]
    return [np.array([place + x, place + x + t])]


def _edges(box: NDArray) -> NDArray[np.float64]:
    corners = np.array(list(product((0.0, 1.0), repeat=3)))
    pairs = [(a, b) for a in corners for b in corners if (b - a).sum() == 1 and np.abs(b - a).sum() == 1]
    return np.array(pairs) * box

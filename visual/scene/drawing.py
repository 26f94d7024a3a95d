"""What a window or a picture of one shows, told once for every renderer: a scene, its texts, sliders and side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual.colours import INK
from visual.scene.layers import Scene

TURNING = 200_000
"""Hits that are drawn while the user turns an event; the rest comes back when it stands still."""
Text = tuple[str, str]
"""A line and its colour."""


@dataclass(frozen=True)
class View:
    """A side to look from, in the box of :meth:`~visual.scene.layers.Scene.in_box`.

    Args:
        name: for people.
        front: towards the viewer, along (t, x, y).
        up: upwards on the screen.
        along: the axis of the box that one looks along, whose numbers would lie over each other.
        aside: where one looks at, from the centre of the box: the upper left corner and the foot are for texts.
    """

    name: str
    front: tuple[float, float, float]
    up: tuple[float, float, float]
    along: int | None = None
    aside: tuple[float, float, float] = (0, 0, 0)

    def directions(self, turn: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``front`` and ``up`` as unit vectors across each other, turned by degrees about the upright axis."""
        front = np.array(self.front) / np.linalg.norm(self.front)
        up = np.array(self.up) - np.dot(self.up, front) * front
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        return rotation @ front, rotation @ (up / np.linalg.norm(up))


VIEWS = {
    "r": View("3D", (0.36, -0.86, 0.31), (0, 0, 1), aside=(-0.2, 0, 0)),
    "b": View("bird's eye", (0.1, -0.5, 0.86), (0, 0, 1), aside=(-0.2, -0.1, -0.06)),
    "f": View("front (x, y)", (1, 0, 0), (0, 0, 1), along=0),
    "x": View("side (x, t)", (0, 0, 1), (0, 1, 0), along=2),
    "y": View("side (y, t)", (0, -1, 0), (0, 0, 1), along=1, aside=(-0.2, 0, 0.08)),
}
"""Sides to look from, by their key."""


@dataclass(frozen=True)
class Slider:
    """A number that the user drags.

    Args:
        name: how :meth:`~visual.windows.controller.Controller.slide` knows it.
        text: what is written beside it.
        low, high: its ends.
        value: where it stands.
    """

    name: str
    text: str
    low: float
    high: float
    value: float


@dataclass(frozen=True, eq=False)
class Drawing:
    """All that is on the screen.

    Args:
        scene: its layers are all shown.
        texts: lines in the upper left corner.
        view: the side that one looks from at first.
        sliders: in the upper right corner.
        foot: lines at the bottom.
    """

    scene: Scene
    texts: tuple[Text, ...]
    view: View
    sliders: tuple[Slider, ...] = ()
    foot: tuple[str, ...] = ()


def turning_step(scene: Scene) -> int:
    """Every how manieth hit is drawn while the event is turned; 1: all."""
    return -(-sum(len(layer.pos) for layer in scene.layers) // TURNING) or 1


def drawing_of(scene: Scene) -> Drawing:
    """A scene as it is before the user switches layers, with its legend: for pictures."""
    shown = scene.shown
    layers = [(layer.legend, INK if layer.colours is not None else layer.style.colour) for layer in shown.layers]
    return Drawing(shown, ((scene.title, INK), (scene.caption, INK), *layers, *scene.key), VIEWS["r"])

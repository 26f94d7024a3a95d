"""Letters and sliders of an Open3D window, which has no readable ones: flat meshes that face the viewer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from visual.colours import BLUE, INK, rgb
from visual.scene.drawing import Drawing, Slider
from visual.scene.layers import Layer
from visual.windows.frame import Frame

_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_TALL, _SMALL = 14, 13
"""Size of letters in pixels: in the corners, and at the axes and the foot."""
_SHADES = 5
"""How finely the edge of a letter goes over into the paper."""
_DEPTH = 0.2
"""Distance from the eye of what stays in its corner: nearer than any hit."""
_RING, _THICK, _CORNERS = 1.1, 1.6, 16
"""Pixels of a ring's radius for a point of its layer's size, of its line, and corners of what looks round."""
_BAR = 230.0
"""Length of a slider in pixels."""
_MARGIN, _ROW, _SLIDER_ROW = 20.0, 23.0, 52.0
"""Pixels from the window's edge, and of one line of text or slider to the next."""


class Mark:
    """A flat mesh of a constant size on the screen, at anchors in the box or in a place of the window.

    Args:
        mesh: in any units; its vertices are the outline at the first anchor, at the second, ...
        outline: (V, 3) vertices in pixels, right and up, from where they are anchored.
        anchor: (3,) in the box, or (N, 3) to be there N times; ``None`` for a mark that stays where it is in the
            window.
        place: pixels (right, down) from a corner of the window; negative from its right or lower edge.
    """

    def __init__(
        self, mesh: Any, outline: NDArray, anchor: NDArray | None = None, place: tuple[float, float] = (0, 0)
    ) -> None:
        self.mesh, self.outline, self.anchor, self.place = mesh, outline, anchor, place

    def face(self, camera: Any) -> None:
        """Put the mark where it belongs for a camera, upright."""
        turn, shift = camera.extrinsic[:3, :3], camera.extrinsic[:3, 3]
        focal = camera.intrinsic.intrinsic_matrix[1, 1]
        size = np.array([camera.intrinsic.width, camera.intrinsic.height])
        if self.anchor is None:
            place = np.where(np.array(self.place) < 0, size, 0) + self.place
            seat = np.array([[*(place - size / 2) / focal, 1.0]]) * _DEPTH
        else:
            seat = np.atleast_2d(self.anchor) @ turn.T + shift
            # Letters are made of pixels: between two of them they would blur.
            seat[:, :2] = np.round(seat[:, :2] * focal / seat[:, 2:]) * seat[:, 2:] / focal
        # In the camera's frame y points down and z away from the viewer.
        local = self.outline * (1, -1, -1) * seat[:, None, 2:] / focal + seat[:, None]
        self.mesh.vertices = type(self.mesh.vertices)(((local - shift) @ turn).reshape(-1, 3))


class Marks:
    """Makes the marks of a drawing.

    Args:
        open3d: the module.
    """

    def __init__(self, open3d: Any) -> None:
        self.open3d = open3d

    def of(self, drawing: Drawing, frame: Frame) -> list[Mark]:
        """Numbers at the axes, lines in the corners, sliders."""
        marks = [
            self._text(text, INK, _SMALL, anchor=anchor, centred=True)
            for text, anchor in zip(frame.texts, frame.anchors, strict=True)
        ]
        for i, (text, colour) in enumerate(drawing.texts):
            marks.append(self._text(text, colour, _TALL, place=(_MARGIN, 34 + _ROW * i)))
        for i, text in enumerate(reversed(drawing.foot)):
            marks.append(self._text(text, INK, _SMALL, place=(_MARGIN, -18 - 18.0 * i)))
        for i, slider in enumerate(drawing.sliders):
            marks += self._slider(slider, 34 + _SLIDER_ROW * i)
        return marks

    def rings(self, layer: Layer, places: NDArray) -> Mark:
        """A ring around each hit of a layer, at its place in the box (N, 3)."""
        angles = np.linspace(0, 2 * np.pi, _CORNERS + 1)
        circle = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(_CORNERS + 1)])
        outer, inner = circle * layer.style.size * _RING, circle * (layer.style.size * _RING - _THICK)
        outline = np.stack([inner[:-1], outer[:-1], outer[1:], inner[1:]], axis=1).reshape(-1, 3)
        colours = np.tile(rgb(layer.style.colour), (len(places), 1)) if layer.colours is None else layer.colours
        mesh = self._mesh(np.tile(outline, (len(places), 1)), np.repeat(colours, _CORNERS, axis=0).astype(np.float64))
        return Mark(mesh, outline, places)

    def _slider(self, slider: Slider, height: float) -> list[Mark]:
        share = (slider.value - slider.low) / (slider.high - slider.low)
        return [
            self._text(slider.text, INK, _TALL, place=(-_MARGIN - _BAR, height)),
            self._box(0, _BAR, 3, "#BBBBBB", height + _SLIDER_ROW / 3),
            self._box(share * _BAR - 5, share * _BAR + 5, 16, BLUE, height + _SLIDER_ROW / 3),
        ]

    def _box(self, left: float, right: float, tall: float, colour: str, height: float) -> Mark:
        # A knob lies nearer than its bar.
        corners = np.array(
            [[left, -tall / 2, tall], [right, -tall / 2, tall], [right, tall / 2, tall], [left, tall / 2, tall]]
        )
        return Mark(
            self._mesh(corners, np.array([rgb(colour)])), corners * (1, 1, 1e-3), place=(-_MARGIN - _BAR, height)
        )

    def _text(
        self,
        text: str,
        colour: str,
        pixels: int,
        anchor: NDArray | None = None,
        place: tuple[float, float] = (0, 0),
        centred: bool = False,
    ) -> Mark:
        corners, ink = letters(text, pixels)
        if centred and len(corners):
            corners = corners - ((corners.min(0) + corners.max(0)) / 2).round()
        # This window knows no transparency: as the ink would look on white.
        return Mark(self._mesh(corners, 1 - ink[:, None] * (1 - np.array(rgb(colour)))), corners, anchor, place)

    def _mesh(self, corners: NDArray, colours: NDArray) -> Any:
        """Rectangles of four corners each (4 Q, 3), of one colour each (Q, 3)."""
        utility = self.open3d.utility
        first = 4 * np.arange(len(colours), dtype=np.int32)[:, None, None]
        triangles = (first + np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)).reshape(-1, 3)
        mesh = self.open3d.geometry.TriangleMesh(
            utility.Vector3dVector(corners.astype(np.float64)), utility.Vector3iVector(triangles)
        )
        mesh.vertex_colors = utility.Vector3dVector(np.repeat(colours, 4, axis=0))
        return mesh


@lru_cache(maxsize=500)
def letters(text: str, pixels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A line of text as rectangles one pixel tall, each as long as its shade lasts.

    Args:
        text: of any letters.
        pixels: size of the font.

    Returns:
        (4 Q, 3) their corners in pixels, right and up from where the line of writing begins; (Q,) how
        much ink is on each, in (0, 1].
    """
    font = ImageFont.truetype(str(_FONT), pixels)
    image, (left, top) = font.getmask2(text, mode="L")
    shade = np.ceil(np.array(image, dtype=np.float64).reshape(image.size[::-1]) / 255 * _SHADES)
    # A column of paper on both sides: every run of ink begins and ends inside.
    paper = np.pad(shade, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(np.diff(paper, axis=1))
    runs = np.flatnonzero((rows[:-1] == rows[1:]) & (paper[rows[:-1], columns[:-1] + 1] > 0))
    row, begin, end = rows[runs], columns[runs] + left, columns[runs + 1] + left
    high = font.getmetrics()[0] - top - row
    low, flat = high - 1, np.zeros(len(runs))
    corners = [(begin, low, flat), (end, low, flat), (end, high, flat), (begin, high, flat)]
    places = np.array(corners, dtype=np.float64).transpose(2, 0, 1).reshape(-1, 3)
    return places, shade[row, columns[runs]] / _SHADES


def slider_value(drawing: Drawing, width: float, x: float, y: float, held: str | None) -> tuple[str, float] | None:
    """Name and new value of the slider at a place of the window, in pixels; ``None`` beside them all.

    Args:
        drawing: whose sliders.
        width: of the window.
        x, y: where the mouse is.
        held: the slider that is being dragged, wherever the mouse is by now.
    """
    for i, slider in enumerate(drawing.sliders):
        away = (x - (width - _MARGIN - _BAR)) / _BAR
        near = abs(y - (34 + _SLIDER_ROW * (i + 1 / 3))) < _SLIDER_ROW / 4 and -0.05 < away < 1.05
        if held == slider.name or (held is None and near):
            return slider.name, slider.low + min(max(away, 0.0), 1.0) * (slider.high - slider.low)
    return None

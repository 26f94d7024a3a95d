"""Events in an Open3D window.

The plain window with key callbacks is used rather than Open3D's own toolkit: the latter ends the
whole process where its Vulkan or OpenGL is not to its liking. It knows no text, so letters are
flat meshes that are turned towards the viewer after every move of the camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointae.errors import ComponentError
from pointae.optional import require
from visual.colours import INK, Style, rgb
from visual.controller import KEYS, Controller
from visual.frame import frame_of
from visual.source import EventSource

_ARROWS = {262: "right", 263: "left"}
"""GLFW's numbers of keys without a letter."""
_FRONT = np.array([0.36, -0.86, 0.31]) / np.linalg.norm([0.36, -0.86, 0.31])
"""Towards the viewer, along (t, x, y) of the box."""
_UP = (np.array([0, 0, 1]) - _FRONT[2] * _FRONT) / np.hypot(_FRONT[0], _FRONT[1])
"""Upwards and exactly across :data:`_FRONT`; Open3D does not see to that."""
_FIELD_OF_VIEW = 35.0
"""Degrees; Open3D's own 60 bends the box."""
_LETTER = 14.0
"""Height of a line in the units of Open3D's letters."""
_HUD_DEPTH = 0.2
"""Distance from the eye of the texts that stay in their corner: nearer than any hit."""


def show(source: EventSource, event: int = 0) -> None:
    """Open a window and return when the user closes it.

    Raises:
        ComponentError: Open3D is missing or cannot open a window here.
        UsageError: no event of that number.
    """
    window = Window(Controller(source, event))
    window.run()


class Window:
    """The window of a controller.

    Args:
        controller: what is shown.

    Raises:
        ComponentError: Open3D is missing or cannot open a window here.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.open3d = require("open3d", extra="open3d")
        self.open3d.utility.set_verbosity_level(self.open3d.utility.VerbosityLevel.Error)
        self.window = self.open3d.visualization.VisualizerWithKeyCallback()
        if not self.window.create_window("pointae", 1280, 820) or self.window.get_render_option() is None:
            raise ComponentError("open3d cannot open a window here: it needs OpenGL 3.3", fix="try --engine html")
        options = self.window.get_render_option()
        options.background_color = np.ones(3)
        options.point_size = 7.0
        options.light_on = False
        options.mesh_show_back_face = True  # Open3D's letters are inside out.
        self._drawn: list[Any] = []
        self._texts: list[_Text] = []
        self._camera: NDArray | None = None
        self._listen()
        self._draw(first=True)
        self._look()

    def run(self) -> None:
        """Show the window until it is closed."""
        self.window.register_animation_callback(lambda _: self._face_the_viewer())
        self.window.run()
        self.window.destroy_window()

    def _listen(self) -> None:
        keys = {ord(letter.upper()): letter for letter in "np123456789"} | _ARROWS
        for number, key in keys.items():
            self.window.register_key_callback(number, lambda _, key=key: self._press(key))
        self.window.register_key_callback(ord("R"), lambda _: self._look())

    def _press(self, key: str) -> bool:
        if self.controller.press(key):
            self._draw()
        return False

    def _look(self) -> bool:
        view = self.window.get_view_control()
        view.set_lookat(np.array(self.controller.scene.box) / 2 - (0, 0, 0.06))
        view.set_front(_FRONT)
        view.set_up(_UP)
        view.set_zoom(0.6)
        view.change_field_of_view((_FIELD_OF_VIEW - view.get_field_of_view()) / 5)  # its steps are 5 degrees
        self._camera = None
        return False

    def _draw(self, first: bool = False) -> None:
        for geometry in self._drawn:
            self.window.remove_geometry(geometry, reset_bounding_box=False)
        scene = self.controller.scene
        frame = frame_of(scene)
        self._drawn = [self._lines(frame.edges, "#AAAAAA"), self._lines(frame.grid, "#E4E4E4")]
        for layer in self.controller.shown:
            self._drawn.append(self._points(scene.in_box(layer.pos), layer.style))
        self._texts = [
            _Text(self._letters(text, INK), anchor=anchor)
            for text, anchor in zip(frame.texts, frame.anchors, strict=True)
        ]
        corner = [(scene.title, INK), (scene.caption, INK), *self.controller.legend]
        self._texts += [_Text(self._letters(text, colour), line=i) for i, (text, colour) in enumerate(corner)]
        self._texts.append(_Text(self._letters(KEYS, INK), line=-1))
        self._drawn += [text.mesh for text in self._texts]
        for i, geometry in enumerate(self._drawn):
            # The camera fits the box, which comes first; hits and letters do not move it.
            self.window.add_geometry(geometry, reset_bounding_box=first and i == 0)
        self._camera = None

    def _face_the_viewer(self) -> bool:
        """Turn the letters if the camera moved; Open3D calls this for every frame."""
        camera = self.window.get_view_control().convert_to_pinhole_camera_parameters()
        now = np.append(camera.extrinsic, camera.intrinsic.height)
        if self._camera is not None and np.array_equal(now, self._camera):
            return False
        self._camera = now
        for text in self._texts:
            text.face(camera)
            self.window.update_geometry(text.mesh)
        return True

    def _points(self, places: NDArray, style: Style) -> Any:
        cloud = self.open3d.geometry.PointCloud(self.open3d.utility.Vector3dVector(places))
        # This window knows no transparency: as the colour would look on white.
        return cloud.paint_uniform_color(1 - style.opacity * (1 - np.array(rgb(style.colour))))

    def _lines(self, lines: NDArray, colour: str) -> Any:
        pairs = np.arange(2 * len(lines)).reshape(-1, 2)
        drawn = self.open3d.geometry.LineSet(
            self.open3d.utility.Vector3dVector(lines.reshape(-1, 3)), self.open3d.utility.Vector2iVector(pairs)
        )
        return drawn.paint_uniform_color(rgb(colour))

    def _letters(self, text: str, colour: str) -> Any:
        mesh = self.open3d.t.geometry.TriangleMesh.create_text(
            text.encode("ascii", "replace").decode(), depth=0.01
        ).to_legacy()
        return mesh.paint_uniform_color(rgb(colour))


class _Text:
    """Letters at an anchor in the box, or in a line of the window's corner; -1 is the bottom line."""

    def __init__(self, mesh: Any, anchor: NDArray | None = None, line: int = 0) -> None:
        self.mesh, self.anchor, self.line = mesh, anchor, line
        self.outline = np.asarray(mesh.vertices).copy()  # (V, 3) in letter units
        if anchor is not None:
            self.outline -= (self.outline.min(0) + self.outline.max(0)) / 2

    def face(self, camera: Any) -> None:
        """Place the letters for a camera, so that they are upright and of a constant size on the screen."""
        turn, shift = camera.extrinsic[:3, :3], camera.extrinsic[:3, 3]
        focal = camera.intrinsic.intrinsic_matrix[1, 1]
        width, height = camera.intrinsic.width, camera.intrinsic.height
        if self.anchor is None:
            row = height - 18 if self.line < 0 else 34 + 23 * self.line
            seat = np.array([(20 - width / 2) / focal, (row - height / 2) / focal, 1.0]) * _HUD_DEPTH
        else:
            seat = turn @ self.anchor + shift
        pixels = 15.0 if self.line >= 0 else 12.0
        # In the camera's frame y points down and z away from the viewer.
        local = self.outline * (1, -1, -1) * (pixels / _LETTER) * seat[2] / focal + seat
        self.mesh.vertices = type(self.mesh.vertices)((local - shift) @ turn)

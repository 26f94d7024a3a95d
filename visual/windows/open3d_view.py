"""Events in an Open3D window.

The plain window with callbacks is used rather than Open3D's own toolkit: the latter needs Vulkan
and fails or ends the whole process where that is not to its liking. Letters and sliders are
:mod:`visual.windows.open3d_marks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointae.errors import ComponentError
from pointae.optional import require
from visual.colours import rgb
from visual.pictures.moving import write_pixels
from visual.scene.drawing import VIEWS, Drawing, View, drawing_of, turning_step
from visual.scene.layers import Layer, Scene
from visual.scene.look import Look
from visual.scene.source import EventSource
from visual.windows.controller import Controller
from visual.windows.display import NO_OPENGL, display_problem
from visual.windows.frame import behind, frame_of
from visual.windows.open3d_marks import Mark, Marks, slider_value

_KEYS = {262: "right", 263: "left", 264: "down", 265: "up"} | {ord(key): key for key in "[]-="}
"""GLFW's numbers of keys; those of letters and digits are their ASCII capitals."""
_FIELD_OF_VIEW, _NEARLY_PARALLEL = 35.0, 10.0
"""Degrees; Open3D's own 60 bends the box, and of a truly parallel view it tells no camera."""
_ZOOM, _ZOOM_ALONG = 0.7, 0.54
_NEAR, _FAR = 0.1, 100.0
"""From the eye; Open3D's own would cut off the texts, which are nearer than any hit."""
_SOME, _MANY = 500, 20_000
"""Hits from which on they are drawn smaller."""
_RINGED = 2_000
"""Hits of a layer of rings that get one: more would run into each other."""
_STILL = 3.0
"""Pixels that the mouse may move between press and release of a click."""


def show(source: EventSource, event: int = 0, look: Look | None = None) -> None:
    """Open a window and return when the user closes it.

    Raises:
        ComponentError: Open3D is missing or cannot open a window here.
        UsageError: no event of that number.
    """
    Window(Controller(source, event, look)).run()


def frames(scene: Scene, turns: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
    """The event in space from one side after another, drawn in a window that is not shown; needs a display.

    Args:
        scene: what is drawn.
        turns: degrees about the upright axis, from the first view.

    Yields:
        (H, W, 3) pixels.

    Raises:
        ComponentError: Open3D is missing, or there is no display or OpenGL.
    """
    if (problem := display_problem()) is not None:
        raise ComponentError(f"open3d draws in a window, but {problem}", fix="--engine pyvista needs none")
    canvas = Canvas(visible=False)
    try:
        canvas.draw(drawing_of(scene))
        for turn in turns:
            canvas.look(VIEWS["r"], turn)
            yield canvas.pixels()
    finally:
        canvas.window.destroy_window()


class Canvas:
    """An Open3D window that draws what it is given.

    Args:
        visible: on the screen.

    Raises:
        ComponentError: Open3D is missing or cannot open a window here.
    """

    def __init__(self, visible: bool = True) -> None:
        self.open3d = require("open3d", extra="open3d")
        self.open3d.utility.set_verbosity_level(self.open3d.utility.VerbosityLevel.Error)
        self.window = self.open3d.visualization.VisualizerWithKeyCallback()
        made = self.window.create_window("pointae", 1280, 820, visible=visible)
        if not made or self.window.get_render_option() is None:
            raise ComponentError("open3d cannot open a window here: it needs OpenGL 3.3", fix=NO_OPENGL)
        options = self.window.get_render_option()
        options.background_color = np.ones(3)
        options.light_on = False
        options.mesh_show_back_face = True
        self.clouds: dict[str, Any] = {}
        self._drawn: list[Any] = []
        self._scene: Scene | None = None
        self._along: int | None = None
        self._turned = (False, False)
        self._step = 1
        self._marks: list[Mark] = []
        self._maker = Marks(self.open3d)
        self._camera: NDArray | None = None

    def draw(self, drawing: Drawing, few: bool = False) -> None:
        """Show a drawing instead of what was shown; the camera stays.

        Args:
            drawing: what is shown.
            few: no more hits than can be turned smoothly, as :meth:`turning`.
        """
        first = not self._drawn
        for geometry in self._drawn:
            self.window.remove_geometry(geometry, reset_bounding_box=False)
        self._scene = scene = drawing.scene
        self._step = turning_step(scene) if few else 1
        self._along, self._turned = drawing.view.along, (False, False)
        frame = frame_of(scene, self._along)
        shown = [layer for layer in scene.layers if len(layer.pos)]
        self.clouds = {layer.name: self._cloud(scene, layer) for layer in shown}
        self._marks = self._maker.of(drawing, frame)
        # This window knows one size and dots only: a layer whose hits others hide is told by its rings.
        ringed = [layer for layer in shown if layer.style.symbol == "ring" and len(layer.pos) <= _RINGED]
        self._marks += [self._maker.rings(layer, scene.in_box(layer.pos)) for layer in ringed]
        box, self._grid = self._lines(frame.edges, "#AAAAAA"), self._lines(frame.grid, "#E4E4E4")
        self._drawn = [box, self._grid, *self.clouds.values(), *(mark.mesh for mark in self._marks)]
        hits = sum(len(layer.pos) for layer in scene.layers)
        if 0 < hits < _MANY:
            self._share_colours()
        # One size for all layers: this window knows no other.
        self.window.get_render_option().point_size = 7.0 if hits < _SOME else 4.5 if hits < _MANY else 2.0
        for i, geometry in enumerate(self._drawn):
            # The camera fits the box, which comes first; hits and letters do not move it.
            self.window.add_geometry(geometry, reset_bounding_box=first and i == 0)
        self._camera = None
        if first:
            self.look(drawing.view)

    def look(self, view: View, turn: float = 0.0) -> None:
        """Look from a side, turned by degrees about the upright axis."""
        control = self.window.get_view_control()
        front, up = view.directions(turn)
        degrees = _FIELD_OF_VIEW if view.along is None else _NEARLY_PARALLEL
        low, high = self._drawn[0].get_min_bound(), self._drawn[0].get_max_bound()
        control.set_lookat((low + high) / 2 + view.aside)
        control.set_front(front)
        control.set_up(up)
        control.set_zoom(_ZOOM if view.along is None else _ZOOM_ALONG)
        control.change_field_of_view((degrees - control.get_field_of_view()) / 5)  # Its steps are 5 degrees.
        control.set_constant_z_near(_NEAR)
        control.set_constant_z_far(_FAR)
        self._camera = None

    def turning(self, on: bool) -> None:
        """Draw no more hits than can be turned smoothly, or all again."""
        if self._scene is None or self._step == (step := turning_step(self._scene) if on else 1):
            return
        self._step = step
        for layer in self._scene.layers:
            if (cloud := self.clouds.get(layer.name)) is not None:
                taken = self._cloud(self._scene, layer)
                cloud.points, cloud.colors = taken.points, taken.colors
                self.window.update_geometry(cloud)

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3), what the window shows."""
        self.face_the_viewer()
        drawn = np.asarray(self.window.capture_screen_float_buffer(True))
        return (drawn * 255).round().astype(np.uint8)

    def project(self, places: NDArray) -> NDArray[np.float64]:
        """(N, 3) pixels right and down, and depth, of places in the box (N, 3)."""
        camera = self.window.get_view_control().convert_to_pinhole_camera_parameters()
        seen = places @ camera.extrinsic[:3, :3].T + camera.extrinsic[:3, 3]
        flat = seen @ camera.intrinsic.intrinsic_matrix.T
        return np.column_stack([flat[:, :2] / np.maximum(seen[:, 2:], 1e-9), seen[:, 2]])

    def face_the_viewer(self) -> bool:
        """Turn letters and sliders if the camera moved; Open3D calls this for every frame."""
        camera = self.window.get_view_control().convert_to_pinhole_camera_parameters()
        now = np.append(camera.extrinsic, [camera.intrinsic.width, camera.intrinsic.height])
        if self._camera is not None and np.array_equal(now, self._camera):
            return False
        self._camera = now
        self._turn_frame(-camera.extrinsic[2, :3])
        for mark in self._marks:
            mark.face(camera)
            self.window.update_geometry(mark.mesh)
        return True

    def _turn_frame(self, front: NDArray) -> None:
        """Put numbers and grid where they belong for a viewer in front."""
        if self._scene is None or self._turned == (turned := behind(front, self._along)):
            return
        self._turned = turned
        frame = frame_of(self._scene, self._along, turned)
        # The numbers are the first marks, in the order of the frame.
        for mark, anchor in zip(self._marks, frame.anchors, strict=False):
            mark.anchor = anchor
        self._grid.points = self._lines(frame.grid, "#E4E4E4").points
        self.window.update_geometry(self._grid)

    def _cloud(self, scene: Scene, layer: Layer) -> Any:
        vectors = self.open3d.utility.Vector3dVector
        cloud = self.open3d.geometry.PointCloud(vectors(scene.in_box(layer.pos[:: self._step])))
        if layer.colours is not None:
            cloud.colors = vectors(layer.colours[:: self._step].astype(np.float64))
            return cloud
        # This window knows no transparency: as the colour would look on white.
        return cloud.paint_uniform_color(1 - layer.style.opacity * (1 - np.array(rgb(layer.style.colour))))

    def _share_colours(self) -> None:
        """Hits in one cell get the colour of the first layer's: which of them is seen is chance in this window."""
        places, colours = (
            np.concatenate([np.asarray(getattr(cloud, name)) for cloud in self.clouds.values()])
            for name in ("points", "colors")
        )
        _, first, cell = np.unique(places, axis=0, return_index=True, return_inverse=True)
        ends = np.cumsum([len(cloud.points) for cloud in self.clouds.values()])
        for cloud, part in zip(self.clouds.values(), np.split(colours[first[cell.ravel()]], ends[:-1]), strict=True):
            cloud.colors = self.open3d.utility.Vector3dVector(part)

    def _lines(self, lines: NDArray, colour: str) -> Any:
        pairs = np.arange(2 * len(lines)).reshape(-1, 2)
        drawn = self.open3d.geometry.LineSet(
            self.open3d.utility.Vector3dVector(lines.reshape(-1, 3)), self.open3d.utility.Vector2iVector(pairs)
        )
        return drawn.paint_uniform_color(rgb(colour))


class Window(Canvas):
    """A window that listens: keys, sliders, clicks on hits, and the mouse that turns the box.

    Args:
        controller: what is shown.

    Raises:
        ComponentError: Open3D is missing or cannot open a window here.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller = controller
        self._held: str | None = None
        self._pressed: tuple[int, int] | None = None  # button and modifiers
        self._mouse = self._pressed_at = (0.0, 0.0)
        letters = {ord(letter.upper()): letter for letter in "npcurbfxy0123456789"}
        for number, key in (letters | _KEYS).items():
            self.window.register_key_callback(number, lambda _, key=key: self.press(key))
        self.window.register_key_callback(ord("S"), lambda _: self.save())
        self.window.register_mouse_button_callback(lambda _, button, action, mods: self.button(button, action, mods))
        self.window.register_mouse_move_callback(lambda _, x, y: self.move(x, y))
        self._redraw()

    def run(self) -> None:
        """Show the window until it is closed."""
        self.window.register_animation_callback(lambda _: self.idle())
        self.window.run()
        self.window.destroy_window()

    def idle(self) -> bool:
        """Between two frames: all hits come back, letters turn to the viewer."""
        if self._pressed is None:
            self.turning(False)
        return self.face_the_viewer()

    def press(self, key: str) -> bool:
        """Act on a key."""
        if self.controller.press(key):
            self._redraw()
            if key in VIEWS:
                self.look(VIEWS[key])
        return False

    def save(self) -> bool:
        """Write what the window shows as a picture."""
        self.turning(False)
        self.controller.saved(write_pixels(self.pixels(), self.controller.picture_path()))
        self._redraw()
        return False

    def button(self, button: int, action: int, modifiers: int) -> bool:
        """The mouse is pressed or released: on a slider, on a hit, or to turn the box."""
        if action:
            self._pressed, self._pressed_at = (button, modifiers), self._mouse
            self._slide()
            self.turning(True)
            return False
        self.turning(False)
        still = np.hypot(*np.subtract(self._mouse, self._pressed_at)) < _STILL
        if self._held is None and still and self.controller.pick(self.project, *self._mouse):
            self._redraw()
        self._held = self._pressed = None
        return False

    def move(self, x: float, y: float) -> bool:
        """The mouse moves: drags a slider, turns the box, or, with control or another button, shifts it."""
        (old_x, old_y), self._mouse = self._mouse, (x, y)
        if self._pressed is None:
            return False
        if self._held is not None:
            return self._slide()
        control = self.window.get_view_control()
        if self._pressed == (0, 0):
            control.rotate(x - old_x, y - old_y, old_x, old_y)
        else:
            control.translate(x - old_x, y - old_y, old_x, old_y)
        return False

    def _slide(self) -> bool:
        width = self.window.get_view_control().convert_to_pinhole_camera_parameters().intrinsic.width
        found = slider_value(self.controller.drawing, width, *self._mouse, self._held)
        if found is not None:
            self._held = found[0]
            if self.controller.slide(*found):
                self._redraw()
        return False

    def _redraw(self) -> None:
        # Few hits at once, the rest in the next frame: nobody waits for a million of them.
        self.draw(self.controller.drawing, few=True)

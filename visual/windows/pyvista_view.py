"""Events in a PyVista window, or drawn by PyVista without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointae.errors import ComponentError
from pointae.optional import require
from visual.colours import BLUE, INK, rgb
from visual.pictures.moving import write_pixels
from visual.scene.drawing import VIEWS, Drawing, Slider, View, drawing_of, turning_step
from visual.scene.layers import Layer, Scene
from visual.scene.look import Look
from visual.scene.source import EventSource
from visual.windows.controller import Controller
from visual.windows.display import NO_OPENGL
from visual.windows.frame import behind, frame_of

POINT_SCALE = 1.8
"""Pixels of the window for a point of a layer's size."""
_MANY = 20_000
"""Hits from which on they are drawn as small squares."""
_INVISIBLE = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow")
_DISTANCE, _SCALE_ALONG = 4.8, 0.98
"""From the centre of the box to the eye, and half the height of what a parallel view shows."""
_KEYS = {
    "Right": "right", "Left": "left", "Up": "up", "Down": "down",
    "bracketleft": "[", "bracketright": "]", "minus": "-", "equal": "=",
}  # fmt: skip
"""VTK's names of keys that are no letter or digit."""
_PAUSE = 200
"""Milliseconds without a change after which all hits of a large event are drawn."""
_STILL = 3.0
"""Pixels that the mouse may move between press and release of a click."""


def show(source: EventSource, event: int = 0, look: Look | None = None) -> None:
    """Open a window and return when the user closes it.

    Raises:
        ComponentError: PyVista is missing or cannot draw here.
        UsageError: no event of that number.
    """
    Window(Controller(source, event, look)).run()


def frames(scene: Scene, turns: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
    """The event in space from one side after another, without a display.

    Args:
        scene: what is drawn.
        turns: degrees about the upright axis, from the first view.

    Yields:
        (H, W, 3) pixels.

    Raises:
        ComponentError: PyVista is missing or cannot draw here.
    """
    canvas = Canvas(off_screen=True)
    try:
        canvas.draw(drawing_of(scene))
        for turn in turns:
            canvas.look(VIEWS["r"], turn)
            yield canvas.pixels()
    finally:
        canvas.plotter.close()


class Canvas:
    """A PyVista plotter that draws what it is given.

    Args:
        off_screen: without a window.

    Raises:
        ComponentError: PyVista is missing or cannot draw here.
    """

    def __init__(self, off_screen: bool) -> None:
        self.pyvista = require("pyvista", extra="view")
        from vtkmodules.vtkCommonCore import vtkObject

        vtkObject.GlobalWarningDisplayOff()  # What matters of it is said below, in one line.
        self.plotter = self.pyvista.Plotter(off_screen=off_screen, window_size=(1280, 820), lighting="none")
        window = self.plotter.render_window
        # Asked first: without OpenGL VTK would end the process, without a screen draw where nobody looks.
        if not window.SupportsOpenGL():
            raise ComponentError("pyvista cannot draw here: it needs OpenGL 3.2", fix=NO_OPENGL)
        if not off_screen and window.GetClassName() in _INVISIBLE:
            raise ComponentError("pyvista found no screen to open a window on", fix=NO_OPENGL)
        self.plotter.set_background("white")
        self.plotter.enable_anti_aliasing("msaa", multi_samples=8)
        self.clouds: dict[str, Any] = {}
        self._scene: Scene | None = None
        self._along: int | None = None
        self._turned = (False, False)
        self._named: set[str] = set()
        self._step = 1

    def draw(self, drawing: Drawing, few: bool = False) -> None:
        """Show a drawing instead of what was shown; the camera stays.

        Args:
            drawing: what is shown.
            few: no more hits than can be turned smoothly, as :meth:`turning`.
        """
        first = not self._named
        self._scene = scene = drawing.scene
        for name in self._named:
            self.plotter.remove_actor(name, render=False)
        self._named, self.clouds, self._step = set(), {}, turning_step(scene) if few else 1
        for layer in reversed(scene.layers):
            if len(layer.pos):
                self._draw_layer(scene, layer)
        self._along = drawing.view.along
        self._turned = self._seen_from()
        self._draw_frame(scene)
        for i, (text, colour) in enumerate(drawing.texts):
            self._write(f"text {i}", text, 0.945 - 0.033 * i, (12, 9)[i] if i < 2 else 10, colour)
        for i, text in enumerate(reversed(drawing.foot)):
            self._write(f"foot {i}", text, 0.02 + 0.028 * i, 8, INK)
        if first:
            self.look(drawing.view)

    def look(self, view: View, turn: float = 0.0) -> None:
        """Look from a side, turned by degrees about the upright axis."""
        front, up = view.directions(turn)
        centre = self._box / 2
        aim = centre + view.aside
        # First the projection: PyVista moves the eye when it changes.
        if view.along is None:
            self.plotter.disable_parallel_projection()
        else:
            self.plotter.enable_parallel_projection()
        self.plotter.camera_position = [aim + _DISTANCE * front, aim, up]
        self.plotter.parallel_scale = _SCALE_ALONG
        self.plotter.camera_set = True
        self.plotter.renderer.reset_camera_clipping_range()
        self.face_the_viewer()

    def face_the_viewer(self) -> None:
        """Put numbers and grid where they belong for the side that one looks from."""
        if self._scene is not None and self._turned != (turned := self._seen_from()):
            self._turned = turned
            self._draw_frame(self._scene)

    def turning(self, on: bool) -> None:
        """Draw no more hits than can be turned smoothly, or all again."""
        if self._scene is None or self._step == (step := turning_step(self._scene) if on else 1):
            return
        self._step = step
        for layer in self._scene.layers:
            if layer.name in self.clouds:
                # Kept here: the mapper itself does not keep it alive.
                self.clouds[layer.name] = self._cloud(self._scene, layer)
                self.plotter.actors[layer.name].mapper.dataset = self.clouds[layer.name]

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3), what the window shows."""
        self.plotter.render()
        return np.asarray(self.plotter.screenshot(return_img=True))[..., :3]

    def project(self, places: NDArray) -> NDArray[np.float64]:
        """(N, 3) pixels right and up, as VTK counts them, and depth, of places in the box (N, 3)."""
        width, height = self.plotter.render_window.GetSize()
        camera = self.plotter.camera
        matrix = camera.GetCompositeProjectionTransformMatrix(width / height, -1, 1)
        rows = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
        seen = np.column_stack([places, np.ones(len(places))]) @ rows.T
        flat = seen[:, :2] / np.where(seen[:, 3:] == 0, 1e-9, seen[:, 3:])
        return np.column_stack([(flat + 1) / 2 * (width, height), seen[:, 3]])

    def _draw_layer(self, scene: Scene, layer: Layer) -> None:
        cloud = self._cloud(scene, layer)
        look: dict[str, Any] = {"color": layer.style.colour, "opacity": layer.style.opacity}
        if layer.colours is not None:
            look = {"scalars": "colours", "rgb": True, "show_scalar_bar": False}
        many = len(layer.pos) >= _MANY
        self.plotter.add_mesh(
            cloud, name=layer.name, point_size=2.0 if many else layer.style.size * POINT_SCALE,
            render_points_as_spheres=not many, lighting=False, reset_camera=False, render=False, **look,
        )  # fmt: skip
        self.clouds[layer.name] = cloud
        self._named.add(layer.name)

    def _cloud(self, scene: Scene, layer: Layer) -> Any:
        cloud = self.pyvista.PolyData(scene.in_box(layer.pos[:: self._step]).astype(np.float32))
        if layer.colours is not None:
            cloud["colours"] = (layer.colours[:: self._step] * 255).round().astype(np.uint8)
        return cloud

    def _seen_from(self) -> tuple[bool, bool]:
        return behind(-np.array(self.plotter.camera.direction), self._along)

    def _draw_frame(self, scene: Scene) -> None:
        self._box = np.array(scene.box)
        frame = frame_of(scene, self._along, self._turned)
        for name, lines, colour in (("grid", frame.grid, "#E4E4E4"), ("edges", frame.edges, "#AAAAAA")):
            self.plotter.add_lines(lines.reshape(-1, 3), color=colour, width=1, name=name)
        self.plotter.add_point_labels(
            frame.anchors, list(frame.texts), name="numbers", shape=None, show_points=False, always_visible=True,
            font_family="arial", bold=False, font_size=15, text_color=INK, justification_horizontal="center",
            justification_vertical="center", reset_camera=False, render=False,
        )  # fmt: skip

    def _write(self, name: str, text: str, height: float, size: int, colour: str) -> None:
        self.plotter.add_text(
            text, position=(0.02, height), viewport=True, font_size=size, color=colour, font="arial", name=name,
            render=False,
        )  # fmt: skip
        self._named.add(name)


class Window(Canvas):
    """A window that listens: keys, sliders, and clicks on hits.

    Args:
        controller: what is shown.

    Raises:
        ComponentError: PyVista is missing or cannot open a window here.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__(off_screen=False)
        self.controller = controller
        self._sliders: dict[str, Any] = {}
        self._pressed_at = (0, 0)
        self._pressed = False
        self._timer = 0
        # PyVista's own keys go: its "Up" would zoom as well, its "minus" shrink the hits.
        self.plotter.iren.clear_key_event_callbacks()
        for key in "npcurbfxy0123456789":
            self.plotter.add_key_event(key, lambda key=key: self.press(key))
        for name, key in _KEYS.items():
            self.plotter.add_key_event(name, lambda key=key: self.press(key))
        interactor = self.plotter.iren.interactor
        # VTK's own keys, one of which ("3") paints the window for coloured glasses, are taken off.
        interactor.RemoveObservers("CharEvent")
        self.plotter.add_key_event("s", self.save)
        self.plotter.add_key_event("q", self.plotter.iren.terminate_app)
        interactor.AddObserver("LeftButtonPressEvent", lambda *_: self.button(pressed=True))
        # The style that turns the box keeps the release to itself, but tells of its end.
        style = interactor.GetInteractorStyle()
        style.AddObserver("EndInteractionEvent", lambda *_: self.button(pressed=False))
        style.AddObserver("InteractionEvent", lambda *_: self.face_the_viewer())
        interactor.AddObserver("TimerEvent", lambda *_: self.idle())
        self._redraw()

    def run(self) -> None:
        """Show the window until it is closed."""
        self.plotter.show(title="pointae")

    def idle(self) -> None:
        """Nothing moved for a while: all hits come back."""
        if not self._pressed and self._step > 1:
            self.turning(False)
            self.plotter.render()

    def press(self, key: str) -> None:
        """Act on a key."""
        if self.controller.press(key):
            self._redraw()
            if key in VIEWS:
                self.look(VIEWS[key])
            self.plotter.render()

    def save(self) -> None:
        """Write what the window shows as a picture."""
        self.turning(False)
        self.controller.saved(write_pixels(self.pixels(), self.controller.picture_path()))
        self._redraw()
        self.plotter.render()

    def button(self, pressed: bool) -> None:
        """The left button is pressed or released: a click that did not move picks a hit."""
        place = self.plotter.iren.interactor.GetEventPosition()
        self._pressed = pressed
        self.turning(pressed)
        if pressed:
            self._pressed_at = place
        elif np.hypot(*np.subtract(place, self._pressed_at)) < _STILL and self.controller.pick(self.project, *place):
            self._redraw()
            self.plotter.render()

    def slide(self, name: str, value: float) -> None:
        """A slider was dragged."""
        # PyVista also calls this while it makes the slider.
        if name in self._sliders and self.controller.slide(name, value):
            self._redraw()

    def _redraw(self) -> None:
        drawing = self.controller.drawing
        # Few hits at once, the rest when nothing moves: nobody waits for a million of them.
        self.draw(drawing, few=True)
        if self._step > 1:
            interactor = self.plotter.iren.interactor
            interactor.DestroyTimer(self._timer)
            self._timer = interactor.CreateOneShotTimer(_PAUSE)
        for i, slider in enumerate(drawing.sliders):
            self._show_slider(slider, 0.93 - 0.07 * i)

    def _show_slider(self, slider: Slider, height: float) -> None:
        if slider.name not in self._sliders:
            widget = self.plotter.add_slider_widget(
                lambda value, name=slider.name: self.slide(name, value),
                (slider.low, slider.high), value=slider.value, pointa=(0.78, height), pointb=(0.97, height),
                slider_width=0.018, tube_width=0.003, title_height=0.02, title_color=INK, interaction_event="always",
            )  # fmt: skip
            self._sliders[slider.name] = widget
            made = widget.GetRepresentation()
            made.ShowSliderLabelOff()
            made.SetEndCapLength(0.0)
            made.SetSliderLength(0.012)
            made.GetTubeProperty().SetColor(rgb("#BBBBBB"))
            made.GetSliderProperty().SetColor(rgb(BLUE))
            made.GetTitleProperty().SetBold(False)
            made.GetTitleProperty().SetShadow(False)
        shown = self._sliders[slider.name].GetRepresentation()
        shown.SetMinimumValue(slider.low)
        shown.SetMaximumValue(slider.high)
        shown.SetValue(slider.value)
        shown.SetTitleText(slider.text)

"""Events in a PyVista window, or drawn by PyVista without one."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from pointae.errors import ComponentError
from pointae.optional import require
from pointae.runs import write_atomically
from visual.colours import INK
from visual.controller import KEYS, Controller
from visual.frame import frame_of
from visual.scene import Scene
from visual.source import EventSource

POINT_SCALE = 1.8
"""Pixels of the window for a point of a layer's size."""
_INVISIBLE = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow")
_CAMERA = np.array([1.5, -3.6, 1.3])
"""Where one looks from at first, from the centre of the box along (t, x, y)."""


def show(source: EventSource, event: int = 0) -> None:
    """Open a window and return when the user closes it.

    Raises:
        ComponentError: PyVista is missing or cannot draw here.
        UsageError: no event of that number.
    """
    controller = Controller(source, event)
    plotter = _plotter(off_screen=False)
    _draw(plotter, controller)

    def press(key: str) -> None:
        if controller.press(key):
            _draw(plotter, controller)

    for key in ("n", "p", *"123456789"):
        plotter.add_key_event(key, lambda key=key: press(key))
    for key in ("Right", "Left"):
        plotter.add_key_event(key, lambda key=key: press(key.lower()))
    # VTK's own keys, one of which ("3") paints the window for coloured glasses, are taken off.
    plotter.iren.interactor.RemoveObservers("CharEvent")
    plotter.add_key_event("r", lambda: _look(plotter, controller.scene))
    plotter.add_key_event("q", plotter.iren.terminate_app)
    plotter.show(title="pointae")


def draw_picture(source: EventSource, event: int, path: Path) -> Path:
    """Draw one event into a PNG, without a display.

    Raises:
        ComponentError: PyVista is missing or cannot draw here.
        UsageError: no event of that number.
    """
    from PIL import Image

    controller = Controller(source, event)
    plotter = _plotter(off_screen=True)
    _draw(plotter, controller, keys=False)
    pixels = plotter.screenshot(return_img=True)
    plotter.close()
    content = BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _plotter(off_screen: bool) -> Any:
    pyvista = require("pyvista", extra="view")
    from vtkmodules.vtkCommonCore import vtkObject

    vtkObject.GlobalWarningDisplayOff()  # What matters of it is said below, in one line.
    plotter = pyvista.Plotter(off_screen=off_screen, window_size=(1280, 820), lighting="none")
    # Asked first: without OpenGL VTK would end the process, without a screen draw where nobody looks.
    if not plotter.render_window.SupportsOpenGL():
        raise ComponentError("pyvista cannot draw here: it needs OpenGL 3.2", fix="try --engine html")
    if not off_screen and plotter.render_window.GetClassName() in _INVISIBLE:
        raise ComponentError("pyvista found no screen to open a window on", fix="try --engine html")
    plotter.set_background("white")
    plotter.enable_anti_aliasing("msaa", multi_samples=8)
    return plotter


def _draw(plotter: Any, controller: Controller, keys: bool = True) -> None:
    scene = controller.scene
    first = plotter.camera_set is False
    _draw_layers(plotter, controller)
    _draw_frame(plotter, scene)
    _write(plotter, "title", scene.title, 0.945, 12)
    _write(plotter, "caption", scene.caption, 0.91, 9)
    for i, (line, colour) in enumerate(controller.legend):
        _write(plotter, f"legend {i}", line if keys else line.split("  ", 1)[1], 0.86 - 0.033 * i, 10, colour)
    if keys:
        _write(plotter, "keys", KEYS, 0.02, 8)
    if first:
        _look(plotter, scene)
    else:
        plotter.render()


def _look(plotter: Any, scene: Scene) -> None:
    centre = np.array(scene.box) / 2
    plotter.camera_position = [centre + _CAMERA, centre + np.array([0, 0, 0.03]), (0, 0, 1)]
    plotter.camera_set = True
    plotter.renderer.reset_camera_clipping_range()
    plotter.render()


def _write(plotter: Any, name: str, text: str, height: float, size: int, colour: str = INK) -> None:
    plotter.add_text(
        text,
        position=(0.02, height),
        viewport=True,
        font_size=size,
        color=colour,
        font="arial",
        name=name,
        render=False,
    )


def _draw_layers(plotter: Any, controller: Controller) -> None:
    pyvista = require("pyvista", extra="view")
    scene, shown = controller.scene, {layer.name for layer in controller.shown}
    for layer in reversed(scene.layers):
        plotter.remove_actor(layer.name, render=False)
        if layer.name in shown:
            plotter.add_mesh(
                pyvista.PolyData(scene.in_box(layer.pos)), name=layer.name, color=layer.style.colour,
                opacity=layer.style.opacity, point_size=layer.style.size * POINT_SCALE,
                render_points_as_spheres=True, lighting=False, reset_camera=False, render=False,
            )  # fmt: skip


def _draw_frame(plotter: Any, scene: Scene) -> None:
    frame = frame_of(scene)
    for name, lines, colour in (("grid", frame.grid, "#E4E4E4"), ("edges", frame.edges, "#AAAAAA")):
        plotter.add_lines(lines.reshape(-1, 3), color=colour, width=1, name=name)
    plotter.add_point_labels(
        frame.anchors, list(frame.texts), name="numbers", shape=None, show_points=False, always_visible=True,
        font_family="arial", bold=False, font_size=15, text_color=INK, justification_horizontal="center",
        justification_vertical="center", reset_camera=False, render=False,
    )  # fmt: skip

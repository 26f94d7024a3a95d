"""What windows put around the hits, and the keys and rings that are theirs alone."""

from itertools import product

import numpy as np
import pytest
from test_scene import some_hits, some_source
from test_views import draws_without_a_screen, needs_screen

from pointae.errors import ComponentError
from pointae.geometry import timepix3_geometry, torch_geometry
from visual.colours import STYLES, rgb
from visual.scene.drawing import VIEWS, drawing_of
from visual.scene.layers import build_scene
from visual.scene.look import Look
from visual.scene.source import EventSource
from visual.windows import open3d_view, pyvista_view
from visual.windows.controller import Controller
from visual.windows.display import display_problem
from visual.windows.frame import behind, frame_of
from visual.windows.frame_time import measure

SIDES = tuple(product((False, True), repeat=2))


def scene():
    return build_scene(some_hits(geometry=torch_geometry()), 0)


def numbers(shown, frame):
    """Anchors (N, 3) of the numbers along t, x and y, and where the numbers are along these (N,)."""
    found, first = [], 0
    for axis in shown.drawn_axes:
        ticks = axis.ticks()
        places = np.array([(value - axis.low) / (axis.high - axis.low) * axis.edge for value, _ in ticks])
        assert frame.texts[first : first + len(ticks)] == tuple(text for _, text in ticks)
        found.append((frame.anchors[first : first + len(ticks)], places))
        first += len(ticks) + 1
    return found


@pytest.mark.parametrize("turned", SIDES)
def test_numbers_stay_beside_their_places_and_outside_the_box_from_every_side(turned):
    shown, box = scene(), np.array(scene().box)
    frame = frame_of(shown, turned=turned)
    for i, (anchors, places) in enumerate(numbers(shown, frame)):
        assert anchors[:, i] == pytest.approx(places)
        lines = frame.grid[np.isclose(frame.grid[:, 0, i], frame.grid[:, 1, i])]
        assert set(places.round(9)) <= set(lines[:, 0, i].round(9))
    (along_t, _), (along_x, _), (along_y, _) = numbers(shown, frame)
    at_low_x, at_low_t = not turned[1], turned[0]
    for anchors, axis, low in ((along_t, 1, at_low_x), (along_x, 0, at_low_t), (along_y, 1, at_low_x)):
        assert (anchors[:, axis] < 0).all() if low else (anchors[:, axis] > box[axis]).all()
    wall = 0.0 if turned[1] else box[1]  # behind the hits
    assert ((frame.grid[..., 2] == 0) | (frame.grid[..., 1] == wall)).all()


def test_the_side_one_looks_from_is_told_by_the_camera():
    assert behind(VIEWS["r"].directions()[0]) == (False, False)
    assert {behind(VIEWS["r"].directions(turn)[0]) for turn in (0, 90, 180, 270)} == set(SIDES)
    assert behind(np.array([-1.0, 1.0, 0.0]), along=1) == (False, False)


@pytest.mark.parametrize("key", "fxy")
def test_along_an_axis_numbers_stand_on_the_side_that_faces_the_viewer(key):
    shown, view = scene(), VIEWS[key]
    anchors = frame_of(shown, view.along).anchors
    near = np.dot(np.array(shown.box), np.maximum(view.front, 0))
    assert anchors @ np.array(view.front) == pytest.approx(near)


def test_a_key_of_times_has_the_unit_of_its_axis():
    hits = some_hits(geometry=timepix3_geometry())
    key = build_scene(hits, 0, look=Look(colour_by="time")).key
    assert [text for text, _ in key] == [f"time {time} ms" for time in (0, 5, 10, 15, 20)]


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_turns_its_numbers_to_the_viewer(monkeypatch):
    pytest.importorskip("pyvista")
    canvas = pyvista_view.Canvas(off_screen=True)
    canvas.draw(drawing_of(some_source().scene(0)))
    drawn = []
    monkeypatch.setattr(pyvista_view, "frame_of", lambda *told: drawn.append(told[1:]) or frame_of(*told))
    for turn in (0, 90, 100, 180):
        canvas.look(VIEWS["r"], turn)
    assert drawn == [(None, behind(VIEWS["r"].directions(turn)[0])) for turn in (90, 180)]
    canvas.plotter.close()


# ---- in windows ----------------------------------------------------------------------------------


@pytest.mark.display
@needs_screen
def test_open3d_turns_its_numbers_to_the_viewer():
    canvas = open3d_view.Canvas(visible=False)
    shown = some_source().scene(0)
    canvas.draw(drawing_of(shown))
    for turn in (0, 90, 180, 270):
        canvas.look(VIEWS["r"], turn)
        canvas.pixels()
        frame = frame_of(shown, None, behind(VIEWS["r"].directions(turn)[0]))
        anchors = [mark.anchor for mark in canvas._marks[: len(frame.texts)]]
        assert np.allclose(anchors, frame.anchors)
        assert np.allclose(np.asarray(canvas._grid.points), frame.grid.reshape(-1, 3))
    canvas.window.destroy_window()


@pytest.mark.display
@needs_screen
def test_what_the_oracle_keeps_is_seen_around_hits_that_are_kept_in_open3d():
    hits = some_hits()
    source = EventSource(hits, stages={"oracle": hits})
    canvas = open3d_view.Canvas(visible=False)
    whole = source.scene(0)
    green = np.array(rgb(STYLES["oracle"].colour)) * 255

    def ringed(layers):
        canvas.draw(drawing_of(whole.only(layers)))
        pixels = canvas.pixels()[200:].astype(float)  # below the legend
        return int((np.abs(pixels - green).max(-1) < 12).sum())

    kept = ("kept signal", "surviving noise")
    assert ringed(kept) == 0
    assert ringed((*kept, "oracle")) > 20 * int(hits.events([0]).kept.sum())
    canvas.window.destroy_window()


@pytest.mark.display
@needs_screen
def test_hits_in_one_cell_have_the_colour_of_the_first_layer_in_open3d():
    hits = some_hits()
    source = EventSource(hits, stages={"full pattern": hits.replace(kept=None), "smeared": hits.replace(kept=None)})
    canvas = open3d_view.Canvas(visible=False)
    whole = source.scene(0)
    canvas.draw(drawing_of(whole))
    colours = {}
    for layer in whole.layers[:4]:
        for place, colour in zip(layer.pos, np.asarray(canvas.clouds[layer.name].colors), strict=True):
            colours[tuple(place)] = colour
    assert len(np.unique(list(colours.values()), axis=0)) == 4
    pattern = next(layer for layer in whole.layers if layer.name == "full pattern")
    for place, colour in zip(pattern.pos, np.asarray(canvas.clouds["full pattern"].colors), strict=True):
        assert np.allclose(colour, colours[tuple(place)])
    canvas.draw(drawing_of(whole.only(["smeared", "full pattern"])))
    assert np.allclose(canvas.clouds["full pattern"].colors, canvas.clouds["smeared"].colors)
    canvas.window.destroy_window()


@pytest.mark.display
@needs_screen
def test_keys_of_pyvista_do_what_they_are_told_to_and_nothing_else():
    controller = Controller(some_source())
    window = pyvista_view.Window(controller)
    window.plotter.show(interactive_update=True, auto_close=False)
    sizes = {name: actor.prop.point_size for name, actor in window.plotter.actors.items() if name in window.clouds}
    eye, cut = np.array(window.plotter.camera.position), controller.sliders[0].value
    for key in ("Up", "minus"):
        window.plotter.iren.interactor.SetKeySym(key)
        window.plotter.iren.interactor.KeyPressEvent()
    assert controller.look.threshold == pytest.approx(cut + 0.01)
    assert controller.look.window is not None
    assert np.allclose(window.plotter.camera.position, eye)
    assert window.plotter.camera.view_angle == pytest.approx(30)
    for name, size in sizes.items():
        assert name not in window.clouds or window.plotter.actors[name].prop.point_size == size
    window.plotter.close()


@pytest.mark.display
@needs_screen
@pytest.mark.parametrize("engine", ["open3d", "pyvista"])
def test_every_frame_is_timed_in_a_process_of_its_own(engine):
    pytest.importorskip(engine)
    row = measure(engine, 50, frames=2)
    assert (row.pop("engine"), row.pop("hits")) == (engine, 50)
    assert set(row) == {"first_s", "all_s", "turning_s", "slowest_s", "whole_s"}
    assert 0 < row["first_s"] <= row["all_s"]


def test_an_engine_that_cannot_draw_is_told_across_processes(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if display_problem() is None:
        pytest.skip("a screen is taken for granted here")
    with pytest.raises(ComponentError, match=r"but there is no display.*\(run it under xvfb-run\)"):
        measure("open3d", 5, frames=1)

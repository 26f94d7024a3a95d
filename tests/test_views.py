import csv
import ctypes.util
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image, ImageDraw, ImageFont
from test_scene import COUNTS, some_hits, some_source

import visual
from pointae import optional
from pointae.errors import ComponentError, ConfigError, DataError, UsageError
from pointae.io import read_hits, write_hits
from visual import engines
from visual.colours import STYLES
from visual.files import save_view
from visual.pages.events import write_page
from visual.pictures import events as event_pictures
from visual.pictures.events import draw_event, draw_panels
from visual.pictures.panels import GRIDS, panels_of
from visual.scene.drawing import VIEWS, drawing_of
from visual.scene.layers import Layer, build_scene
from visual.scene.look import Look
from visual.scene.source import EventSource, open_events
from visual.windows import open3d_marks, open3d_view, pyvista_view
from visual.windows.controller import Controller
from visual.windows.display import display_problem

VIEW = Path(__file__).parent.parent / "tools" / "view.py"


@pytest.fixture
def no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def display(monkeypatch):
    monkeypatch.setattr(engines, "display_problem", lambda: None)


def counts_of(scene):
    return {layer.name: len(layer.pos) for layer in scene.layers}


def shown_of(scene):
    """Hits of the layers that a renderer has to draw; it need not know of those without any."""
    return {name: count for name, count in counts_of(scene.shown).items() if count}


def scenes_in(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="scenes">(.*?)</script>', text, re.S).group(1))


# ---- pictures ------------------------------------------------------------------------------------


def test_a_picture_shows_every_hit_of_every_layer_three_times():
    for event in range(3):
        scene = some_source().scene(event)
        space, *planes = draw_event(scene).axes
        expected = [len(layer.pos) for layer in reversed(scene.shown.layers)]
        assert len(expected) == 6
        assert [len(drawn._offsets3d[0]) for drawn in space.collections] == expected
        assert len(planes) == 2
        for plane in planes:
            assert [len(drawn.get_offsets()) for drawn in plane.collections] == expected


def test_pictures_page_and_hits_are_written_together(tmp_path):
    source = some_source()
    paths = visual.write_pictures(source, tmp_path / "views", events=[2, 0])
    assert [path.name for path in paths] == ["event_2.png", "event_0.png", "events.html"]
    assert all(imread(path).std() > 0.02 for path in paths[:2])
    assert read_hits(tmp_path / "views" / "events.h5").counts.tolist() == [COUNTS[2], COUNTS[0]]
    assert counts_of(open_events(tmp_path / "views").scene(1)) == counts_of(source.scene(0))
    with pytest.raises(UsageError, match=r"0\.\.2"):
        visual.write_pictures(source, tmp_path / "other", events=[0, 3])
    assert not (tmp_path / "other").exists()


PANELS = {
    "before-after": {"input", "masked output"},
    "degradation": {"full pattern", "thinned", "smeared", "input"},
    "output": {"input", "masked output", "direct output", "oracle"},
    "pipeline": {"true signal", "input", "score", "masked output"},
}


@pytest.mark.parametrize("grid", GRIDS)
def test_panels_hold_every_hit_in_space_and_from_above(grid):
    source = some_source()
    hits, oracle = source.hits.events([0]), source.stages["oracle"].events([0])
    panels = panels_of(source, 0, grid)
    expected = {
        "input": 12, "score": 12, "masked output": int(hits.kept.sum()), "true signal": int(hits.signal.sum()),
        "oracle": int(oracle.kept.sum()), "direct output": 8, "full pattern": 5, "thinned": 6, "smeared": 7,
    }  # fmt: skip
    assert {name for name, _ in panels} == PANELS[grid]
    figure = draw_panels(panels, "title", "caption")
    assert len(figure.axes) == 2 * len(panels)
    for (name, _), space, plane in zip(panels, figure.axes[::2], figure.axes[1::2], strict=True):
        assert sum(len(drawn._offsets3d[0]) for drawn in space.collections) == expected[name]
        assert sum(len(drawn.get_offsets()) for drawn in plane.collections) == expected[name]


def test_true_signal_is_red_in_the_noisy_input():
    source = some_source()
    scene = dict(panels_of(source, 0, "pipeline"))["input"]
    signal = next(layer for layer in scene.layers if layer.name == "signal")
    assert len(signal.pos) == int(source.hits.events([0]).signal.sum())
    assert signal.style.colour == "#D55E00"


def test_panels_that_hits_hold_nothing_for_are_left_out_or_told():
    hits = some_hits(kept=None, score=None)
    assert [name for name, _ in panels_of(EventSource(hits), 0, "pipeline")] == ["true signal", "input"]
    assert [name for name, _ in panels_of(EventSource(some_hits()), 1, "output")] == ["input", "masked output"]
    with pytest.raises(DataError, match=r"no masked output \(a decision comes from tools/denoise\.py"):
        panels_of(EventSource(hits), 0, "before-after")
    with pytest.raises(ConfigError, match="unknown grid 'pipe'"):
        panels_of(EventSource(hits), 0, "pipe")


def test_a_saved_view_is_drawn_again_from_the_hits_beside_it(tmp_path):
    source, path = some_source(), tmp_path / "look" / "event.png"
    assert engines.view(source, event=2, save=path, look=Look(colour_by="score")) == [path]
    again = open_events(tmp_path / "look" / "event_hits")
    assert counts_of(again.scene(0)) == counts_of(source.scene(2))
    assert engines.view(again, grid="output", save=tmp_path / "again.png")[0].is_file()
    assert engines.view(source, save=tmp_path / "page.html", event=1, events=2)[0].is_file()
    assert [counts_of(open_events(tmp_path / "page_hits").scene(i)) for i in (0, 1)] == [
        {layer["name"]: len(layer["t"]) for layer in told["layers"]} for told in scenes_in(tmp_path / "page.html")
    ]
    for wrong, grid in (("event.jpg", None), ("event.gif", "output")):
        with pytest.raises(UsageError, match="cannot save a view as"):
            engines.view(source, save=tmp_path / wrong, grid=grid)
        assert not (tmp_path / wrong).exists()


def test_a_turntable_turns(tmp_path, monkeypatch):
    monkeypatch.setattr("visual.files.turns", lambda: [0.0, 90.0, 180.0])
    from PIL import Image

    with Image.open(save_view(some_source(), tmp_path / "turn.gif", [0])) as picture:
        assert picture.n_frames == 3
        pixels = []
        for i in range(3):
            picture.seek(i)
            pixels.append(np.asarray(picture.convert("RGB"), dtype=float))
    assert all(np.abs(a - b).mean() > 0.5 for a, b in pairwise(pixels))
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = save_view(some_source(), tmp_path / "turn.mp4", [0])
    assert ffmpeg.count_frames_and_secs(str(path))[0] == 3


def test_every_frame_of_a_turntable_shows_every_hit_of_every_layer(monkeypatch):
    drawn, draw = [], event_pictures.draw_space
    monkeypatch.setattr(
        event_pictures, "draw_space", lambda *told, **more: drawn.append(draw(*told, **more)) or drawn[0]
    )
    for event in range(3):
        scene = some_source().scene(event)
        for _ in event_pictures.frames(scene, [0.0, 90.0]):
            expected = [len(layer.pos) for layer in reversed(scene.shown.layers)]
            assert [len(layer._offsets3d[0]) for layer in drawn[0].collections] == expected
        drawn.clear()


# ---- page ----------------------------------------------------------------------------------------


def test_a_page_holds_every_hit_and_needs_no_network(tmp_path):
    hits = some_hits()
    hits.score[0] = math.nan
    scenes = [build_scene(hits, event, some_source().stages, title="</script><b>") for event in range(3)]
    page = write_page(scenes, tmp_path / "page.html")
    for told, scene in zip(scenes_in(page), scenes, strict=True):
        assert {layer["name"]: len(layer["t"]) for layer in told["layers"]} == counts_of(scene)
        for layer, drawn in zip(told["layers"], scene.layers, strict=True):
            assert np.allclose(np.array([layer["x"], layer["y"], layer["t"]]).T.reshape(-1, 3), drawn.pos)
            assert {name: len(told) for name, told in layer["values"].items()} == dict.fromkeys(
                drawn.values, len(drawn.pos)
            )
    scores = [value for layer in scenes_in(page)[0]["layers"] for value in layer["values"].get("score", [])]
    assert scores.count(None) == 2  # in its part and in the input
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*\b(src|href)="(?!data:)', page.read_text(encoding="utf-8"))
    assert page.stat().st_size < 8e6


# ---- windows -------------------------------------------------------------------------------------


def draws_without_a_screen() -> bool:
    """VTK needs EGL or OSMesa for that, and dies of a segmentation fault where a Linux system has neither."""
    return sys.platform != "linux" or any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa"))


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_draws_every_hit_off_screen(tmp_path, no_display):
    pytest.importorskip("pyvista")
    source = some_source()
    canvas = pyvista_view.Canvas(off_screen=True)
    for event in (0, 2, 1):
        scene = source.scene(event)
        canvas.draw(drawing_of(scene))
        assert {name: cloud.n_points for name, cloud in canvas.clouds.items()} == shown_of(scene)
        assert all(canvas.plotter.actors[name].mapper.dataset.n_points == n for name, n in shown_of(scene).items())
    canvas.plotter.close()
    picture = imread(engines.view(source, "pyvista", save=tmp_path / "event.png")[0])
    assert (np.abs(picture[..., :3] - [0.835, 0.369, 0]).max(-1) < 0.05).sum() > 20  # the signal's colour


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_projects_as_it_draws(no_display):
    pytest.importorskip("pyvista")
    hits = some_hits(kept=None, score=None, signal=None).select(torch.arange(sum(COUNTS)) == 3)
    canvas = pyvista_view.Canvas(off_screen=True)
    drawing = drawing_of(build_scene(hits, 0))
    canvas.draw(replace(drawing, texts=()))
    pixels = canvas.pixels().astype(int)
    rows, columns = np.nonzero(np.abs(pixels - [0, 114, 178]).max(-1) < 60)
    x, y, _ = canvas.project(drawing.scene.in_box(drawing.scene.layers[0].pos))[0]
    assert (columns.mean(), len(pixels) - rows.mean()) == pytest.approx((x, y), abs=2)
    canvas.plotter.close()


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_draws_fewer_hits_while_a_large_event_is_turned_and_then_all(no_display, monkeypatch):
    pytest.importorskip("pyvista")
    monkeypatch.setattr("visual.scene.drawing.TURNING", 5)  # of 12
    canvas = pyvista_view.Canvas(off_screen=True)
    canvas.draw(drawing_of(build_scene(some_hits(kept=None, signal=None), 0, look=Look(colour_by="score"))))

    def drawn():
        dataset = canvas.plotter.actors["input"].mapper.dataset
        return dataset.n_points, len(np.unique(canvas.pixels().reshape(-1, 3), axis=0)) > 20

    assert drawn() == (12, True)
    canvas.turning(True)
    assert drawn() == (4, True)  # every third
    canvas.turning(False)
    assert drawn() == (12, True)
    canvas.plotter.close()


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_looks_from_where_it_is_told(no_display):
    pytest.importorskip("pyvista")
    canvas = pyvista_view.Canvas(off_screen=True)
    canvas.draw(drawing_of(some_source().scene(0)))
    first = np.array(canvas.plotter.camera.position)
    for key in "xr":
        canvas.look(VIEWS[key])
    assert np.allclose(canvas.plotter.camera.position, first)
    away = np.linalg.norm(first - canvas.plotter.camera.focal_point)
    assert away == pytest.approx(pyvista_view._DISTANCE)
    canvas.plotter.close()


@pytest.mark.parametrize("text", ["x [mm]", "µs 0.5", "g", " ", ""])
def test_letters_are_those_of_the_font(text):
    corners, ink = open3d_marks.letters(text, 14)
    boxes = corners.reshape(-1, 4, 3)
    assert len(boxes) == len(ink)
    drawn = np.zeros((40, 90))  # The line of writing begins 30 down, 5 to the right.
    for box, shade in zip(boxes, ink, strict=True):
        (left, low, _), (right, high, _) = box.min(0), box.max(0)
        assert high - low == 1
        assert (drawn[int(30 - high), int(5 + left) : int(5 + right)] == 0).all()
        drawn[int(30 - high), int(5 + left) : int(5 + right)] = shade
    font = ImageFont.truetype(str(open3d_marks._FONT), 14)
    paper = Image.new("L", (90, 40))
    ImageDraw.Draw(paper).text((5, 30), text, fill=255, font=font, anchor="ls")
    assert np.abs(drawn - np.asarray(paper) / 255).max() <= 0.21  # five shades
    assert (drawn > 0).any() == bool(text.strip())


needs_screen = pytest.mark.skipif(display_problem() is not None, reason=f"{display_problem()}: run under xvfb-run")


@pytest.mark.display
@needs_screen
def test_open3d_draws_every_hit_in_a_window(tmp_path, monkeypatch):
    controller = Controller(some_source())
    window = open3d_view.Window(controller)

    def drawn():
        return {name: len(cloud.points) for name, cloud in window.clouds.items()}

    assert drawn() == shown_of(controller.scene)
    window.press("5")
    assert drawn() == shown_of(controller.scene) | {"input": COUNTS[0]}
    window.press("p")
    assert sum(drawn()[name] for name in drawn() if name == "input") == COUNTS[2]
    window.press("n")
    assert window.pixels().std() > 5
    shown_at_left = controller.look.threshold
    bar = 1280 - 20 - 230
    window.move(bar + 115, 34 + 52 / 3)
    window.button(0, 1, 0)
    window.move(bar + 23, 400)
    window.button(0, 0, 0)
    assert shown_at_left is None
    assert controller.look.threshold == pytest.approx(0.1)
    assert sum(n for name, n in drawn().items() if name in ("kept signal", "surviving noise")) == int(
        (controller.source.hits.score[: COUNTS[0]] >= controller.look.threshold).sum()
    )
    places = window.project(controller.scene.in_box(controller.shown[0].pos))
    window.move(*places[0, :2])
    window.button(0, 1, 0)
    window.button(0, 0, 0)
    assert controller.message.startswith(controller.shown[0].name)
    monkeypatch.setattr("visual.scene.drawing.TURNING", 5)
    before = drawn()
    window.press("u")
    assert sum(drawn().values()) < sum(before.values())
    window.idle()
    assert drawn() == before
    window.move(600, 500)
    window.button(0, 1, 0)
    assert sum(drawn().values()) < sum(before.values())
    window.move(640, 500)
    window.button(0, 0, 0)
    assert drawn() == before
    controller.source = replace(controller.source, folder=tmp_path)
    window.save()
    assert imread(tmp_path / "event_0_window_1.png").std() > 0.02
    window.window.destroy_window()


@pytest.mark.display
@needs_screen
def test_pyvista_shows_every_hit_in_a_window_and_cuts_again(monkeypatch):
    controller = Controller(some_source())
    window = pyvista_view.Window(controller)
    window.plotter.show(interactive_update=True, auto_close=False)
    for key in ("c", "5", "n", "p", "b", "x", "r"):
        window.press(key)
    assert window.clouds["input"].n_points == COUNTS[0]
    window.slide("threshold", 0.1)
    count = sum(c.n_points for name, c in window.clouds.items() if name in ("kept signal", "surviving noise"))
    assert count == int((controller.source.hits.score[: COUNTS[0]] >= 0.1).sum())
    x, y, _ = window.project(controller.scene.in_box(controller.shown[0].pos))[0]
    window.plotter.iren.interactor.SetEventInformation(round(x), round(y), 0, 0, "0", 0, None)
    window.plotter.iren.interactor.LeftButtonPressEvent()
    window.plotter.iren.interactor.LeftButtonReleaseEvent()
    assert controller.message.startswith(controller.shown[0].name)
    before = {name: cloud.n_points for name, cloud in window.clouds.items()}
    monkeypatch.setattr("visual.scene.drawing.TURNING", 5)
    window.press("u")
    assert sum(cloud.n_points for cloud in window.clouds.values()) < sum(before.values())
    window.idle()
    assert {name: cloud.n_points for name, cloud in window.clouds.items()} == before
    window.plotter.close()


@pytest.mark.display
@needs_screen
def test_every_engine_draws_a_turntable_frame():
    scene = some_source().scene(0)
    for engine in (event_pictures, open3d_view, pyvista_view):
        first, second = engine.frames(scene, [0.0, 90.0])
        assert first.dtype == np.uint8
        assert first.shape == second.shape
        assert np.abs(first.astype(int) - second).mean() > 0.3


# ---- which engine --------------------------------------------------------------------------------


def test_without_a_display_files_are_written_and_no_viewer_is_imported(tmp_path, no_display, monkeypatch):
    monkeypatch.setattr(engines, "import_module", lambda name: pytest.fail(f"{name} was imported"))
    said = []
    paths = engines.view(EventSource(some_hits(), folder=tmp_path / "views"), events=1, say=said.append)
    assert [path.name for path in paths] == ["event_0.png", "events.html"]
    assert len(said) == 1
    assert "no display" in said[0]
    for name in engines.WINDOWS:
        with pytest.raises(ComponentError, match=f"{name} opens a window, but there is no display") as caught:
            engines.view(EventSource(some_hits()), name)
        assert caught.value.exit_code == 7


@pytest.mark.skipif(ctypes.util.find_library("X11") is None, reason="needs libX11")
def test_a_display_that_does_not_answer_is_no_display(no_display, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":4711")
    assert "does not answer" in display_problem()


def test_missing_viewers_are_passed_over_unless_asked_for(tmp_path, display, monkeypatch):
    monkeypatch.setattr(optional, "is_installed", lambda module: False)
    said = []
    paths = engines.view(EventSource(some_hits(), folder=tmp_path), events=1, say=said.append)
    assert len(paths) == 2
    assert [line.partition(" ")[0] for line in said] == ["open3d", "pyvista"]
    assert all("pip install" in line for line in said)
    with pytest.raises(ComponentError, match="open3d is not installed"):
        engines.view(EventSource(some_hits()), "open3d")


def test_a_missing_system_library_is_told_with_its_package(display, monkeypatch):
    def fail(name):
        raise OSError("libusb-1.0.so.0: cannot open shared object file")

    monkeypatch.setattr(optional, "is_installed", lambda module: True)
    monkeypatch.setattr(optional.importlib, "import_module", fail)
    monkeypatch.setattr(engines, "import_module", lambda name: open3d_view)
    with pytest.raises(ComponentError, match=r"libusb-1\.0\.so\.0.*apt-get install libusb-1\.0-0"):
        engines.view(EventSource(some_hits()), "open3d")


def test_an_unknown_engine_lists_the_known():
    with pytest.raises(ConfigError, match="did you mean 'open3d'"):
        engines.view(EventSource(some_hits()), "open3")


def test_the_tool_prints_its_files_and_refuses_events_out_of_range(tmp_path):
    write_hits(tmp_path / "mine.h5", some_hits())
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}

    def run(*arguments):
        command = [sys.executable, str(VIEW), str(tmp_path / "mine.h5"), "--engine", "files", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)

    done = run("--event", "1", "--events", "5")
    assert done.returncode == 0, done.stderr
    names = [str(tmp_path / "mine_views" / name) for name in ("event_1.png", "event_2.png", "events.html")]
    assert done.stdout.splitlines() == names
    refused = run("--event", "3")
    assert refused.returncode == 2
    assert refused.stderr == "error: mine.h5: event 3 is out of range: the events are 0..2\n"


def test_a_mask_that_does_not_fit_is_told_with_what_was_expected(tmp_path):
    path = tmp_path / "mine.h5"
    write_hits(path, some_hits())
    with h5py.File(path, "a") as file:
        del file["kept"]
        file["kept"] = np.ones(7, bool)
    with pytest.raises(DataError, match=r"mine\.h5: kept must have shape \(19\), got \(7,\)") as caught:
        open_events(path)
    assert caught.value.exit_code == 3
    with pytest.raises(DataError, match=r"needs pos \(N, 3\) and values \(N,\), got \(4, 3\) and {'score': \(5,\)}"):
        Layer("kept", STYLES["kept"], np.zeros((4, 3), np.float32), {"score": np.zeros(5)})


@pytest.mark.parametrize("engine", ["open3d", "pyvista"])
def test_no_opengl_is_told_and_the_next_renderer_taken(engine, display, monkeypatch, tmp_path):
    class Nothing:
        """As much of either library as is asked before it draws; it has no OpenGL."""

        def __getattr__(self, name):
            return Nothing()

        def __call__(self, *arguments, **named):
            return None if named.get("visible") else Nothing()

        def __bool__(self):
            return False

    monkeypatch.setattr(open3d_view, "require", lambda *_, **__: Nothing())
    monkeypatch.setattr(pyvista_view, "require", lambda *_, **__: Nothing())
    pytest.importorskip("vtkmodules")
    with pytest.raises(ComponentError, match=rf"{engine} cannot (open a window|draw) here: it needs OpenGL"):
        engines.view(EventSource(some_hits()), engine)
    said = []
    paths = engines.view(EventSource(some_hits(), folder=tmp_path), events=1, say=said.append)
    assert [path.name for path in paths] == ["event_0.png", "events.html"]
    assert [line.partition(" ")[0] for line in said] == ["open3d", "pyvista"]


# ---- plots ---------------------------------------------------------------------------------------


def test_a_comparison_has_its_numbers_beside_it_best_first(tmp_path):
    rows = [
        {"name": "DBSCAN", "noise_removed_at_97": 0.3},
        {"name": "nothing", "noise_removed_at_97": math.nan},
        {"name": "oracle", "noise_removed_at_97": 0.99, "kind": "bound"},
        {"name": "pointnet", "noise_removed_at_97": 0.9, "kind": "network"},
    ]
    path = visual.plot_comparison(rows, tmp_path / "comparison.png")
    assert imread(path).std() > 0.02
    with path.with_suffix(".csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["oracle", "pointnet", "DBSCAN", "nothing"]
    with pytest.raises(DataError, match="nothing to compare"):
        visual.plot_comparison([], path)

import csv
import ctypes.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from test_scene import COUNTS, some_hits

import visual
from pointae import optional
from pointae.errors import ComponentError, ConfigError, DataError, UsageError
from pointae.io import read_hits, write_hits
from visual import engines, open3d_view, pyvista_view
from visual.controller import Controller
from visual.display import display_problem
from visual.html_view import write_page
from visual.scene import build_scene
from visual.source import EventSource
from visual.static_view import draw_event

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


def scenes_in(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="scenes">(.*?)</script>', text, re.S).group(1))


# ---- pictures ------------------------------------------------------------------------------------


def test_a_picture_shows_every_hit_of_every_layer_three_times():
    for event in range(3):
        scene = build_scene(some_hits(), event)
        space, *planes = draw_event(scene).axes
        expected = [len(layer.pos) for layer in reversed(scene.layers)]
        assert [len(drawn._offsets3d[0]) for drawn in space.collections] == expected
        assert len(planes) == 2
        for plane in planes:
            assert [len(drawn.get_offsets()) for drawn in plane.collections] == expected


def test_pictures_page_and_hits_are_written_together(tmp_path):
    hits = some_hits()
    paths = visual.write_pictures(hits, tmp_path / "views", events=[2, 0])
    assert [path.name for path in paths] == ["event_2.png", "event_0.png", "events.html"]
    assert all(imread(path).std() > 0.02 for path in paths[:2])
    assert read_hits(tmp_path / "views" / "events.h5").counts.tolist() == [COUNTS[2], COUNTS[0]]
    with pytest.raises(UsageError, match=r"0\.\.2"):
        visual.write_pictures(hits, tmp_path / "other", events=[0, 3])
    assert not (tmp_path / "other").exists()


def test_before_and_after_need_a_decision(tmp_path):
    path = visual.write_before_after(some_hits(), 0, tmp_path / "both.png")
    assert imread(path).std() > 0.02
    with pytest.raises(DataError, match="no decision"):
        visual.write_before_after(some_hits(kept=None), 0, tmp_path / "none.png")


# ---- page ----------------------------------------------------------------------------------------


def test_a_page_holds_every_hit_and_needs_no_network(tmp_path):
    hits = some_hits()
    hits.score[0] = math.nan
    scenes = [build_scene(hits, event, title="</script><b>") for event in range(3)]
    page = write_page(scenes, tmp_path / "page.html")
    for told, scene in zip(scenes_in(page), scenes, strict=True):
        assert {layer["name"]: len(layer["t"]) for layer in told["layers"]} == counts_of(scene)
        for layer, drawn in zip(told["layers"], scene.layers, strict=True):
            assert np.allclose(np.array([layer["x"], layer["y"], layer["t"]]).T.reshape(-1, 3), drawn.pos)
            assert len(layer["values"]["score"]) == len(drawn.pos)
    scores = [value for layer in scenes_in(page)[0]["layers"] for value in layer["values"]["score"]]
    assert scores.count(None) == 1
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*\b(src|href)="(?!data:)', page.read_text(encoding="utf-8"))
    assert page.stat().st_size < 8e6


@pytest.mark.display
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_page_draws_and_steps_in_a_browser_without_errors(tmp_path):
    scenes = [build_scene(some_hits(), event) for event in range(3)]
    page = write_page(scenes, tmp_path / "page.html")
    # From the event of the address, faster than it can be drawn: forward, back, forward.
    press = "for (const key of ['Right', 'Left', 'Right']) document.onkeydown({key: 'Arrow' + key, target: plot});"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{press}</script></body>"), "utf-8")
    flags = "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
    command = ["chromium", *flags.split(), "--virtual-time-budget=8000", "--enable-logging=stderr", "--dump-dom"]
    shown = subprocess.run([*command, f"{page.as_uri()}#1"], capture_output=True, text=True, timeout=120, check=True)
    assert not re.search(r"CONSOLE.*(error|uncaught|not defined)", shown.stderr, re.I)
    body = shown.stdout.rpartition('id="scenes"')[0]
    assert "<canvas" in body
    assert re.search(r'id="title">event 2<', body)
    for layer in scenes[2].layers:
        assert layer.legend in body


# ---- windows -------------------------------------------------------------------------------------


def draws_without_a_screen() -> bool:
    """VTK needs EGL or OSMesa for that, and dies of a segmentation fault where a Linux system has neither."""
    return sys.platform != "linux" or any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa"))


@pytest.mark.skipif(not draws_without_a_screen(), reason="no libEGL here: apt-get install libegl1")
def test_pyvista_draws_every_hit_off_screen(tmp_path, no_display):
    pytest.importorskip("pyvista")
    source = EventSource(some_hits(), "test")
    controller = Controller(source)
    plotter = pyvista_view._plotter(off_screen=True)
    pyvista_view._draw(plotter, controller)
    for name, count in counts_of(controller.scene).items():
        assert plotter.actors[name].mapper.dataset.n_points == count
    controller.press("4")
    pyvista_view._draw(plotter, controller)
    assert "removed noise" not in plotter.actors
    plotter.close()
    picture = imread(pyvista_view.draw_picture(source, 0, tmp_path / "event.png"))
    assert (np.abs(picture[..., :3] - [0.835, 0.369, 0]).max(-1) < 0.05).sum() > 20  # the signal's colour


@pytest.mark.display
def test_open3d_draws_every_hit_in_a_window():
    controller = Controller(EventSource(some_hits(), "test"))
    window = open3d_view.Window(controller)

    def drawn():
        clouds = [g for g in window._drawn if isinstance(g, window.open3d.geometry.PointCloud)]
        return [len(cloud.points) for cloud in clouds]

    assert drawn() == [len(layer.pos) for layer in controller.shown]
    assert sum(drawn()) == COUNTS[0]
    window._press("p")
    assert sum(drawn()) == COUNTS[2]
    window._face_the_viewer()
    window.window.poll_events()
    window.window.update_renderer()
    assert np.asarray(window.window.capture_screen_float_buffer(True)).std() > 0.02
    window.window.destroy_window()


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
    assert refused.stderr == "error: event 3 is out of range: the events are 0..2\n"


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

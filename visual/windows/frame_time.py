"""How long a drawing takes: until its first frame, and for each frame of a turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import torch

from pointae import draws
from pointae.errors import ComponentError
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.optional import require
from visual.scene.drawing import VIEWS
from visual.scene.source import EventSource
from visual.windows.display import NO_OPENGL, display_problem


def measure(engine: str, hits: int, frames: int, seed: int = 1) -> dict[str, Any]:
    """Draw one event of evenly spread hits from many sides, in a process of its own: as a user's first window.

    Args:
        engine: ``"open3d"``, in a window, or ``"pyvista"``, off screen.
        hits: N of the event; half of them are kept.
        frames: of the turn.
        seed: of the event.

    Returns:
        ``engine``, ``hits``; in seconds ``first_s``, from the hits to the first frame without imports,
        and ``all_s``, until all hits are drawn; ``turning_s`` and ``slowest_s``, median and slowest frame
        while the user turns the event; ``whole_s``, a frame of all hits. The first frame and those of a
        turn show at most :data:`~visual.scene.drawing.TURNING` hits.

    Raises:
        ComponentError: the engine cannot draw here.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
        try:
            return own.submit(_measure, engine, hits, frames, seed).result()
        except BrokenProcessPool as error:
            raise ComponentError(f"{engine} ended the process in which it drew", fix=NO_OPENGL) from error


def _measure(engine: str, hits: int, frames: int, seed: int) -> dict[str, Any]:
    source = EventSource(_even_hits(hits, seed), f"{hits:,} hits")
    figures = (_open3d if engine == "open3d" else _pyvista)(source, frames)
    return {"engine": engine, "hits": hits, **figures}


def _open3d(source: EventSource, frames: int) -> dict[str, float]:
    if (problem := display_problem()) is not None:
        raise ComponentError(f"open3d draws in a window, but {problem}", fix="run it under xvfb-run")
    from visual.windows.controller import Controller
    from visual.windows.open3d_view import Window

    require("open3d", extra="open3d")
    begin = time.perf_counter()
    window = Window(Controller(source))

    def draw() -> None:
        window.face_the_viewer()
        window.window.poll_events()
        window.window.update_renderer()
        window.window.capture_screen_float_buffer(False)  # Waits until it is drawn.

    figures = _times(window, draw, frames, begin)
    window.window.destroy_window()
    return figures


def _pyvista(source: EventSource, frames: int) -> dict[str, float]:
    from visual.scene.drawing import drawing_of
    from visual.windows.pyvista_view import Canvas

    require("pyvista", extra="view")
    begin = time.perf_counter()
    canvas = Canvas(off_screen=True)
    canvas.draw(drawing_of(source.scene(0)), few=True)
    figures = _times(canvas, canvas.plotter.render_window.Render, frames, begin)
    canvas.plotter.close()
    return figures


def _times(canvas: Any, draw: Callable[[], Any], frames: int, begin: float) -> dict[str, float]:
    draw()
    first = time.perf_counter() - begin
    canvas.turning(False)
    draw()
    every = time.perf_counter() - begin
    canvas.turning(True)
    draw()
    seconds = [_timed(canvas, draw, 360 * i / frames) for i in range(frames)]
    canvas.turning(False)
    draw()
    whole = [_timed(canvas, draw, 120 * i) for i in range(3)]
    return {
        "first_s": first, "all_s": every, "turning_s": statistics.median(seconds), "slowest_s": max(seconds),
        "whole_s": statistics.median(whole),
    }  # fmt: skip


def _timed(canvas: Any, draw: Callable[[], Any], turn: float) -> float:
    start = time.perf_counter()
    canvas.look(VIEWS["r"], turn)
    draw()
    return time.perf_counter() - start


def _even_hits(count: int, seed: int) -> HitBatch:
    geometry = torch_geometry()
    keys = draws.event_keys(seed, 0, torch.zeros(1, dtype=torch.int64), "frame_time").expand(count)
    number = torch.arange(count)
    columns = [draws.integers(keys, number * 4 + i, 0, bins) for i, bins in enumerate(geometry.spatial_shape)]
    score = draws.uniform(keys, number * 4 + 3).float()
    return HitBatch(geometry, torch.stack(columns, 1).int(), torch.tensor([0, count]), score=score, kept=score >= 0.5)

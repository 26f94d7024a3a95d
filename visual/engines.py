"""Which renderer shows the events: the one asked for, or the first that can."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from pointae.errors import ComponentError, unknown_name
from visual.files import KINDS, MAX_PICTURES, save_view, write_pictures
from visual.pictures.panels import write_panels
from visual.scene.layers import check_event
from visual.scene.look import Look
from visual.scene.source import EventSource
from visual.windows.display import display_problem

WINDOWS = {"open3d": "visual.windows.open3d_view", "pyvista": "visual.windows.pyvista_view"}
"""Modules whose ``show(source, event, look)`` opens a window, in the order in which they are tried."""
ENGINES = (*WINDOWS, "files", *KINDS)
"""What can be asked for; ``"files"`` is every kind of file."""


def view(
    source: EventSource,
    engine: str | None = None,
    event: int = 0,
    events: int = MAX_PICTURES,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
    look: Look | None = None,
    save: Path | None = None,
    grid: str | None = None,
) -> list[Path]:
    """Show events in a window, or write them to files where there is none or they are asked for.

    Without ``engine``, Open3D is tried, then PyVista, then a PNG an event and a page; why one was
    passed over is said in a line. A viewer's library is imported only if there is a display.

    Args:
        source: the events.
        engine: one of :data:`ENGINES`.
        event: the first event shown, from 0.
        events: how many events files show, at most.
        folder: where files go; by default the source's own.
        say: told why an engine was passed over.
        look: where the score is cut, which times are shown, what colours mean, in which units.
        save: the one file to write, see :func:`~visual.files.save_view`.
        grid: draw the event as these panels, see :func:`~visual.pictures.panels.write_panels`.

    Returns:
        The files that were written; none if a window was shown.

    Raises:
        ComponentError: the engine asked for cannot be used here.
        ConfigError: no such engine, grid, or meaning of colours.
        UsageError: no event of that number.
    """
    if engine is not None and engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    check_event(event, len(source), source.title)
    chosen = range(event, min(event + events, len(source)))
    if grid is not None:
        path = save or (folder or source.folder) / f"event_{event}_{grid}.png"
        return [save_view(source, path, chosen, draw=lambda path: write_panels(source, event, grid, path, look))]
    if save is not None:
        return [save_view(source, save, chosen, engine if engine in WINDOWS else "files", look)]
    if engine not in ("files", *KINDS) and _show_window(engine, source, event, look, say):
        return []
    kinds = KINDS if engine is None or engine not in KINDS else (engine,)
    return write_pictures(source, folder, chosen, kinds, look)


def _show_window(
    engine: str | None, source: EventSource, event: int, look: Look | None, say: Callable[[str], None]
) -> bool:
    problem = display_problem()
    if problem is not None:
        if engine is not None:
            raise ComponentError(f"{engine} opens a window, but {problem}", fix="--engine html or png writes files")
        say(f"{problem}; writing files instead of opening a window")
        return False
    for name in WINDOWS if engine is None else (engine,):
        try:
            import_module(WINDOWS[name]).show(source, event, look)
        except ComponentError as error:
            if engine is not None:
                raise
            say(f"{error}; passed over")
        else:
            return True
    return False

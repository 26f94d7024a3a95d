"""Which renderer shows the events: the one asked for, or the first that can."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from pointae.errors import ComponentError, unknown_name
from visual.display import display_problem
from visual.pictures import KINDS, MAX_PICTURES, write_pictures
from visual.scene import check_event
from visual.source import EventSource

WINDOWS = {"open3d": "visual.open3d_view", "pyvista": "visual.pyvista_view"}
"""Modules whose ``show(source, event)`` opens a window, in the order in which they are tried."""
ENGINES = (*WINDOWS, "files", *KINDS)
"""What can be asked for; ``"files"`` is every kind of file."""


def view(
    source: EventSource,
    engine: str | None = None,
    event: int = 0,
    events: int = MAX_PICTURES,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Show events in a window, or write them to files where there is none.

    Without ``engine``, Open3D is tried, then PyVista, then a PNG an event and a page; why one was
    passed over is said in a line. A viewer's library is imported only if there is a display.

    Args:
        source: the events.
        engine: one of :data:`ENGINES`.
        event: the first event shown, from 0.
        events: how many events files show, at most.
        folder: where files go; by default the source's own.
        say: told why an engine was passed over.

    Returns:
        The files that were written; none if a window was shown.

    Raises:
        ComponentError: the engine asked for cannot be used here.
        ConfigError: no such engine.
        UsageError: no event of that number.
    """
    if engine is not None and engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    check_event(event, len(source))
    if engine not in ("files", *KINDS) and _show_window(engine, source, event, say):
        return []
    chosen = range(event, min(event + events, len(source)))
    kinds = KINDS if engine is None or engine not in KINDS else (engine,)
    return write_pictures(source.hits, folder or source.folder, chosen, source.full, source.title, kinds)


def _show_window(engine: str | None, source: EventSource, event: int, say: Callable[[str], None]) -> bool:
    problem = display_problem()
    if problem is not None:
        if engine is not None:
            raise ComponentError(f"{engine} opens a window, but {problem}", fix="--engine html or png writes files")
        say(f"{problem}; writing files instead of opening a window")
        return False
    for name in WINDOWS if engine is None else (engine,):
        try:
            import_module(WINDOWS[name]).show(source, event)
        except ComponentError as error:
            if engine is not None:
                raise
            say(f"{error}; passed over")
        else:
            return True
    return False

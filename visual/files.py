"""Views that need no window: pictures, pages and turntables of events, with the hits behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from numpy.typing import NDArray

from pointae.errors import UsageError
from pointae.file_names import beside
from pointae.terminal import progress
from visual.pages.events import write_page
from visual.pictures.events import draw_event, save_picture
from visual.pictures.moving import FRAMES, turns, write_gif, write_mp4, write_pixels
from visual.scene.layers import Scene, check_event
from visual.scene.look import Look
from visual.scene.source import EventSource

KINDS = ("png", "html")
MAX_PICTURES = 8
"""Events drawn where nobody said how many."""
DRAWN_BY = {
    "files": "visual.pictures.events",
    "open3d": "visual.windows.open3d_view",
    "pyvista": "visual.windows.pyvista_view",
}
"""Modules whose ``frames(scene, turns)`` draws an event from several sides."""
MOVING = {".gif": write_gif, ".mp4": write_mp4}


def write_pictures(
    source: EventSource,
    folder: str | Path | None = None,
    events: Sequence[int] | None = None,
    kinds: Sequence[str] = KINDS,
    look: Look | None = None,
) -> list[Path]:
    """Draw events into a folder, with the hits that were drawn beside them.

    Args:
        source: B events; layers by what they carry, see :func:`~visual.scene.layers.build_scene`.
        folder: ``event_<number>.png`` each, ``events.html`` and ``events.h5`` are written there, and a
            file of each stage; by default the source's own.
        events: numbers of the events, in [0, B); by default the first eight.
        kinds: any of ``"png"`` and ``"html"``.
        look: where the score is cut, which times are shown, what colours mean, in which units.

    Returns:
        The pictures, the page last.

    Raises:
        UsageError: no event of that number.
        StorageError: the folder cannot be written.
    """
    folder = Path(source.folder if folder is None else folder)
    chosen = list(range(min(len(source), MAX_PICTURES)) if events is None else events)
    for event in chosen:
        check_event(event, len(source), source.title)
    scenes = [source.scene(event, look) for event in chosen]
    source.save(folder, chosen)
    paths = []
    with progress("drawing events", len(chosen) if "png" in kinds else 0) as advance:
        for event, scene in zip(chosen, scenes, strict=True):
            if "png" in kinds:
                advance(0, f"event_{event}.png")
                paths.append(save_picture(draw_event(scene), folder / f"event_{event}.png"))
                advance(1, "")
    if "html" in kinds:
        paths.append(write_page(scenes, folder / "events.html"))
    return paths


def save_view(
    source: EventSource,
    path: str | Path,
    events: Sequence[int],
    engine: str = "files",
    look: Look | None = None,
    draw: Callable[[Path], Path] | None = None,
) -> Path:
    """Draw into one file whose ending says what: ``.png``, ``.html``, or a turntable as ``.gif`` or ``.mp4``.

    The hits that were drawn are written to ``<name>_hits`` beside it: :func:`~visual.scene.source.open_events`
    of that folder, or ``tools/view.py`` with it, draws them again.

    Args:
        source: the events.
        path: of the file.
        events: their numbers; only a page shows more than the first.
        engine: who draws pictures and turntables, one of :data:`DRAWN_BY`.
        look: where the score is cut, which times are shown, what colours mean, in which units.
        draw: writes the picture instead of the view of the event, e.g. panels.

    Raises:
        ComponentError: the engine, or what writes an MP4, cannot be used here.
        UsageError: no event of that number, or another ending.
        StorageError: it cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".png", ".html", *MOVING) or (draw is not None and ending != ".png"):
        wanted = ".png" if draw is not None else ".png, .html, .gif or .mp4"
        raise UsageError(f"cannot save a view as '{path.name}'", fix=f"end its name with {wanted}")
    chosen = events if ending == ".html" else events[:1]
    scenes = [source.scene(event, look) for event in chosen]
    written = draw(path) if draw is not None else _write(scenes, path, engine)
    source.save(beside(path, "_hits"), chosen)
    return written


def _write(scenes: Sequence[Scene], path: Path, engine: str) -> Path:
    ending = path.suffix.lower()
    if ending == ".html":
        return write_page(scenes, path)
    if ending == ".png" and engine == "files":
        return save_picture(draw_event(scenes[0]), path)
    if ending == ".png":
        return write_pixels(next(_frames(engine, scenes[0], [0.0])), path)
    with progress(f"turning {path.name}", FRAMES) as advance:

        def told() -> Iterator[NDArray]:
            for pixels in _frames(engine, scenes[0], turns()):
                advance(1, "")
                yield pixels

        return MOVING[ending](told(), path)


def _frames(engine: str, scene: Scene, angles: Sequence[float]) -> Iterator[NDArray]:
    return import_module(DRAWN_BY[engine]).frames(scene, angles)

"""Panels of one event side by side: what a detector did to it, what a network made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pointae.errors import DataError, unknown_name
from visual.pictures.events import draw_panels, save_picture
from visual.scene.layers import Scene
from visual.scene.look import Look, decided
from visual.scene.source import EventSource

GRIDS = {
    "before-after": ("input", "masked output"),
    "degradation": ("full pattern", "thinned", "smeared", "input"),
    "output": ("input", "masked output", "direct output", "oracle"),
    "pipeline": ("true signal", "input", "score", "masked output"),
}
"""Panels of each grid; those that the events have nothing for are left out."""


def write_panels(source: EventSource, event: int, grid: str, path: str | Path, look: Look | None = None) -> Path:
    """Draw one event as the panels of a grid, each in space with its bird's-eye view below.

    Args:
        source: the events.
        event: which one, from 0.
        grid: a name in :data:`GRIDS`.
        path: of the PNG.
        look: where the score is cut, which times are shown, what colours mean, in which units.

    Raises:
        ConfigError: no such grid.
        DataError: the events have fewer than two of its panels.
        UsageError: no event of that number.
        StorageError: the picture cannot be written.
    """
    whole = source.scene(event, look)
    return save_picture(draw_panels(panels_of(source, event, grid, look), whole.title, whole.caption), Path(path))


def panels_of(source: EventSource, event: int, grid: str, look: Look | None = None) -> list[tuple[str, Scene]]:
    """Name and scene of each panel of a grid that the events have something for; see :func:`write_panels`."""
    if grid not in GRIDS:
        raise unknown_name("grid", grid, GRIDS)
    look = look or Look()
    made = {name: PANELS[name](source, event, look) for name in GRIDS[grid]}
    found = [(name, scene) for name, scene in made.items() if scene is not None]
    if len(found) < 2:
        lacking = [name for name, scene in made.items() if scene is None]
        raise DataError(
            f"the grid '{grid}' needs more than these hits hold: no {', no '.join(lacking)}",
            fix="a decision comes from tools/denoise.py, the stages of a run from tools/evaluate.py",
        )
    return found


def _input(source: EventSource, event: int, look: Look) -> Scene | None:
    return EventSource(source.hits.replace(kept=None)).scene(event, look.with_(threshold=None))


def _true_signal(source: EventSource, event: int, look: Look) -> Scene | None:
    signal = source.hits.signal
    return None if signal is None else _input(EventSource(source.hits.select(signal)), event, look)


def _score(source: EventSource, event: int, look: Look) -> Scene | None:
    if source.hits.score is None:
        return None
    unlabelled = source.hits.replace(kept=None, signal=None)
    return EventSource(unlabelled).scene(event, look.with_(threshold=None, colour_by="score"))


def _masked(source: EventSource, event: int, look: Look) -> Scene | None:
    hits = decided(source.hits, look.threshold)
    return None if hits.kept is None else _input(EventSource(hits.select(hits.kept)), event, look)


def _oracle(source: EventSource, event: int, look: Look) -> Scene | None:
    hits = source.stages.get("oracle")
    if hits is None or hits.kept is None:
        return None
    return _input(EventSource(hits.select(hits.kept)), event, look)


def _overlay(name: str) -> Callable[[EventSource, int, Look], Scene | None]:
    def draw(source: EventSource, event: int, look: Look) -> Scene | None:
        return source.scene(event, look).only([name]) if name in source.stages else None

    return draw


PANELS: dict[str, Callable[[EventSource, int, Look], Scene | None]] = {
    "input": _input,
    "true signal": _true_signal,
    "score": _score,
    "masked output": _masked,
    "oracle": _oracle,
    "direct output": _overlay("reconstructed"),
    **{name: _overlay(name) for name in ("full pattern", "thinned", "smeared")},
}
"""What each panel shows of an event; ``None`` where the events have nothing for it."""

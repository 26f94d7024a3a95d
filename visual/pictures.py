"""Views that need no window: a PNG an event, one page for all, and the hits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io import write_hits
from visual.html_view import write_page
from visual.scene import build_scene, check_event
from visual.source import EventSource
from visual.static_view import draw_before_after, draw_event, save_picture

KINDS = ("png", "html")
MAX_PICTURES = 8
"""Events drawn where nobody said how many."""


def write_pictures(
    hits: HitBatch,
    folder: str | Path,
    events: Sequence[int] | None = None,
    full: HitBatch | None = None,
    title: str = "",
    kinds: Sequence[str] = KINDS,
) -> list[Path]:
    """Draw events into a folder, with the hits that were drawn beside them.

    Args:
        hits: B events; layers by what they carry, see :func:`~visual.scene.build_scene`.
        folder: ``event_<number>.png`` each, ``events.html`` and ``events.h5`` are written there, and
            ``full.h5`` where full patterns are given.
        events: numbers of the events, in [0, B); by default the first eight.
        full: the full patterns of the same B events.
        title: where the events are from.
        kinds: any of ``"png"`` and ``"html"``.

    Returns:
        The pictures, the page last.

    Raises:
        UsageError: no event of that number.
        StorageError: the folder cannot be written.
    """
    folder = Path(folder)
    chosen = list(range(min(hits.batch_size, MAX_PICTURES)) if events is None else events)
    for event in chosen:
        check_event(event, hits.batch_size)
    source = EventSource(hits, title, folder, full)
    scenes = [source.scene(event) for event in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    write_hits(folder / "events.h5", hits.events(chosen))
    if full is not None:
        write_hits(folder / "full.h5", full.events(chosen))
    paths = []
    if "png" in kinds:
        for event, scene in zip(chosen, scenes, strict=True):
            paths.append(save_picture(draw_event(scene), folder / f"event_{event}.png"))
    if "html" in kinds:
        paths.append(write_page(scenes, folder / "events.html"))
    return paths


def write_before_after(hits: HitBatch, event: int, path: str | Path, title: str = "") -> Path:
    """Draw one event as measured beside the same event as cleaned.

    Args:
        hits: B events with ``kept``.
        event: which one, in [0, B).
        path: of the PNG.
        title: where the event is from.

    Raises:
        DataError: the hits carry no decision.
        UsageError: no event of that number.
        StorageError: the picture cannot be written.
    """
    decided = build_scene(hits, event, title=title)
    if hits.kept is None:
        raise DataError("the hits carry no decision 'kept': there is no after", fix="denoise them first")
    before = build_scene(hits.replace(kept=None), event, title=title)
    after = build_scene(hits.select(hits.kept).replace(kept=None), event, title=title)
    return save_picture(draw_before_after(before, after, decided.caption), Path(path))

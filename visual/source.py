"""Events to look at: from a run's predictions or from any hits file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pointae.hits import HitBatch
from pointae.io import read_hits
from pointae.runs import RunDirectory
from visual.scene import Scene, build_scene


@dataclass(frozen=True, eq=False)
class EventSource:
    """B events that scenes are made of when they are asked for.

    Args:
        hits: B events.
        title: where they are from.
        folder: where pictures of them are written by default.
        full: the full patterns of the same events.
    """

    hits: HitBatch
    title: str = ""
    folder: Path = Path("views")
    full: HitBatch | None = None

    def __len__(self) -> int:
        return self.hits.batch_size

    def scene(self, event: int) -> Scene:
        """The scene of one event; see :func:`visual.scene.build_scene`."""
        return build_scene(self.hits, event, self.full, self.title)


def open_events(path: str | Path) -> EventSource:
    """The events of a run (a folder, or the file ``latest`` that names one) or of a hits file or folder of images.

    Raises:
        CheckpointError: no run there, or one without predictions.
        DataError: a file that cannot be read as hits.
    """
    path = Path(path)
    images = path.is_dir() and next(path.rglob("*.npy"), None) is not None
    if not images and (path.is_dir() or not path.suffix):
        return _of_run(path)
    return EventSource(read_hits(path), path.name, path.parent / f"{path.stem}_views")


def _of_run(path: Path) -> EventSource:
    run = RunDirectory.open(path)
    hits = read_hits(run.predictions("events"))
    full = run.predictions_path("full")
    return EventSource(hits, run.name, run.views, read_hits(full) if full.is_file() else None)

"""Events to look at: from a run's predictions, from any hits file, or from the hits beside a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pointae.file_names import beside
from pointae.hits import HitBatch
from pointae.io import read_hits, write_hits
from pointae.io.options import ReadOptions
from pointae.runs import RunDirectory
from visual.scene.layers import OVERLAYS, Scene, build_scene
from visual.scene.look import Look

EVENTS = "events"
"""Name of the file of measured hits among those of the stages."""
STAGE_FILES = {name: "full" if name == "full pattern" else name for name in OVERLAYS}
"""The same events at other stages are kept in files of these names."""


@dataclass(frozen=True, eq=False)
class EventSource:
    """B events that scenes are made of when they are asked for.

    Args:
        hits: B events.
        title: where they are from.
        folder: where pictures of them are written by default.
        stages: the same events at other stages, by the names of :data:`~visual.scene.layers.OVERLAYS`.
        notes: what to know of the run that they are from.
    """

    hits: HitBatch
    title: str = ""
    folder: Path = Path("views")
    stages: Mapping[str, HitBatch] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.hits.batch_size

    def scene(self, event: int, look: Look | None = None) -> Scene:
        """The scene of one event; see :func:`visual.scene.layers.build_scene`."""
        return build_scene(self.hits, event, self.stages, self.title, look)

    def save(self, folder: Path, events: Sequence[int]) -> None:
        """Write the hits of some events and their stages; :func:`open_events` of the folder reads them back.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, stage in self.stages.items():
            write_hits(folder / f"{STAGE_FILES[name]}.h5", stage.events(events))
        # Last, so that whoever finds it finds the others too.
        write_hits(folder / f"{EVENTS}.h5", self.hits.events(events))


def open_events(path: str | Path, reading: ReadOptions | None = None) -> EventSource:
    """The events of a run, of a hits file or folder of images, or of the hits beside a picture.

    Args:
        path: a run's folder, or the file ``latest`` that names one; a folder that holds
            ``events.h5``, with stages beside it; or any readable file of hits.
        reading: how a file is read that pointae did not keep for viewing.

    Raises:
        CheckpointError: no run there, or one without predictions.
        DataError: a file that cannot be read as hits.
    """
    path = Path(path)
    if (path / f"{EVENTS}.h5").is_file():
        stages = {name: path / f"{file}.h5" for name, file in STAGE_FILES.items()}
        return EventSource(read_hits(path / f"{EVENTS}.h5"), path.name, path, _read(stages))
    if (path.is_dir() and not _holds_images(path)) or (not path.is_dir() and not path.suffix):
        return _of_run(path)
    return EventSource(read_hits(path, **vars(reading or ReadOptions())), path.name, beside(path, "_views"))


def _holds_images(folder: Path) -> bool:
    """Whether it is a folder of hits, as DeepClean3D's, and no run."""
    if (folder / "config.yaml").exists():
        return False
    return any(next(folder.glob(f"{place}*.{ending}"), None) for place in ("", "Data/") for ending in ("npy", "pt"))


def _of_run(path: Path) -> EventSource:
    run = RunDirectory.open(path)
    hits = read_hits(run.predictions(EVENTS))
    stages = {name: run.predictions_path(file) for name, file in STAGE_FILES.items()}
    return EventSource(hits, run.name, run.views, _read(stages), tuple(filter(None, [run.standing])))


def _read(stages: Mapping[str, Path]) -> dict[str, HitBatch]:
    return {name: read_hits(path) for name, path in stages.items() if path.is_file()}

"""Folders of images with embedded time of flight: one ``.npy`` an event, or ``.pt`` bundles.

Files lie in the folder itself or in its ``Data/``; ``Labels_Sparse/`` beside it, or ``Labels/``,
holds files of the same names with the signal alone: a hit is signal if it is there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pointae.errors import DataError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.images import pixel_values
from pointae.io.assembly import Assembler
from pointae.io.boundary import look, reading
from pointae.io.deepclean3d import EVENTS, fields_lost, grid_of, hits_of, read_bundle
from pointae.io.image_file import read_image, write_image
from pointae.io.output import WriteReport
from pointae.replacing import sync

DATA, LABELS = "Data", ("Labels_Sparse", "Labels")
READERS = {".npy": (read_image, b"\x93NUMPY"), ".pt": (read_bundle, b"PK\x03\x04")}


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a folder, ordered by the numbers in the file names."""
    return HitBatch.concat(list(_pieces(path, EVENTS, assembler)))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a folder, ``events_per_block`` at a time."""
    waiting: list[HitBatch] = []
    for piece in _pieces(path, events_per_block, assembler):
        waiting.append(piece)
        while sum(hits.batch_size for hits in waiting) > events_per_block:
            joined = HitBatch.concat(waiting)
            yield joined.events(slice(0, events_per_block))
            waiting = [joined.events(slice(events_per_block, None))]
    yield HitBatch.concat(waiting)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """What the folder holds; the grid along t is not in it."""
    labels = _labels(path)
    return {"format": "images", "files": len(_files(path)), "labels": labels.name if labels else None}


def _pieces(path: Path, events: int, assembler: Assembler) -> Iterator[HitBatch]:
    labels, files = _labels(path), _files(path)
    if labels is not None:
        missing = sorted({file.name for file in files} ^ {file.name for file in labels.iterdir()})
        if missing:
            told = f"{DATA} and {labels.name} hold different files, e.g. {missing[0]}"
            raise DataError(told, fix="both must have the same names")
    for file in files:
        images = _images(file)
        truth = None if labels is None else _images(labels / file.name)
        with reading(file, "images"):
            geometry = grid_of(images, assembler)
            for at in range(0, max(len(images), 1), events):
                some = slice(at, at + events)
                yield _labelled(images[some], None if truth is None else truth[some], geometry, file, at)


def _labelled(images: Tensor, truth: Tensor | None, geometry: DetectorGeometry, file: Path, at: int) -> HitBatch:
    hits = hits_of(images, geometry, at)
    if file.suffix == ".npy":
        hits = hits.replace(event_id=(file.stem,))
    if truth is None:
        return hits
    if truth.shape != images.shape:
        raise DataError(f"has {tuple(images.shape)}, its labels {tuple(truth.shape)}")
    return hits.replace(signal=pixel_values(truth, hits) == hits.coords[:, 2] + 1)


def _images(file: Path) -> Tensor:
    reader, magic = READERS[file.suffix]
    look(file, "images", (magic,), file.suffix)
    with reading(file, "images"):
        return reader(file)


def _files(path: Path) -> list[Path]:
    folder = path / DATA if (path / DATA).is_dir() else path
    files = [file for file in folder.iterdir() if file.suffix in READERS]
    if len({file.suffix for file in files}) != 1:
        found = "both" if files else "none"
        raise DataError(f"{folder} must hold .npy or .pt files, found {found}", fix="one kind of image a folder")
    return sorted(files, key=_by_number)


def _by_number(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.stem)]


def _labels(path: Path) -> Path | None:
    return next((path / name for name in LABELS if (path / name).is_dir()), None)


class Sink:
    """Writes one file an event into ``Data/``; the signal alone, where known, into ``Labels_Sparse/``."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path = path
        path.mkdir()
        (path / DATA).mkdir()
        self._names: set[str] = set()

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next events."""
        report.fields_lost = tuple(name for name in fields_lost(hits) if name not in ("signal", "event_id"))
        if hits.signal is not None:
            (self._path / LABELS[0]).mkdir(exist_ok=True)
        for event in range(hits.batch_size):
            one, name = hits.events([event]), self._name(hits, event)
            report.hits_lost += self._write(DATA, name, one)
            if one.signal is not None:
                self._write(LABELS[0], name, one.select(one.signal))

    def _write(self, folder: str, name: str, hits: HitBatch) -> int:
        path = self._path / folder / f"{name}.npy"
        lost = write_image(path, hits)
        sync(path)
        return lost

    def _name(self, hits: HitBatch, event: int) -> str:
        ids = hits.event_id
        number = len(self._names) if ids is None or isinstance(ids, tuple) else int(ids[event])
        name = ids[event] if isinstance(ids, tuple) else f"event_{number:06d}"
        if not re.fullmatch(r"[\w][\w .+-]*", name):
            raise DataError(f"event_id '{name}' is no name for a file", fix="letters, digits, '_', '-', '+' and '.'")
        if name in self._names:
            raise DataError(f"two events are called '{name}'", fix="each file needs its own name")
        self._names.add(name)
        return name

    def close(self, complete: bool) -> None:
        """Make the names of the files last."""
        if complete:
            for folder in self._path.iterdir():
                sync(folder)

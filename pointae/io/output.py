"""Writing in blocks: a file appears under its name only when it is whole and on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pointae.errors import DataError, StorageError, UsageError
from pointae.geometry import differences_of
from pointae.hits import HitBatch
from pointae.io.boundary import writing
from pointae.replacing import Replacement, sync


@dataclass
class WriteReport:
    """What a file holds, and what its format could not hold.

    Args:
        path: of the file.
        events, hits: written.
        hits_lost: hits that share a pixel with a later one (images hold one hit a pixel).
        events_lost: events without hits (a table of hits has no row for them).
        fields_lost: fields for which the format has no place.
    """

    path: Path
    events: int = 0
    hits: int = 0
    hits_lost: int = 0
    events_lost: int = 0
    fields_lost: tuple[str, ...] = ()

    @property
    def losses(self) -> str:
        """What the format could not hold, in words; empty if it holds all."""
        told = []
        if self.hits_lost:
            told.append(f"{self.hits_lost} hits that share a pixel are lost")
        if self.events_lost:
            told.append(f"{self.events_lost} events without hits are lost")
        if self.fields_lost:
            told.append(f"not kept in this format: {', '.join(self.fields_lost)}")
        return "; ".join(told)

    def __str__(self) -> str:
        told = f"{self.path}: {self.events} events, {self.hits} hits"
        return f"{told}; {self.losses}" if self.losses else told


class Sink(Protocol):
    """What a format does to write: told blocks of events in order, then closed."""

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Take the next events; enter what the format cannot hold into the report."""

    def close(self, complete: bool) -> None:
        """Finish the file, or just let go of it where ``complete`` is false."""


MakeSink = Callable[[Path, Mapping[str, Any]], Sink]


class HitWriter:
    """Writes hits block by block; a context manager.

    The file replaces any older one at the end, in one step. After a failure inside the ``with``
    nothing is left of it and the older one is as it was. A link is followed: what it leads to is replaced.

    Args:
        path: of the file.
        make_sink: what writes the format.
        attributes: settings to keep with the hits, where the format has a place for them.
        kept_only: write only the hits that a model kept.
    """

    def __init__(self, path: Path, make_sink: MakeSink, attributes: Mapping[str, Any] | None, kept_only: bool) -> None:
        self.report = WriteReport(path)
        self._path, self._make_sink = path, make_sink
        self._attributes, self._kept_only = dict(attributes or {}), kept_only
        self._kind: tuple[object, ...] | None = None

    def __enter__(self) -> HitWriter:
        with writing(self._path):
            if self._path.is_dir():
                raise UsageError("is a folder that exists already", fix="choose another name or remove it")
            if not self._path.parent.is_dir():
                raise StorageError(f"folder {self._path.parent} does not exist", fix="make it first")
            self._whole = Replacement(self._path)
            try:
                self._sink = self._make_sink(self._whole.temporary, self._attributes)
            except BaseException:
                self._whole.drop()
                raise
        return self

    def append(self, hits: HitBatch) -> None:
        """Write the next events.

        Raises:
            DataError: hits of another grid or with other fields than before.
            UsageError: only kept hits are wanted and none are marked.
            StorageError: the disk is full, ...
        """
        with writing(self._path):
            if self._kept_only:
                if hits.kept is None:
                    raise UsageError("no hit is marked as kept or not", fix="denoise first, or write all hits")
                hits = hits.select(hits.kept)
            self._check_kind(hits)
            self._sink.append(hits, self.report)
        self.report.events += hits.batch_size
        self.report.hits += hits.num_hits

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = error is None and self._kind is not None
        try:
            with writing(self._path):
                self._sink.close(complete)
                if error is None and not complete:
                    raise DataError("nothing was given to write", fix="append at least one batch, if need be empty")
                if complete:
                    sync(self._whole.temporary)
                    self._whole.keep()
        finally:
            self._whole.drop()
        self.report.hits -= self.report.hits_lost
        self.report.events -= self.report.events_lost

    def _check_kind(self, hits: HitBatch) -> None:
        ids, timed = type(hits.event_id).__name__, hits.event_time_ns is not None
        kind = (hits.geometry, hits.feature_names, tuple(hits.present), ids, timed)
        if self._kind is None:
            self._kind, self._grid = kind, hits.geometry
        elif self._kind != kind:
            told = [
                f": {what} {here}, not {before}" for what, here, before in differences_of(hits.geometry, self._grid)
            ]
            raise DataError(f"the blocks of one file must have the same grid and the same fields{''.join(told)}")

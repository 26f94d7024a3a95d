"""Hits written as a table of comma-separated values; :mod:`pointae.io.csv_table` reads it back."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.output import WriteReport
from pointae.io.table import COORDS, TIME


class Sink:
    """Writes rows as they come; puts them in the order of ``hit_id`` at the end, if that was a table's."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._file = open(path, "x+", encoding="utf-8", newline="")  # noqa: SIM115  # closed by close()
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._last_id, self._last_first, self._in_order, self._sortable = -1 << 63, -1 << 63, True, True

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next events."""
        columns = _written(hits, report.events)
        if not self._file.tell():
            self._writer.writerow(columns)
        self._writer.writerows(zip(*columns.values(), strict=True))
        report.events_lost += int((hits.counts == 0).sum())
        self._note_order(hits)

    def _note_order(self, hits: HitBatch) -> None:
        if hits.hit_id is None or not hits.num_hits:
            return
        steps = hits.hit_id.diff()
        inside = hits.batch[1:] == hits.batch[:-1]
        self._in_order &= bool((steps > 0).all()) and int(hits.hit_id[0]) > self._last_id
        self._sortable &= bool((steps[inside] > 0).all()) and len(hits.hit_id.unique()) == hits.num_hits
        self._last_id = int(hits.hit_id[-1])
        # A table gives its events in the order of their first rows: other ids are not those of rows.
        firsts = hits.hit_id[hits.offsets[:-1][hits.counts > 0]]
        self._sortable &= bool((firsts.diff() > 0).all()) and int(firsts[0]) > self._last_first
        self._last_first = int(firsts[-1])

    def close(self, complete: bool) -> None:
        """Close the file."""
        with self._file:
            if complete and self._sortable and not self._in_order:
                self._restore_order()

    def _restore_order(self) -> None:
        """Rows of scattered events go back to where they were; rows of whole events stay where they are.

        Such a table was in memory as a whole when it was read, so it may be here too.
        """
        self._file.seek(0)
        header, *lines = self._file.read().rstrip("\n").split("\n")
        rows = list(csv.reader(lines))
        ids = np.array([int(row[header_of(header).index("hit_id")]) for row in rows])
        order = np.argsort(ids, kind="stable")
        labels = [rows[i][0] for i in order]
        if (np.diff(ids[order]) > 0).all() and sum(1 for _ in groupby(labels)) > len(set(labels)):
            self._file.seek(0)
            self._file.write("\n".join([header, *(lines[i] for i in order), ""]))


def header_of(line: str) -> list[str]:
    """Names of the columns in the first line of a table."""
    return [name.strip() for name in next(csv.reader([line]), [])]


def _written(hits: HitBatch, first: int) -> dict[str, list[Any]]:
    """The columns of a table, by name; events without an id are numbered from ``first``."""
    numbers = range(first, first + hits.batch_size) if hits.event_id is None else hits.event_id
    ids = numbers.tolist() if isinstance(numbers, Tensor) else list(numbers)
    if any(isinstance(label, str) and set(label) & set("\r\n") for label in ids):
        raise DataError("an event_id with a line break has no place in a table", fix="write .h5 instead")
    batch = hits.batch.tolist()
    columns: dict[str, list[Any]] = {"event": [ids[event] for event in batch]}
    columns |= {name: hits.coords[:, i].tolist() for i, name in enumerate(COORDS)}
    for name, values in hits.present.items():
        columns[name] = _texts_of(values) if values.is_floating_point() else values.to(torch.int64).tolist()
    for i, name in enumerate(hits.feature_names):
        columns[name] = _texts_of(hits.features[:, i])
    if hits.event_time_ns is not None:
        columns[TIME] = hits.event_time_ns[hits.batch].tolist()
    return columns


def _texts_of(values: Tensor) -> list[str]:
    """The shortest decimals that give the same float32."""
    return values.numpy().astype(np.str_).tolist()

"""Hits written as a table of comma-separated values; :mod:`pointae.io.csv_table` reads it back."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointae.carried import texts_of
from pointae.csv_text import csv_writer
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.output import WriteReport
from pointae.io.table import COORDS, TIME, in_order


class Sink:
    """Writes rows as they come; those that were scattered over a table go back to their order at the end."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._file = open(path, "x+", encoding="utf-8", newline="")  # noqa: SIM115  # closed by close()
        self._writer = csv_writer(self._file.write)
        self._places: list[NDArray[np.int64]] = []

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next events."""
        columns = in_order(hits, _written(hits, report.events), texts_of)
        if not self._file.tell():
            self._writer.writerow([name for _, name, _ in columns])
        self._writer.writerows(zip(*(values for _, _, values in columns), strict=True))
        report.events_lost += int((hits.counts == 0).sum())
        if hits.carried is not None and hits.carried.places is not None:
            self._places.append(hits.carried.places)

    def close(self, complete: bool) -> None:
        """Close the file."""
        with self._file:
            if complete and self._places:
                # Such a table was in memory as a whole when it was read, so it may be here too.
                self._file.seek(0)
                header, *rows = csv.reader(self._file)
                self._file.seek(0)
                self._writer.writerow(header)
                self._writer.writerows(rows[i] for i in np.argsort(np.concatenate(self._places), kind="stable"))


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

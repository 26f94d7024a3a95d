"""Hits as a Parquet table: one row a hit, columns event, x, y, t and what else there is (extra ``parquet``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.assembly import FIELD_DTYPES, Array, Assembler, Columns, as_field, real_numbers, whole_numbers
from pointae.io.boundary import bounded
from pointae.io.native import attributes_of, stated_geometry
from pointae.io.output import WriteReport
from pointae.io.table import COORDS, TIME, feature_columns, grouped_by_event, our_names
from pointae.optional import require

METADATA = b"pointae"
"""Key of the file's metadata under which the attributes of native files are kept, as JSON."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a table; ``hit_id`` is the row's number where the table has none."""
    with _opened(path) as file:
        header = file.schema_arrow.names
        names = our_names(header, assembler.options)
        rows = file.metadata.num_rows
        bounded({name: 8 * rows for name in names}, path)
        table = file.read()
    columns = {name: _array(table.column(i), name) for i, name in enumerate(names)}
    features = feature_columns(names)
    values = {name: _converted(name, column) for name, column in columns.items() if name != "event"}
    values.setdefault("hit_id", np.arange(rows))
    codes, event_id = _events(columns["event"])
    told: Columns = grouped_by_event(codes, event_id, values, features, -1 if assembler.skips else None)
    told.geometry = stated_geometry(attributes(path, assembler))
    return assembler.hits(told)


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a table, ``events_per_block`` at a time; the whole is read first."""
    hits = read(path, assembler)
    for first in range(0, max(hits.batch_size, 1), events_per_block):
        yield hits.events(slice(first, first + events_per_block))


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The attributes of a file that pointae wrote; of others the names of the columns, they state no grid."""
    with _opened(path) as file:
        text = (file.schema_arrow.metadata or {}).get(METADATA)
        if text is None:
            return {"format": "parquet", "columns": file.schema_arrow.names}
    stored = json.loads(text)
    if not isinstance(stored, dict):
        raise DataError("its metadata 'pointae' must be a JSON object of names and values")
    return stored


def _opened(path: Path) -> Any:
    return require("pyarrow.parquet", extra="parquet").ParquetFile(path)


def _array(column: Any, name: str) -> Array:
    """A column as NumPy has it; strings and whatever is no number become objects."""
    if column.null_count:
        raise DataError(f"{name} is empty in {column.null_count} of {len(column)} rows", fix="fill or drop these rows")
    return np.require(column.to_numpy(), requirements="W")  # tensors share its memory


def _converted(name: str, values: Array) -> Array:
    if name in COORDS:
        return whole_numbers(values, name, np.int64)
    if name in FIELD_DTYPES:
        return as_field(values, name)
    return real_numbers(values, name, np.float64 if name == TIME else np.float32)


def _events(labels: Array) -> tuple[Array, Array | list[str]]:
    """(N,) number of each row's event by first appearance, and what the events are called, numbers or strings."""
    if labels.dtype.kind != "O":
        labels = whole_numbers(labels, "event", np.int64)
    elif not all(isinstance(label, str) for label in labels):
        raise DataError("event must be whole numbers or strings")
    called, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ordered = called[order]
    return place[codes], ordered.tolist() if labels.dtype.kind == "O" else ordered


class Sink:
    """Writes the rows of each block as they come."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path, self._attributes = path, attributes
        self._writer: Any = None

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next events; one without hits has no row."""
        arrow, parquet = require("pyarrow", extra="parquet"), require("pyarrow.parquet", extra="parquet")
        table = arrow.table(_written(hits, report.events))
        if self._writer is None:
            told = json.dumps(attributes_of(hits, self._attributes))
            schema = table.schema.with_metadata({METADATA: told})
            self._writer = parquet.ParquetWriter(self._path, schema)
        self._writer.write_table(table.cast(self._writer.schema))
        report.events_lost += int((hits.counts == 0).sum())

    def close(self, complete: bool) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


def _written(hits: HitBatch, first: int) -> dict[str, Any]:
    """The columns of a table, by name; events without an id are numbered from ``first``."""
    batch = hits.batch.cpu().numpy()
    ids = np.arange(first, first + hits.batch_size) if hits.event_id is None else hits.event_id
    label = [ids[event] for event in batch.tolist()] if isinstance(ids, tuple) else np.asarray(ids)[batch]
    if isinstance(ids, tuple) and not label:
        label = np.array([], np.str_)
    coords, features = hits.coords.cpu().numpy(), hits.features.cpu().numpy()
    columns: dict[str, Any] = {"event": label}
    columns |= {name: coords[:, i] for i, name in enumerate(COORDS)}
    columns |= {name: value.cpu().numpy() for name, value in hits.present.items()}
    columns |= {name: features[:, i] for i, name in enumerate(hits.feature_names)}
    if hits.event_time_ns is not None:
        columns[TIME] = hits.event_time_ns.cpu().numpy()[batch]
    return columns

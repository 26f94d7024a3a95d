"""Hits as a Parquet table: one row a hit, columns event, x, y, t and what else there is (extra ``parquet``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pointae.carried import USERS, Carried, texts_of
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.assembly import Array, Assembler, Columns, as_field, real_numbers, whole_numbers
from pointae.io.boundary import FREE_BYTES, bounded, bytes_held, most_unpacked
from pointae.io.native import attributes_from_json, attributes_of, stated_geometry
from pointae.io.options import ReadOptions
from pointae.io.output import WriteReport
from pointae.io.table import COORDS, TIME, Header, constant_within, grouped_by_event, in_order, understood
from pointae.optional import require

METADATA = b"pointae"
"""Key of the file's metadata under which the attributes of native files are kept, as JSON."""
CARRIED_BYTES = 1 << 30
"""The user's columns of fixed width may take so much memory, or as much as any file may unpack to."""
TEXT = "BYTE_ARRAY"


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a table; ``hit_id`` is the row's number where the table has none."""
    stated = attributes(path, assembler)
    table = _Table(path, _with_declared(assembler.options, stated))
    fields = {name: table.array(name, place) for name, place in table.header.fields.items() if place not in table.ids}
    values = {name: _converted(name, column) for name, column in fields.items()}
    values.setdefault("hit_id", np.arange(table.rows))
    features = {name: table.array(name, place) for name, place in table.header.features.items()}
    codes, event_id = _events(table.column("event", table.header.fields["event"]))
    calls = False
    if "event_id" in table.header.fields:
        ids, called = _events(table.column("event_id", table.header.fields["event_id"]))
        if calls := constant_within(codes, ids):
            first = np.unique(codes, return_index=True)[1]
            event_id = [called[at] for at in ids[first]] if isinstance(called, list) else called[ids[first]]
    carried = table.carried(calls) if assembler.options.carry else None
    told: Columns = grouped_by_event(codes, event_id, values, features, carried, assembler.instead)
    told.geometry = stated_geometry(stated)
    return assembler.hits(told)


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a table, ``events_per_block`` at a time; the whole is read first."""
    yield from read(path, assembler).in_blocks(events_per_block)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The attributes of a file that pointae wrote; of others the names of the columns, they state no grid."""
    schema = _opened(path).schema_arrow
    text = (schema.metadata or {}).get(METADATA)
    if text is None:
        return {"format": "parquet", "columns": schema.names}
    return attributes_from_json(text, "its metadata 'pointae'")


def users(path: Path, assembler: Assembler) -> list[str]:
    """Names of the user's own columns."""
    options = _with_declared(assembler.options, attributes(path, assembler))
    return understood(_opened(path).schema_arrow.names, options).names_of_users


def _with_declared(options: ReadOptions, stated: Mapping[str, Any]) -> ReadOptions:
    """The options with the features that a file of pointae's declares."""
    declared = stated.get("feature_names", []) if stated.get("format") != "parquet" else []
    return replace(options, features=tuple(dict.fromkeys([*map(str, declared), *options.features])))


def _opened(path: Path, texts_as_codes: Sequence[str] = ()) -> Any:
    return require("pyarrow.parquet", extra="parquet").ParquetFile(path, read_dictionary=list(texts_as_codes) or None)


class _Table:
    """A file whose columns are read when they are asked for, once what they take is known."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path, self._file = path, _opened(path)
        self._schema, metadata = self._file.schema_arrow, self._file.metadata
        self.rows = metadata.num_rows
        self.header: Header = understood(self._schema.names, options)
        self.ids = [self.header.fields[name] for name in ("event", "event_id") if name in self.header.fields]
        # Numbers of the leaves of each column: one, but for lists and structures.
        ends = np.cumsum([0, *(_leaves(field.type) for field in self._schema)])
        self._leaves = [range(first, last) for first, last in pairwise(ends)]
        taken = sorted({*self.header.fields.values(), *self.header.features.values()})
        bounded({self._schema.names[place]: self._size(place) for place in taken}, path)

    def column(self, name: str, place: int) -> Any:
        """A column without empty places; texts as codes of different ones."""
        found = self._read([place], as_codes=self._has_texts(place)).column(0)
        if found.null_count:
            told = f"{name} is empty in {found.null_count} of {len(found)} rows"
            raise DataError(told, fix="fill or drop these rows")
        return found

    def array(self, name: str, place: int) -> Array:
        """A column of numbers as NumPy has it; whatever is no number becomes objects."""
        kind = self._schema.types[place]
        if require("pyarrow", extra="parquet").types.is_nested(kind):
            told = f"{name} holds {kind}, where each row must be a hit"
            raise DataError(told, fix="one row a hit: pandas.DataFrame.explode takes lists apart")
        return np.require(self.column(name, place).to_numpy(), requirements="W")  # tensors share its memory

    def carried(self, ids_are_events: bool) -> Carried:
        """The user's columns, of Arrow's types."""
        layout = self.header.layout(ids_are_events)
        places = [place for place, (ours, _) in enumerate(layout) if ours == USERS]
        self._refuse_above(CARRIED_BYTES, {place: self._size(place) for place in places})
        texts = [place for place in places if self._has_texts(place)]
        unpacked = {place: _bytes_of(self._read([place], as_codes=True).column(0)) for place in texts}
        self._refuse_above(FREE_BYTES, unpacked)
        return Carried(layout, tuple(self._read(places).columns))

    def _refuse_above(self, free: int, sizes: Mapping[int, int]) -> None:
        if sum(sizes.values()) > most_unpacked(self._path, free):
            place = max(sizes, key=lambda key: sizes[key])
            raise DataError(
                f"column '{self._schema.names[place]}' unpacks to {sizes[place]:,} bytes, the file has "
                f"{bytes_held(self._path):,}",
                fix="leave the column out: it is none of hits",
            )

    def _read(self, places: Sequence[int], as_codes: bool = False) -> Any:
        names = [self._file.metadata.schema.column(leaf).path for place in places for leaf in self._leaves[place]]
        file = _opened(self._path, names) if as_codes else self._file
        return file.read(columns=names)

    def _size(self, place: int) -> int:
        """Bytes that a column takes; of texts, once each different one is kept once."""
        file, total = self._file.metadata, 0
        for group in range(file.num_row_groups):
            for leaf in self._leaves[place]:
                chunk, width = file.row_group(group).column(leaf), file.schema.column(leaf).length
                total += max(8, width) * chunk.num_values
                total += chunk.total_uncompressed_size if chunk.physical_type == TEXT else 0
        return total

    def _has_texts(self, place: int) -> bool:
        schema = self._file.metadata.schema
        return any(schema.column(leaf).physical_type == TEXT for leaf in self._leaves[place])


def _leaves(kind: Any) -> int:
    kind = getattr(kind, "storage_type", kind)
    return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields)) if kind.num_fields else 1


def _bytes_of(values: Any) -> int:
    """Bytes of a column whose texts are read as codes, once each is written out."""
    arrow, compute = require("pyarrow", extra="parquet"), require("pyarrow.compute", extra="parquet")
    if isinstance(values, arrow.ChunkedArray):
        return sum(map(_bytes_of, values.chunks))
    if arrow.types.is_dictionary(values.type):
        lengths = compute.binary_length(values.dictionary).cast("int64")
        return compute.sum(lengths.take(values.indices)).as_py() or 0
    if arrow.types.is_struct(values.type):
        return sum(map(_bytes_of, values.flatten()))
    if arrow.types.is_map(values.type):
        return _bytes_of(values.keys) + _bytes_of(values.items)
    return _bytes_of(values.flatten()) if arrow.types.is_nested(values.type) else values.nbytes


def _converted(name: str, values: Array) -> Array:
    if name in COORDS:
        return whole_numbers(values, name, np.int64)
    return real_numbers(values, name, np.float64) if name == TIME else as_field(values, name)


def _events(labels: Any) -> tuple[Array, Array | list[str]]:
    """(N,) number of each row's event by first appearance, and what the events are called, numbers or strings."""
    arrow = require("pyarrow", extra="parquet")
    coded = arrow.types.is_dictionary(labels.type)
    kind = labels.type.value_type if coded else labels.type
    if coded and (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
        whole = labels.unify_dictionaries().combine_chunks()
        names = whole.dictionary.to_pylist() if len(whole) else []
        numbers = np.asarray(whole.indices) if len(whole) else np.empty(0, np.int64)
    elif arrow.types.is_integer(kind):
        numbers = labels.cast(kind).to_numpy()
        if len(numbers) and numbers.max() >= 1 << 63:  # a number in no format of ours, so a name
            labels = labels.cast(kind).cast("string").dictionary_encode()
            return _events(labels)
        names, numbers = None, whole_numbers(numbers, "event", np.int64)
    else:
        raise DataError(f"event must be whole numbers or strings, got {kind}")
    called, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ordered = called[order]
    return place[codes], ordered if names is None else [names[i] for i in ordered]


class Sink:
    """Writes the rows of each block as they come."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path, self._attributes = path, attributes
        self._writer: Any = None
        self._waiting: list[tuple[Array, Any]] = []

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next events; one without hits has no row."""
        arrow, parquet = require("pyarrow", extra="parquet"), require("pyarrow.parquet", extra="parquet")
        columns = in_order(hits, _written(hits, report.events), _arrow)
        values = [arrow.array(column) if isinstance(column, list | np.ndarray) else column for _, _, column in columns]
        table = arrow.Table.from_arrays(values, [name for _, name, _ in columns])
        if self._writer is None:
            told = json.dumps(attributes_of(hits, self._attributes))
            schema = table.schema.with_metadata({METADATA: told})
            self._writer = parquet.ParquetWriter(self._path, schema)
        table = table.cast(self._writer.schema)
        if hits.carried is not None and hits.carried.places is not None:
            self._waiting.append((hits.carried.places, table))
        else:
            self._writer.write_table(table)
        report.events_lost += int((hits.counts == 0).sum())

    def close(self, complete: bool) -> None:
        """Finish the file; rows that were scattered over a table go back to their order."""
        if complete and self._waiting:
            places, tables = zip(*self._waiting, strict=True)
            order = np.argsort(np.concatenate(places), kind="stable")
            self._writer.write_table(require("pyarrow", extra="parquet").concat_tables(tables).take(order))
        if self._writer is not None:
            self._writer.close()


def _arrow(values: Any) -> Any:
    """A column of the user's as Arrow has it."""
    arrow = require("pyarrow", extra="parquet")
    if not isinstance(values, np.ndarray):
        return values
    if values.ndim > 1 and values.dtype.kind in "biuf":
        inner = arrow.list_(arrow.from_numpy_dtype(values.dtype))
        return arrow.array(values.reshape(len(values), -1).tolist(), inner)
    if values.ndim > 1 or values.dtype.kind not in "biufM":
        return arrow.array(texts_of(values), arrow.string())
    return arrow.array(values)


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

"""Hits as a table of text: one row a hit, columns event, x, y, t and what else there is.

Rows of one event may be scattered. The header names the columns; those that are no field of
:class:`HitBatch` are the user's own.
"""

from __future__ import annotations

import csv
import io
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from pointae.carried import USERS, Carried
from pointae.errors import DataError, Note
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.io.assembly import FIELD_DTYPES, Array, Assembler, Columns, grid_that_holds, whole_numbers
from pointae.io.cells import ColumnKind, event_number, real, truth, whole
from pointae.io.csv_output import Sink
from pointae.io.dialect import LINE_CHARACTERS, Dialect, check_unpacked, find_dialect, with_points
from pointae.io.options import ReadOptions
from pointae.io.table import (
    COORDS,
    TIME,
    Header,
    constant_within,
    grouped_by_event,
    has_hits,
    numbered_labels,
    understood,
)

__all__ = ["Sink", "attributes", "blocks", "read", "users"]

PART_CHARACTERS = 1 << 20


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a table; ``hit_id`` is the row's number where the table has none."""
    table = _opened(path, assembler.options)
    return assembler.hits(_columns(table, list(table.parts()), None, assembler))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a table, at most ``events_per_block`` at a time.

    The table is read twice: first to see which events there are. If their rows are scattered,
    the whole is taken into memory.
    """
    table = _opened(path, assembler.options)
    survey = _Survey(table)
    if survey.scattered:
        yield from assembler.hits(_columns(table, list(table.parts()), None, assembler)).in_blocks(events_per_block)
        return
    for parts in _whole_events(table.parts(), events_per_block, assembler.options.hits_per_block or sys.maxsize):
        columns = _columns(table, parts, survey, assembler)
        columns.geometry = survey.grid
        yield assembler.hits(columns)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The names of the columns; a table states no grid."""
    dialect = find_dialect(path, lambda names: has_hits(names, assembler.options))
    return {"format": "csv", "columns": list(dialect.header)}


def users(path: Path, assembler: Assembler) -> list[str]:
    """Names of the user's own columns."""
    return _Table.of(path, assembler.options).header.names_of_users


def _opened(path: Path, options: ReadOptions) -> _Table:
    """A table whose rows may be read; what is unusual about it is noted."""
    table = _Table.of(path, options)
    if table.dialect.packed:
        check_unpacked(path)
    if table.dialect.note:
        warnings.warn(f"{path}: {table.dialect.note}", Note, stacklevel=5)
    return table


# ---- reading -----------------------------------------------------------------------------------------


@dataclass
class _Part:
    """Consecutive rows: the labels of their events, and by our names what else was asked for.

    Args:
        labels: of the rows' events, and what the column ``event_id`` says of them where there is one too.
        values: our fields.
        features: of those asked for.
        users: cells of the user's columns, and of ``event`` and ``event_id`` where both are there.
    """

    labels: Sequence[str]
    ids: Sequence[str]
    values: dict[str, Array]
    features: dict[str, Array]
    users: dict[int, Sequence[str]]

    def rows(self, first: int, last: int) -> _Part:
        at = slice(first, last)
        return _Part(
            self.labels[at],
            self.ids[at],
            {name: column[at] for name, column in self.values.items()},
            {name: column[at] for name, column in self.features.items()},
            {column: cells[at] for column, cells in self.users.items()},
        )


@dataclass(frozen=True)
class _Table:
    """A file whose dialect and header are known."""

    path: Path
    options: ReadOptions
    dialect: Dialect
    header: Header

    @classmethod
    def of(cls, path: Path, options: ReadOptions) -> _Table:
        dialect = find_dialect(path, lambda names: has_hits(names, options))
        return cls(path, options, dialect, understood(dialect.header, options, "the first line names the columns; "))

    def parts(self, only: tuple[str, ...] | None = None) -> Iterator[_Part]:
        """The rows, some megabytes at a time, converted; at least one part, if need be empty.

        Args:
            only: convert these fields, and no features; ``None``: all.
        """
        first, start, fields = 0, self.dialect.lines + 1, self.header.fields
        skips, width = self.options.skips, len(self.header.names)
        users = self._carried_columns()
        for text in self._texts():
            cells, lines = _split(text, self.dialect, width, start)
            count = len(cells) // width

            def column(place: int, cells: Sequence[str] = cells) -> Sequence[str]:
                return cells[place::width]

            def number(place: int) -> Sequence[str]:
                taken = column(place)  # called before the next part
                return with_points(taken) if self.dialect.decimal_comma else taken

            def line(row: int, lines: Sequence[int] = lines) -> int:
                return lines[row]

            asked = [n for n in fields if n not in ("event", "event_id") and (only is None or n in only)]
            values = {name: _convert(name, number(fields[name]), line, skips) for name in asked}
            features: dict[str, Array] = {}
            if only is None:
                values.setdefault("hit_id", np.arange(first, first + count))
                taken = self.header.features.items()
                features = {name: real(f"feature '{name}'", number(at), line) for name, at in taken}
            yield _Part(
                column(fields["event"]),
                column(fields["event_id"]) if "event_id" in fields else (),
                values,
                features,
                {place: number(place) for place in users},
            )
            first, start = first + count, start + text.count("\n")

    def _carried_columns(self) -> list[int]:
        if not self.options.carry:
            return []
        both = [self.header.fields[name] for name in ("event", "event_id") if "event_id" in self.header.fields]
        return sorted({*self.header.users, *both})

    def _texts(self) -> Iterator[str]:
        """Whole lines in parts, no quoted cell cut in two."""
        with self.dialect.open(self.path) as file:
            rest, empty = "", True
            while part := file.read(PART_CHARACTERS):
                head, tail = _cut(rest + part)
                if len(tail) > LINE_CHARACTERS:
                    told = f"has a line of more than {LINE_CHARACTERS:,} characters"
                    raise DataError(told, fix="is this a table, or is a quote not closed?")
                if head:
                    yield head
                    empty = False
                rest = tail
            if rest or empty:
                yield rest


def _cut(text: str) -> tuple[str, str]:
    """Whole lines, and what is left; a line does not end within quotes."""
    quotes, end = text.count('"'), len(text)
    while (at := text.rfind("\n", 0, end)) >= 0:
        quotes -= text.count('"', at, end)  # those before the line's end are left
        if quotes % 2 == 0:
            break
        end = at
    return text[: at + 1], text[at + 1 :]


def _split(text: str, dialect: Dialect, width: int, start: int) -> tuple[Sequence[str], Sequence[int]]:
    """Cells of whole lines from line ``start`` on, row after row, and the line of the file that each row is in."""
    delimiter = dialect.delimiter
    text = text.rstrip(None if delimiter == " " else "\r\n")
    if '"' in text:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        if dialect.padded:
            rows = [[cell.strip() for cell in row if cell or delimiter != " "] for row in rows]
    else:  # the same some times faster: no list a row
        lines = text.replace("\r\n", "\n").split("\n") if text else []
        if delimiter == " ":
            lines = [" ".join(line.split()) for line in lines]
        lengths = {line.count(delimiter) + 1 if line else 0 for line in lines}
        if lengths <= {width} and "#" not in text:
            cells = delimiter.join(lines).split(delimiter) if lines else []
            return [cell.strip() for cell in cells] if dialect.padded else cells, range(start, start + len(lines))
        rows = [line.split(delimiter) if line else [] for line in lines]
        if dialect.padded:
            rows = [[cell.strip() for cell in row] for row in rows]
    numbers = []
    for number, row in enumerate(rows, start):
        while len(row) > width and not row[-1].strip():
            row.pop()
        if row and row[0].startswith("#") and (dialect.commented or len(row) != width):
            row.clear()
            continue
        if len(row) != width:
            raise DataError(f"line {number} has {len(row)} fields, the header {width}", fix="correct the line")
        numbers.append(number)
    return list(chain.from_iterable(rows)), numbers


def _convert(name: str, cells: Sequence[str], line: Any, skips: bool) -> Array:
    if name in COORDS:
        return whole(name, cells, line, instead=-1 if skips else None)
    if name == TIME:
        return real(name, cells, line)
    dtype = FIELD_DTYPES[name]
    if dtype.kind == "i":
        return whole_numbers(whole(name, cells, line), name, dtype)
    with np.errstate(over="ignore"):
        return truth(name, cells, line) if dtype.kind == "b" else real(name, cells, line).astype(dtype)


# ---- events ------------------------------------------------------------------------------------------


def _columns(table: _Table, parts: list[_Part], survey: _Survey | None, assembler: Assembler) -> Columns:
    """Rows grouped by event, in the order in which events appear; rows of an event stay in order."""
    codes, labels = numbered_labels(chain.from_iterable(part.labels for part in parts))
    ids = list(chain.from_iterable(part.ids for part in parts))
    calls = bool(ids) and (survey.ids_call if survey else constant_within(codes, numbered_labels(ids)[0]))
    if calls:
        labels = [ids[row] for row in np.unique(codes, return_index=True)[1]]
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    features = {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features}
    carried = None
    if table.options.carry:
        layout = table.header.layout(calls)
        columns = [place for place, (ours, _) in enumerate(layout) if ours == USERS]
        cells = [list(chain.from_iterable(part.users[place] for part in parts)) for place in columns]
        kinds = survey.kinds if survey else {place: ColumnKind(table.options.verbatim) for place in columns}
        if survey is None:
            for place, column in zip(columns, cells, strict=True):
                kinds[place].see(column)
        carried = Carried(layout, tuple(kinds[at].read(column) for at, column in zip(columns, cells, strict=True)))
    numbers = list(map(event_number, labels))
    numeric = survey.numeric if survey else None not in numbers and (calls or len(set(numbers)) == len(numbers))
    event_id: Array | list[str] = np.array(numbers, np.int64) if numeric else labels
    return grouped_by_event(codes, event_id, values, features, carried, assembler.instead)


class _Survey:
    """What has to be known of a table before its events can be read in blocks."""

    def __init__(self, table: _Table) -> None:
        self.scattered, self.ids_call = False, True
        self.kinds = {place: ColumnKind(table.options.verbatim) for place in table._carried_columns()}
        highest, seen, current = np.zeros((1, 3), np.int64), set(), None
        numbers, ids_are_numbers, last_id = set(), True, ""
        for part in table.parts(only=() if table.options.geometry else COORDS):
            row = 0
            for label, rows in groupby(part.labels):
                count = sum(1 for _ in rows)
                ids = set(part.ids[row : row + count])
                if label != current:
                    self.scattered |= label in seen
                    numbers.add(event_number(label))
                    seen.add(label)
                    current, last_id = label, next(iter(ids), "")
                self.ids_call &= ids <= {last_id}
                ids_are_numbers = ids_are_numbers and None not in map(event_number, ids)
                row += count
            for place, kind in self.kinds.items():
                kind.see(part.users[place])
            for i, name in enumerate(COORDS if part.values else ()):
                highest[0, i] = max(highest[0, i], part.values[name].max(initial=0))
        self.ids_call &= "event_id" in table.header.fields
        self.numeric = ids_are_numbers if self.ids_call else None not in numbers and len(numbers) == len(seen)
        self.grid: DetectorGeometry = table.options.geometry or grid_that_holds(highest)


def _whole_events(parts: Iterable[_Part], events: int, hits: int) -> Iterator[list[_Part]]:
    """Parts cut anew, so that ``events`` whole events come together, or as many as have ``hits`` rows.

    Rows of an event are consecutive.
    """
    waiting: list[_Part] = []
    begun, held, current = 0, 0, None
    for part in parts:
        start = row = 0
        for label, rows in groupby(part.labels):
            if label != current:
                if begun == events or held + row - start >= hits:
                    yield [*waiting, part.rows(start, row)]
                    waiting, start, begun, held = [], row, 0, 0
                begun, current = begun + 1, label
            row += sum(1 for _ in rows)
        waiting.append(part.rows(start, row))
        held += row - start
    yield waiting

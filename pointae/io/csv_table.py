"""Hits as a table of comma-separated values: one row a hit, columns event, x, y, t and what else there is.

Rows of one event may be scattered. The header names the columns; those that are no field of
:class:`HitBatch` are features.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.assembly import FIELD_DTYPES, Array, Assembler, Columns, grid_that_holds, whole_numbers
from pointae.io.csv_output import Sink, header_of
from pointae.io.options import ReadOptions
from pointae.io.table import COORDS, TIME, feature_columns, grouped_by_event, our_names

__all__ = ["Sink", "attributes", "blocks", "read"]

PART_CHARACTERS = 1 << 20
LINE_CHARACTERS = 1 << 20
TRUTH = {"1": True, "0": False, "True": True, "False": False, "true": True, "false": False, "1.0": True, "0.0": False}


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a table; ``hit_id`` is the row's number where the table has none."""
    return assembler.hits(_columns(list(_parts(path, assembler.options)), None, assembler))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a table, at most ``events_per_block`` at a time.

    The table is read twice: first to see which events there are. If their rows are scattered,
    the whole is taken into memory.
    """
    survey = _Survey(path, assembler.options)
    if survey.scattered:
        hits = read(path, assembler)
        for first in range(0, max(hits.batch_size, 1), events_per_block):
            yield hits.events(slice(first, first + events_per_block))
        return
    rows = _parts(path, assembler.options)
    for parts in _whole_events(rows, events_per_block, assembler.options.hits_per_block or sys.maxsize):
        columns = _columns(parts, survey.numeric, assembler)
        columns.geometry = survey.grid
        yield assembler.hits(columns)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The names of the columns; a table states no grid."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {"format": "csv", "columns": header_of(file.readline(LINE_CHARACTERS))}


# ---- reading -----------------------------------------------------------------------------------------


@dataclass
class _Part:
    """Consecutive rows: the labels of their events and their other columns by name."""

    labels: Sequence[str]
    values: dict[str, Array]
    features: list[str] = field(default_factory=list)

    def rows(self, first: int, last: int) -> _Part:
        values = {name: column[first:last] for name, column in self.values.items()}
        return _Part(self.labels[first:last], values, self.features)


def _parts(path: Path, options: ReadOptions, only: tuple[str, ...] | None = None) -> Iterator[_Part]:
    """The rows of a table, some megabytes at a time, converted; at least one part, if need be empty."""
    texts = _texts(path)
    names = our_names(header_of(next(texts)), options, "the first line names the columns; ")
    wanted = [name for name in names if name != "event" and (only is None or name in only)]
    features = feature_columns(wanted)
    skips, first = options.on_bad == "skip", 0
    for text in texts:
        columns = _split(text, names, first)
        values = {name: _convert(name, columns[name], first, skips) for name in wanted}
        if only is None:
            values.setdefault("hit_id", np.arange(first, first + len(columns["event"])))
        yield _Part(columns["event"], values, features)
        first += len(columns["event"])


def _texts(path: Path) -> Iterator[str]:
    """The header's line, then whole lines in parts."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield file.readline(LINE_CHARACTERS)
        rest, empty = "", True
        while part := file.read(PART_CHARACTERS):
            head, newline, tail = part.rpartition("\n")
            if len(tail) + (0 if newline else len(rest)) > LINE_CHARACTERS:
                raise DataError(f"has a line of more than {LINE_CHARACTERS:,} characters", fix="is this a table?")
            if newline:
                yield rest + head
                rest, empty = tail, False
            else:
                rest += tail
        if rest or empty:
            yield rest


def _split(text: str, names: list[str], first: int) -> dict[str, Sequence[str]]:
    text = text.rstrip("\r\n")
    if '"' in text:
        rows = list(csv.reader(text.split("\n"), strict=True))
        lengths = [len(row) for row in rows]
        fields = list(chain.from_iterable(rows))
    else:  # the same some times faster: no list a row
        lines = text.replace("\r\n", "\n").split("\n") if text else []
        lengths = [line.count(",") + 1 if line else 0 for line in lines]
        fields = ",".join(lines).split(",") if lines else []
    for number, length in enumerate(lengths):
        if length != len(names):
            raise DataError(f"line {_line(first + number)} has {length} fields, the header {len(names)}")
    return {name: fields[i :: len(names)] for i, name in enumerate(names)}


def _line(row: int) -> int:
    return row + 2  # counted from 1, behind the header


def _convert(name: str, column: Sequence[str], first: int, skips: bool) -> Array:
    dtype = FIELD_DTYPES.get(name, np.dtype(np.float64 if name == TIME else np.float32))
    if name in COORDS:
        return _whole(name, column, first, instead=-1 if skips else None)
    if dtype.kind == "i":
        return whole_numbers(_whole(name, column, first), name, dtype)
    parse: Callable[[str], Any] = TRUTH.__getitem__ if dtype.kind == "b" else float
    try:
        with np.errstate(over="ignore"):
            return np.fromiter(map(parse, column), np.float64, len(column)).astype(dtype)
    except (KeyError, ValueError):
        row = next(row for row, text in enumerate(column) if not _parses(parse, text))
        kind = "0 or 1" if dtype.kind == "b" else "a number"
        raise DataError(f"{name} = '{column[row][:40]}' in line {_line(first + row)} is not {kind}") from None


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except (KeyError, ValueError):
        return False
    return True


def _whole(name: str, column: Sequence[str], first: int, instead: int | None = None) -> Array:
    """Whole numbers, also written as 12.0; ``instead`` stands in for those that are none."""
    try:
        return np.fromiter(map(int, column), np.int64, len(column))
    except (ValueError, OverflowError):
        numbers = list(map(_whole_number, column))
    for row, number in enumerate(numbers):
        if number is None and instead is None:
            told = f"{name} = '{column[row][:40]}' in line {_line(first + row)} is not a whole number of 64 bits"
            raise DataError(told, fix="bin numbers are whole, e.g. 12 or 12.0")
    return np.array([instead if number is None else number for number in numbers], np.int64)


def _whole_number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return None
        if not value.is_integer():
            return None
        number = int(value)
    return number if -(1 << 63) <= number < 1 << 63 else None


# ---- events ------------------------------------------------------------------------------------------


def _columns(parts: list[_Part], numeric: bool | None, assembler: Assembler) -> Columns:
    """Rows grouped by event, in the order in which events appear; rows of an event stay in order."""
    numbers: dict[str, int] = {}
    labels = chain.from_iterable(part.labels for part in parts)
    codes = np.fromiter((numbers.setdefault(label, len(numbers)) for label in labels), np.int64)
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    instead = -1 if assembler.skips else None
    return grouped_by_event(codes, _event_ids(list(numbers), numeric), values, parts[0].features, instead)


def _event_ids(labels: list[str], numeric: bool | None) -> Array | list[str]:
    if numeric is None:
        numeric = all(map(_is_number, labels))
    return np.array(labels, np.int64) if numeric else labels


def _is_number(label: str) -> bool:
    """Whether an event's label is a number that is written back as it was: ``7`` but not ``007``."""
    number = _whole_number(label)
    return number is not None and str(number) == label


class _Survey:
    """What has to be known of a table before its events can be read in blocks."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.numeric, self.scattered = True, False
        highest, seen, current = np.zeros((1, 3), np.int64), set(), None
        for part in _parts(path, options, only=() if options.geometry else COORDS):
            for label, _ in groupby(part.labels):
                if label != current:
                    self.scattered |= label in seen
                    self.numeric = self.numeric and _is_number(label)
                    seen.add(label)
                    current = label
            for i, name in enumerate(COORDS if part.values else ()):
                highest[0, i] = max(highest[0, i], part.values[name].max(initial=0))
        self.grid = options.geometry or grid_that_holds(highest)


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

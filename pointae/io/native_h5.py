"""The native hits file as HDF5: read and written in blocks, so larger files than the memory are no trouble."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pointae.errors import DataError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.io.assembly import (
    FIELD_DTYPES,
    Array,
    Assembler,
    Columns,
    as_field,
    checked_offsets,
    grid_that_holds,
    place_of,
    real_numbers,
    texts,
    whole_numbers,
)
from pointae.io.boundary import bounded
from pointae.io.h5_storage import TEXT_BYTES, Disk, check_storage, longest_text, read_rows
from pointae.io.native import (
    OPTIONAL,
    REQUIRED,
    arrays_of,
    attributes_of,
    bytes_needed,
    check_required,
    check_shapes,
    feature_names,
    from_text,
    stated_geometry,
    to_text,
)
from pointae.io.native_users import RESERVED, UserArrays, stored_users
from pointae.io.options import ReadOptions
from pointae.io.output import WriteReport
from pointae.io.table import rounded_by_float32

ROWS = 1 << 16
"""Rows converted at a time: what a read takes beyond its result."""
CACHE_BYTES = 1 << 20
"""HDF5's own cache of each array: rows are read in order, so a large one would only take memory."""

MAX_ATTRIBUTE = 60_000
"""Bytes of an attribute that HDF5 keeps beside its name."""
MAX_ATTRIBUTES, MAX_ATTRIBUTE_BYTES = 1000, 4 << 20
"""Attributes that are read, and bytes of each."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a file."""
    with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
        source = _Source(file, assembler)
        return assembler.hits(source.columns(0, source.events))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a file, at most ``events_per_block`` at a time."""
    with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
        source = _Source(file, assembler)
        for first, last in source.runs(events_per_block, assembler.options.hits_per_block):
            yield assembler.hits(source.columns(first, last))


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The attributes of a file."""
    with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
        return _attributes(file)


def counts(path: Path, assembler: Assembler) -> Array:
    """(B,) hits of each event."""
    with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
        return np.diff(_Source(file, assembler).offsets)


def users(path: Path, assembler: Assembler) -> list[str]:
    """Names of the user's own arrays."""
    with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
        return _Source(file, assembler).users


class _Source:
    """An open file whose arrays have been checked to be what their names say, within what the file holds."""

    def __init__(self, file: h5py.File, assembler: Assembler) -> None:
        self._instead, self._path = assembler.instead, Path(file.filename)
        attributes = _attributes(file)
        check_required(file, _contents(file))
        self._arrays = {name: _array(file, name) for name in (*REQUIRED, *OPTIONAL) if name in file}
        shapes = {name: array.shape for name, array in self._arrays.items()}
        check_shapes(shapes)
        bounded(bytes_needed(shapes, {name: array.dtype.itemsize for name, array in self._arrays.items()}), self._path)
        for name, array in self._arrays.items():
            check_storage(name, array)
        self.offsets = checked_offsets(self._rows("offsets", 0, shapes["offsets"][0], np.int64), shapes["coords"][0])
        channels = self._arrays["features"].shape[1] if "features" in self._arrays else 0
        self._names = feature_names(attributes, channels)
        self._users = self._user_arrays(file, attributes, assembler.options)
        self._geometry = stated_geometry(attributes)
        if self._geometry is None and assembler.options.geometry is None:
            self._geometry = self._grid_of_all()

    @cached_property
    def _longest_text(self) -> int:
        """Found by a search of the whole file, where any array holds texts."""
        return longest_text(self._path)

    @property
    def events(self) -> int:
        return len(self.offsets) - 1

    @property
    def users(self) -> list[str]:
        return self._users.names

    def runs(self, events: int, hits: int | None) -> Iterator[tuple[int, int]]:
        """Where blocks begin and end, at least one: after so many events, or once they have so many hits."""
        first = 0
        while True:
            last = min(first + events, self.events)
            if hits is not None:
                last = min(last, int(np.searchsorted(self.offsets, self.offsets[first] + hits)))
            yield first, last
            if last == self.events:
                return
            first = last

    def columns(self, first: int, last: int) -> Columns:
        """What the file has of the events ``first`` to ``last``."""
        start, stop = int(self.offsets[first]), int(self.offsets[last])
        numbers = self._arrays.keys() & FIELD_DTYPES.keys()
        has_features = "features" in self._arrays
        unrounded = has_features and self._users.carries and rounded_by_float32(self._arrays["features"].dtype)

        def users(name: str) -> Array:
            rows = (first, last) if name in self._users.per_event else (start, stop)
            array = self._arrays[name]
            return read_rows(name, array, *rows, self._longest_text if _holds_texts(array) else 0)

        columns = Columns(
            coords=self._rows("coords", start, stop, np.int32),
            offsets=self.offsets[first : last + 1] - start,
            per_hit={
                name: self._rows(name, start, stop, FIELD_DTYPES[name]) for name in FIELD_DTYPES if name in numbers
            },
            features=self._rows("features", start, stop, np.float32) if has_features else None,
            feature_names=self._names if has_features else (),
            event_id=self._event_ids(first, last),
            event_time_ns=self._event_times(first, last),
            geometry=self._geometry,
        )
        return self._users.into(columns, users, users("features") if unrounded else None)

    def _user_arrays(self, file: h5py.File, stated: Mapping[str, Any], options: ReadOptions) -> UserArrays:
        """The arrays that are the user's, checked as ours are."""
        found = {}
        for name in [name for name in file if name not in RESERVED and (options.carry or options.features)]:
            with suppress(DataError):  # a group, a link or a table is nobody's
                found[name] = _array(file, name)
        shapes = {name: array.shape for name, array in found.items()}
        dtypes = {name: array.dtype for name, array in found.items()}
        users = UserArrays(shapes, dtypes, len(self._arrays["coords"]), self.events, stated, options)
        bounded({name: math.prod(shapes[name]) * dtypes[name].itemsize for name in users.arrays}, self._path)
        for name in users.arrays:
            check_storage(name, found[name])
        self._arrays |= {name: found[name] for name in users.arrays}
        return users

    def _rows(self, name: str, start: int, stop: int, dtype: Any) -> Array:
        """Rows as ``dtype``, converted a part at a time: beside the result almost no memory is taken."""
        array = self._arrays[name]
        rows = np.empty((stop - start, *array.shape[1:]), dtype)
        # Never less than a chunk: each part of one would unpack the whole of it.
        step = max(ROWS, array.chunks[0] if array.chunks else 0)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            rows[first - start : last - start] = self._converted(name, array[first:last], first)
        return rows

    def _converted(self, name: str, part: Array, first: int) -> Array:
        def place(row: int) -> str:
            return place_of(self.offsets)(first + row)

        if name == "coords":
            return whole_numbers(part, name, np.int32, place, self._instead)
        if name == "features":
            return real_numbers(part, name)
        if name == "offsets":
            return whole_numbers(part, name, np.int64)
        return as_field(part, name, place)

    def _event_ids(self, first: int, last: int) -> Array | list[str] | None:
        array = self._arrays.get("event_id")
        if array is None:
            return None
        if _holds_texts(array):
            step = max(1, TEXT_BYTES // self._longest_text)
            parts = (array[at : min(at + step, last)] for at in range(first, last, step))
            return list(chain.from_iterable(map(texts, parts)))
        if array.dtype.kind == "S":
            return texts(array[first:last])
        return whole_numbers(array[first:last], "event_id", np.int64)

    def _event_times(self, first: int, last: int) -> Array | None:
        array = self._arrays.get("event_time_ns")
        return None if array is None else real_numbers(array[first:last], "event_time_ns", np.float64)

    def _grid_of_all(self) -> DetectorGeometry:
        coords, highest = self._arrays["coords"], np.zeros((1, 3), np.int64)
        for first in range(0, len(coords), ROWS):
            part = self._converted("coords", coords[first : first + ROWS], first)
            highest = np.maximum(highest, part.max(0, keepdims=True))
        return grid_that_holds(highest)


def _attributes(file: h5py.File) -> dict[str, Any]:
    """The attributes of a file as plain values; those of types that we never write as the name of their type.

    Raises:
        DataError: more of them, or larger ones, than describe hits.
    """
    if len(file.attrs) > MAX_ATTRIBUTES:
        raise DataError(f"has {len(file.attrs):,} attributes, at most {MAX_ATTRIBUTES:,} are read", fix="keep fewer")
    found, longest = {}, 0
    for name in file.attrs:
        about = file.attrs.get_id(name)
        texts_apart = about.dtype.kind == "O" and h5py.check_string_dtype(about.dtype) is not None
        if about.shape is None or not (texts_apart or about.dtype.kind in "biufS"):
            found[from_text(name)] = f"<{about.dtype}>"
            continue
        rows = math.prod(about.shape)
        if texts_apart and rows > 1:
            longest = longest or longest_text(Path(file.filename))
            _check_size(name, rows * longest, TEXT_BYTES)
        elif not texts_apart:
            _check_size(name, rows * about.dtype.itemsize, MAX_ATTRIBUTE_BYTES)
        found[from_text(name)] = from_text(file.attrs[name])
    return found


def _check_size(name: str, size: int, most: int) -> None:
    if size > most:
        told = f"its attribute '{name[:40]}' takes {size:,} bytes, at most {most:,} are read"
        raise DataError(told, fix="keep large things as arrays")


def _contents(file: h5py.File) -> Iterator[str]:
    """What a file holds, in words."""
    for name in file:
        kind = file.get(name, getclass=True)
        columns = file[name].dtype.names if kind is h5py.Dataset else None
        told = f"a table of {', '.join(columns)}" if columns else "a group" if kind is h5py.Group else ""
        yield f"{name} ({told})" if told else name


def _holds_texts(array: h5py.Dataset | None) -> bool:
    """Whether an array holds texts of any length."""
    return array is not None and array.dtype.kind == "O"


def _array(file: h5py.File, name: str) -> h5py.Dataset:
    """The array called ``name``, if it is one and lies wholly in this file."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{name} is a link to another place", fix="copy the array into the file")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.shape is None:
        raise DataError(f"{name} must be an array, got {type(array).__name__}")
    if array.external or array.is_virtual:
        raise DataError(f"{name} is stored in other files", fix="copy the array into the file")
    if array.dtype.kind == "O" and not h5py.check_string_dtype(array.dtype):
        raise DataError(f"{name} holds objects", fix="write it as numbers or strings")
    return array


class Sink:
    """Writes a file; the first block decides which arrays it has."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._disk = Disk(path)
        self._file = h5py.File(self._disk, "w")
        self._attributes = attributes

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Add the next events."""
        arrays = arrays_of(hits)
        told = stored_users(hits, arrays)
        if not self._file.keys():
            for name, value in attributes_of(hits, {**self._attributes, **told}).items():
                self._set_attribute(name, to_text(value))
            self._create("offsets", np.zeros(1, np.int64))
        arrays["offsets"] = arrays["offsets"][1:] + self._file["offsets"][-1]
        if isinstance(hits.event_id, tuple):
            arrays["event_id"] = np.array(hits.event_id, object)
        for name, values in arrays.items():
            if name in self._file:
                array = self._file[name]
                array.resize(len(array) + len(values), axis=0)
                array[len(array) - len(values) :] = values
            else:
                self._create(name, values)
        self._raise_failure()

    def _set_attribute(self, name: str, value: Any) -> None:
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        encoded = [text.encode() for text in texts if isinstance(text, str)]
        longest = max([1, *map(len, encoded)])
        if encoded and longest * len(encoded) < MAX_ATTRIBUTE:
            # Beside its name: in HDF5's heap for texts of any length a damaged byte can make readers hang.
            dtype = h5py.string_dtype("utf-8", longest)
            self._file.attrs.create(name, encoded[0] if isinstance(value, str) else encoded, dtype=dtype)
        else:
            self._file.attrs[name] = value

    def _create(self, name: str, values: Array) -> None:
        # Chunks fit what the first block shows of the size: whole pages for many rows, little waste for few.
        rows = min(max(len(values), 1 << 10), 1 << 16)
        self._file.create_dataset(
            name,
            data=values,
            maxshape=(None, *values.shape[1:]),
            chunks=(rows, *values.shape[1:]),
            dtype=h5py.string_dtype() if values.dtype.kind == "O" else None,
        )

    def close(self, complete: bool) -> None:
        """Close the file."""
        self._file.close()
        self._disk.close()
        if complete:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._disk.failure is not None:
            raise self._disk.failure

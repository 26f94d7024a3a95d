"""The native hits file as a NumPy archive."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.archive import open_archive
from pointae.io.assembly import (
    FIELD_DTYPES,
    Array,
    Assembler,
    Columns,
    as_field,
    checked_offsets,
    place_of,
    real_numbers,
    texts,
    whole_numbers,
)
from pointae.io.boundary import bounded
from pointae.io.native import (
    JSON_FIX,
    OPTIONAL,
    REQUIRED,
    arrays_of,
    attributes_from_json,
    attributes_of,
    bytes_needed,
    check_required,
    check_shapes,
    feature_names,
    stated_geometry,
)
from pointae.io.native_users import RESERVED, UserArrays, stored_users
from pointae.io.numpy_file import Header, read_array, read_header
from pointae.io.options import ReadOptions
from pointae.io.output import WriteReport
from pointae.io.table import rounded_by_float32
from pointae.storage import JSON_BYTES

MAX_TEXTS = 1 << 28
"""Characters of an array of texts, all of which take as much room as the longest."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a file."""
    stated = attributes(path, assembler)
    arrays, users = _arrays(path, stated, assembler.options)
    return assembler.hits(_columns(arrays, users, stated, assembler))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a file, ``events_per_block`` at a time; the whole is read first."""
    yield from read(path, assembler).in_blocks(events_per_block)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The attributes of a file: the JSON text in its array ``attributes``."""
    with open_archive(path, suffix=".npy") as (archive, members):
        if "attributes" not in members:
            return {}
        info = members["attributes"]
        with archive.open(info) as stream:
            header = _header(stream, info, "attributes")
            if header.shape or header.dtype.kind not in "US" or header.bytes > 4 * JSON_BYTES:
                raise DataError("attributes must be one text of JSON", fix=JSON_FIX)
            return attributes_from_json(read_array(stream, header, "attributes").item())  # type: ignore[arg-type]


def counts(path: Path, assembler: Assembler) -> Array:
    """(B,) hits of each event."""
    stated = attributes(path, assembler)
    with open_archive(path, suffix=".npy") as (archive, members):
        _declared(archive, members, path, stated, assembler.options)
        info = members["offsets"]
        with archive.open(info) as stream:
            return np.diff(read_array(stream, _header(stream, info, "offsets"), "offsets"))  # type: ignore[arg-type]


def users(path: Path, assembler: Assembler) -> list[str]:
    """Names of the user's own arrays."""
    stated = attributes(path, assembler)
    with open_archive(path, suffix=".npy") as (archive, members):
        return _declared(archive, members, path, stated, assembler.options)[1].names


def _arrays(path: Path, stated: Mapping[str, Any], options: ReadOptions) -> tuple[dict[str, Array], UserArrays]:
    """The arrays of a file, none of which is read before the headers of all have been found to fit together."""
    with open_archive(path, suffix=".npy") as (archive, members):
        headers, users = _declared(archive, members, path, stated, options)
        found = {}
        for name in headers:
            with archive.open(members[name]) as stream:
                found[name] = read_array(stream, _header(stream, members[name], name), name)  # type: ignore[arg-type]
    return found, users


def _declared(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    path: Path,
    stated: Mapping[str, Any],
    options: ReadOptions,
) -> tuple[dict[str, Header], UserArrays]:
    """What the headers of all arrays say that are to be read, found to fit together and the file's size."""
    check_required(members, members)
    headers = {}
    for name in (*REQUIRED, *OPTIONAL):
        if name in members:
            with archive.open(members[name]) as stream:
                headers[name] = _header(stream, members[name], name)
    shapes = {name: header.shape for name, header in headers.items()}
    check_shapes(shapes)
    others = {}
    for name in [name for name in members if name not in RESERVED and (options.carry or options.features)]:
        with suppress(DataError), archive.open(members[name]) as stream:  # what is no plain array is nobody's
            others[name] = _header(stream, members[name], name)
    users = UserArrays(
        {name: header.shape for name, header in others.items()},
        {name: header.dtype for name, header in others.items()},
        shapes["coords"][0],
        shapes["offsets"][0] - 1,
        stated,
        options,
    )
    headers |= {name: others[name] for name in users.arrays}
    shapes |= {name: others[name].shape for name in users.arrays}
    bounded(bytes_needed(shapes, {name: header.dtype.itemsize for name, header in headers.items()}), path)
    return headers, users


def _header(stream: IO[bytes], info: zipfile.ZipInfo, name: str) -> Header:
    return read_header(stream, info.file_size, name)  # type: ignore[arg-type]


def _columns(arrays: dict[str, Array], users: UserArrays, stated: Mapping[str, Any], assembler: Assembler) -> Columns:
    offsets = checked_offsets(arrays.pop("offsets"), len(arrays["coords"]))
    place = place_of(offsets)
    # Each array is let go of once it is converted.
    columns = Columns(
        coords=whole_numbers(arrays.pop("coords"), "coords", np.int32, place, assembler.instead),
        offsets=offsets,
        per_hit={name: as_field(arrays.pop(name), name, place) for name in FIELD_DTYPES if name in arrays},
        geometry=stated_geometry(stated),
    )
    unrounded = None
    if "features" in arrays:
        stored = arrays.pop("features")
        columns.features = real_numbers(stored, "features")
        unrounded = stored if rounded_by_float32(stored.dtype) else None
        columns.feature_names = feature_names(stated, columns.features.shape[1])
    if "event_id" in arrays:
        columns.event_id = _event_ids(arrays["event_id"])
    if "event_time_ns" in arrays:
        columns.event_time_ns = real_numbers(arrays["event_time_ns"], "event_time_ns", np.float64)
    return users.into(columns, arrays.__getitem__, unrounded)


def _event_ids(values: Array) -> Array | list[str]:
    return texts(values.tolist()) if values.dtype.kind in "US" else whole_numbers(values, "event_id", np.int64)


class Sink:
    """Collects all blocks and writes one file."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path, self._attributes = path, attributes
        self._blocks: list[HitBatch] = []

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Keep the next events."""
        self._blocks.append(hits)

    def close(self, complete: bool) -> None:
        """Write the file."""
        if not complete:
            return
        hits = HitBatch.concat(self._blocks)
        arrays = arrays_of(hits)
        told = {**self._attributes, **stored_users(hits, arrays)}
        if isinstance(hits.event_id, tuple):
            arrays["event_id"] = np.array(hits.event_id, dtype=np.str_)
        arrays["attributes"] = np.array(json.dumps(attributes_of(hits, told)))
        for name, values in arrays.items():
            if values.dtype.kind == "O":
                longest = max(map(len, values), default=0)
                if longest * len(values) > MAX_TEXTS:
                    told_of = f"'{name}' has texts of {longest:,} characters, for which an .npz has no place"
                    raise DataError(told_of, fix="write .h5 or .parquet")
                arrays[name] = values.astype(np.str_)
        with open(self._path, "xb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle

"""The native hits file as a NumPy archive."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.assembly import (
    FIELD_DTYPES,
    Array,
    Assembler,
    Columns,
    as_field,
    check_shape,
    checked_offsets,
    place_of,
    real_numbers,
    whole_numbers,
)
from pointae.io.boundary import bounded, check_members
from pointae.io.native import (
    OPTIONAL,
    REQUIRED,
    arrays_of,
    attributes_of,
    check_required,
    feature_names,
    stated_geometry,
)
from pointae.io.numpy_file import read_array
from pointae.io.output import WriteReport


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a file."""
    return assembler.hits(_columns(_arrays(path, (*REQUIRED, *OPTIONAL)), attributes(path, assembler), assembler))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a file, ``events_per_block`` at a time; the whole is read first."""
    hits = read(path, assembler)
    for first in range(0, max(hits.batch_size, 1), events_per_block):
        yield hits.events(slice(first, first + events_per_block))


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The attributes of a file: the JSON text in its array ``attributes``."""
    text = _arrays(path, ("attributes",)).get("attributes")
    if text is None:
        return {}
    stored = json.loads(str(text))
    if not isinstance(stored, dict):
        raise DataError("attributes must be a JSON object of names and values")
    return stored


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        check_members(archive.namelist())
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        check_required(members, members)
        bounded({name: members[name].file_size for name in names if name in members}, path)
        found = {}
        for name in names:
            if name in members:
                with archive.open(members[name]) as stream:
                    found[name] = read_array(stream, members[name].file_size, name)  # type: ignore[arg-type]
    return found


def _columns(arrays: dict[str, Array], stated: Mapping[str, Any], assembler: Assembler) -> Columns:
    check_shape("coords", arrays["coords"].shape, (None, 3))
    hits = len(arrays["coords"])
    offsets = checked_offsets(arrays["offsets"], hits)
    place = place_of(offsets)
    for name in FIELD_DTYPES.keys() & arrays.keys():
        check_shape(name, arrays[name].shape, (hits,))
    for name in ("event_id", "event_time_ns"):
        if name in arrays:
            check_shape(name, arrays[name].shape, (len(offsets) - 1,))
    columns = Columns(
        coords=whole_numbers(arrays["coords"], "coords", np.int32, place, instead=-1 if assembler.skips else None),
        offsets=offsets,
        per_hit={name: as_field(arrays[name], name, place) for name in FIELD_DTYPES if name in arrays},
        geometry=stated_geometry(stated),
    )
    if "features" in arrays:
        check_shape("features", arrays["features"].shape, (hits, None))
        columns.features = real_numbers(arrays["features"], "features")
        columns.feature_names = feature_names(stated, columns.features.shape[1])
    if "event_id" in arrays:
        columns.event_id = _event_ids(arrays["event_id"])
    if "event_time_ns" in arrays:
        columns.event_time_ns = real_numbers(arrays["event_time_ns"], "event_time_ns", np.float64)
    return columns


def _event_ids(values: Array) -> Array | list[str]:
    if values.dtype.kind in "US":
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
    return whole_numbers(values, "event_id", np.int64)


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
        if isinstance(hits.event_id, tuple):
            arrays["event_id"] = np.array(hits.event_id, dtype=np.str_)
        arrays["attributes"] = np.array(json.dumps(attributes_of(hits, self._attributes)))
        with open(self._path, "xb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle

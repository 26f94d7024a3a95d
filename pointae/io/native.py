"""What the native files, HDF5 and npz, have in common: names, attributes and how arrays become columns."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from pointae.errors import ConfigError, DataError
from pointae.geometry import DetectorGeometry, geometry_from_dict, geometry_to_dict
from pointae.hits import PER_HIT, HitBatch
from pointae.io.assembly import Array, check_shape
from pointae.storage import check_version, parse_json

FORMAT = "pointae-hits"
FORMAT_VERSION = 1
REQUIRED = ("coords", "offsets")
OPTIONAL = ("features", *PER_HIT, "event_id", "event_time_ns")
JSON_FIX = "json.dumps({...}) makes such a text"
JSON_BEGINS = ("{", "[", '"')
"""How text begins that is JSON in an attribute of HDF5."""
PER_EVENT = ("event_id", "event_time_ns")
MAX_FEATURES = 4096
"""Features of a hit."""
MAX_EMPTY = 1_000_000
"""Events that a file may have beyond its hits."""
IN_MEMORY = {"coords": 4, "offsets": 8, "features": 4, "event_id": 8, "event_time_ns": 8}
"""Bytes that a number of an array becomes; of others one a number."""


def attributes_of(hits: HitBatch, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a native file with these hits; what the hits say wins over ``extra``."""
    own = {"format": FORMAT, "format_version": FORMAT_VERSION, **geometry_to_dict(hits.geometry)}
    if hits.feature_names:
        own["feature_names"] = list(hits.feature_names)
    return {**extra, **own}


def attributes_from_json(text: str | bytes, name: str = "attributes") -> dict[str, Any]:
    """Attributes that a file keeps as a text of JSON.

    Args:
        text: of any origin.
        name: of the place where the file keeps it.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        stored = parse_json(text, undefined=True)
    except ValueError as error:
        raise DataError(f"{name} cannot be read: {error}", fix=JSON_FIX) from error
    if not isinstance(stored, dict):
        raise DataError(f"{name} must be a JSON object of names and values", fix=JSON_FIX)
    return stored


def stated_geometry(attributes: Mapping[str, Any]) -> DetectorGeometry | None:
    """The grid that attributes describe, ``None`` where they are silent.

    Raises:
        DataError: they describe none that can be, or are of a later version.
    """
    try:
        if attributes.get("format") == FORMAT:
            check_version(attributes.get("format_version", 1), FORMAT_VERSION)
        return geometry_from_dict(attributes) if "spatial_shape" in attributes else None
    except ConfigError as error:
        fix = error.fix or "docs/formats.md tells how attributes state a grid"
        told = error.what if "version" in error.what.split()[0] else f"attributes describe no grid: {error.what}"
        raise DataError(told, fix=fix) from error


def feature_names(attributes: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """The names of C features; numbered where the file has none."""
    names = attributes.get("feature_names", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("feature_names must be a list of texts", fix="one name for each column of features")
    if not names:
        return tuple(f"feature_{i}" for i in range(channels))
    if len(names) != channels:
        raise DataError(f"features has {channels} columns but {len(names)} feature_names")
    if len(set(names)) < channels:
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"has two features called '{twice[:40]}'", fix="give each a name of its own")
    return tuple(names)


def check_required(names: Container[str], found: Iterable[str]) -> None:
    """Raise unless the two arrays are there without which a file is foreign.

    Args:
        names: what there is.
        found: what there is, in words.
    """
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        told = ", ".join(text[:60] for text in islice(found, 8)) or "nothing"
        raise DataError(
            f"has no {' and no '.join(missing)}, found {told}", fix="docs/formats.md tells the native format"
        )


def check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless the arrays of a file are those of N hits in B events, before any of them is read."""
    check_shape("coords", shapes["coords"], (None, 3))
    if len(shapes["offsets"]) != 1 or not shapes["offsets"][0]:
        raise DataError(f"offsets must be (E + 1,) integers, got shape {tuple(shapes['offsets'])}")
    hits, events = shapes["coords"][0], shapes["offsets"][0] - 1
    if events > hits + MAX_EMPTY:
        told = f"offsets declares {events:,} events for the {hits:,} hits of coords, at most {MAX_EMPTY:,} more may be"
        raise DataError(told, fix="leave out events without hits, or write several files")
    for name, shape in shapes.items():
        if name == "features":
            check_shape(name, shape, (hits, None))
            if shape[1] > MAX_FEATURES:
                told = f"features has {shape[1]:,} columns, at most {MAX_FEATURES:,} are read"
                raise DataError(told, fix="keep those that a network is to see")
        elif name not in REQUIRED:
            check_shape(name, shape, (events if name in PER_EVENT else hits,))


def bytes_needed(shapes: Mapping[str, tuple[int, ...]], itemsizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes that each array takes, as it is stored or as it is kept, whichever is more.

    Args:
        shapes: by name.
        itemsizes: bytes of a stored value, by name.
    """
    return {name: math.prod(shape) * max(itemsizes[name], IN_MEMORY.get(name, 1)) for name, shape in shapes.items()}


def arrays_of(hits: HitBatch) -> dict[str, Array]:
    """The arrays of a native file, coords as narrow as the grid allows.

    ``event_id`` of strings is left out: each format has its own way with those.
    """
    narrow = np.int16 if max(hits.geometry.spatial_shape) <= 1 << 15 else np.int32
    arrays: dict[str, Array] = {
        "coords": hits.coords.cpu().numpy().astype(narrow),
        "offsets": hits.offsets.cpu().numpy(),
    }
    if hits.features.shape[1]:
        arrays["features"] = hits.features.cpu().numpy()
    arrays |= {name: value.cpu().numpy() for name, value in hits.present.items()}
    if hits.event_id is not None and not isinstance(hits.event_id, tuple):
        arrays["event_id"] = hits.event_id.cpu().numpy()
    if hits.event_time_ns is not None:
        arrays["event_time_ns"] = hits.event_time_ns.cpu().numpy()
    return arrays


def to_text(value: Any) -> Any:
    """An attribute as HDF5 can hold it: what is not a number, plain text or a flat list of these becomes JSON."""
    items = value if isinstance(value, list | tuple) else [value]
    kinds = {type(item) for item in items}
    if len(kinds) == 1 and kinds <= {str, int, float, bool} and all(map(_is_plain, items)):
        return list(value) if isinstance(value, list | tuple) else value
    return json.dumps(value)


def _is_plain(value: Any) -> bool:
    """Whether HDF5 gives a number or text back as it was: without NUL and half characters, not looking like JSON."""
    if isinstance(value, str):
        return not (value[:1] in JSON_BEGINS or value == "null" or "\0" in value or any(map(_is_half, value)))
    return not isinstance(value, int) or value.bit_length() < 64


def _is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def from_text(value: Any) -> Any:
    """The inverse of :func:`to_text`, as plain Python values; what is no UTF-8 is replaced."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_text(item) for item in value]
    value = _text(value)
    if isinstance(value, str) and (value[:1] in JSON_BEGINS or value == "null"):
        with suppress(ValueError):
            return parse_json(value, undefined=True)
    return value


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value

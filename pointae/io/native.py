"""What the native files, HDF5 and npz, have in common: names, attributes and how arrays become columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pointae.errors import ConfigError, DataError
from pointae.geometry import DetectorGeometry, geometry_from_dict, geometry_to_dict
from pointae.hits import PER_HIT, HitBatch
from pointae.io.assembly import Array
from pointae.storage import check_version

FORMAT = "pointae-hits"
FORMAT_VERSION = 1
REQUIRED = ("coords", "offsets")
OPTIONAL = ("features", *PER_HIT, "event_id", "event_time_ns")
JSON_BEGINS = ("{", "[", '"')
"""How text begins that is JSON in an attribute of HDF5."""
PER_EVENT = ("event_id", "event_time_ns")


def attributes_of(hits: HitBatch, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a native file with these hits; what the hits say wins over ``extra``."""
    own = {"format": FORMAT, "format_version": FORMAT_VERSION, **geometry_to_dict(hits.geometry)}
    if hits.feature_names:
        own["feature_names"] = list(hits.feature_names)
    return {**extra, **own}


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
        fix = error.fix or "spatial_shape is [X, Y, T]"
        raise DataError(f"attributes describe no grid: {error.what}", fix=fix) from error


def feature_names(attributes: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """The names of C features; numbered where the file has none."""
    names = attributes.get("feature_names", [])
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        return tuple(f"feature_{i}" for i in range(channels))
    if len(names) != channels:
        raise DataError(f"features has {channels} columns but {len(names)} feature_names")
    return tuple(map(str, names))


def check_required(names: object) -> None:
    """Raise unless the two arrays are there without which a file is foreign."""
    missing = [name for name in REQUIRED if name not in names]  # type: ignore[operator]
    if missing:
        found = ", ".join(sorted(map(str, names))[:10]) or "nothing"  # type: ignore[call-overload]
        raise DataError(f"has no {' and no '.join(missing)}, found {found}", fix="see the native format in docs")


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
    """The inverse of :func:`to_text`, as plain Python values."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
        if isinstance(value, list):
            value = [item.decode() if isinstance(item, bytes) else item for item in value]
    if isinstance(value, str) and (value[:1] in JSON_BEGINS or value == "null"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value

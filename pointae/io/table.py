"""What tables of hits have in common, one row a hit: names of columns, and rows grouped into events."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointae.carried import USERS, Carried
from pointae.errors import DataError, unknown_name
from pointae.hits import HitBatch
from pointae.io.assembly import (
    FIELD_DTYPES,
    Array,
    Columns,
    checked_offsets,
    place_of,
    real_numbers,
    whole_numbers,
)
from pointae.io.options import ReadOptions

COORDS = ("x", "y", "t")
TIME = "event_time_ns"
OURS = ("event", *COORDS, *FIELD_DTYPES, TIME, "event_id")
"""Names of columns that are fields of hits; all others are the user's."""
MAX_COLUMNS = 10_000
USUAL = {
    "event": ("event_id", "eventid", "event_number", "evt", "ev", "event_no", "frame", "trigger"),
    "x": ("col", "column", "ix", "xpix", "pixel_x", "x_pixel", "px"),
    "y": ("row", "iy", "ypix", "pixel_y", "y_pixel", "py"),
    "t": ("toa", "tof", "time", "time_bin", "tbin", "it", "toa_ns", "t_ns", "z"),
}
"""What other programs call our columns, the likeliest first."""
EXACT = ("float32", "float16", "int16", "uint16", "int8", "uint8", "bool")
"""Types of features that float32 holds as they are."""
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Header:
    """Which columns of a table are ours, which are taken as features, and which are the user's.

    Args:
        names: all of the file's own.
        fields: column of each of our fields, by our names.
        features: column of each feature that was asked for, by its name; the user's all the same.
    """

    names: tuple[str, ...]
    fields: Mapping[str, int]
    features: Mapping[str, int]

    @property
    def users(self) -> list[int]:
        """The user's columns, in their order."""
        return sorted(set(range(len(self.names))) - set(self.fields.values()))

    @property
    def names_of_users(self) -> list[str]:
        """What they are called."""
        return [self.names[place] for place in self.users]

    def layout(self, ids_are_events: bool) -> tuple[tuple[str, str], ...]:
        """Of all columns what they are, as :class:`~pointae.carried.Carried` wants it.

        Args:
            ids_are_events: the column ``event_id`` has what events are called, so that ``event`` is the user's.
        """
        ours = {column: field for field, column in self.fields.items()}
        if "event_id" in self.fields:
            calls, other = ("event_id", "event") if ids_are_events else ("event", "event_id")
            ours |= {self.fields[calls]: "event", self.fields[other]: USERS}
        return tuple((ours.get(column, USERS), name) for column, name in enumerate(self.names))


def has_hits(names: Sequence[str], options: ReadOptions) -> bool:
    """Whether a table has all the columns without which it holds no hits."""
    return not _missing(_fields(names, options))


def understood(names: Sequence[str], options: ReadOptions, advice: str = "") -> Header:
    """What the columns of a table are.

    A column ``event_id`` groups hits where there is no ``event``; features that the table lacks are left out.

    Args:
        names: the file's own.
        options: with ``columns`` and ``features``.
        advice: where the names are to be found.

    Raises:
        DataError: a column that every table has is missing, or two of ours are called alike.
        ConfigError: a column is named for a field that there is not.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError(f"has {len(names):,} columns", fix=f"at most {MAX_COLUMNS:,} are read: leave others out")
    for ours in options.columns:
        if ours not in OURS and ours not in options.features:
            raise unknown_name("column", ours, (*OURS, *options.features))
    fields = _fields(names, options)
    if missing := _missing(fields):
        if names and all(NUMBER.fullmatch(name) for name in names):
            numbers = ", ".join(islice(names, 8))[:80]
            told = f"has no column {', '.join(missing)}, nor a header: the first line holds numbers, {numbers}"
            raise DataError(told, fix="write a line above that names the columns, e.g. event,x,y,t")
        found = ", ".join(islice(names, 50))[:200] or "nothing"
        left = [name for place, name in enumerate(names) if place not in fields.values()]
        pairs = {**options.columns, **named_alike(missing, left)}
        missing = [options.columns.get(name, name) for name in missing]
        typed = shlex.quote(",".join(f"{ours}={theirs}" for ours, theirs in pairs.items()))
        written = ", ".join(f"{ours}: {json.dumps(theirs, ensure_ascii=False)}" for ours, theirs in pairs.items())
        fix = f"{advice}say which are meant: --columns {typed}, in a config data.source.columns: {{{written}}}"
        raise DataError(f"has no column {', '.join(missing)}; found {found}", fix=fix)
    taken, times = set(fields.values()), Counter(names)
    for column in taken:
        if times[names[column]] > 1:
            raise DataError(f"has two columns called '{names[column][:40]}'", fix="rename the one that is none of hits")
    theirs = {name: options.columns.get(name, name) for name in options.features}
    place = {name: column for column, name in reversed(list(enumerate(names))) if column not in taken}
    features = {name: place[called] for name, called in theirs.items() if called in place}
    return Header(tuple(names), fields, features)


def _fields(names: Sequence[str], options: ReadOptions) -> dict[str, int]:
    place = {name: column for column, name in reversed(list(enumerate(names)))}
    fields: dict[str, int] = {}
    for ours in OURS:
        theirs = options.columns.get(ours, ours)
        column = place.get(theirs, place.get(ours))
        if column is not None and column not in fields.values():
            fields[ours] = column
    if "event" not in fields and "event_id" in fields:
        fields["event"] = fields.pop("event_id")
    return fields


def named_alike(wanted: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """For each of our fields the column that is probably meant; ``NAME`` where none is like it.

    Args:
        wanted: our names.
        names: of the table's columns that are none of ours.
    """
    left, found = list(names), {}
    for ours in wanted:
        usual = (ours, *USUAL.get(ours, ()))
        near = [name for word in usual for name in left if WORD.findall(name.casefold())[:1] == [word]]
        found[ours] = near[0] if near else "NAME"
        left = [name for name in left if name != found[ours]]
    return found


def _missing(fields: Mapping[str, int]) -> list[str]:
    return [name for name in ("event", *COORDS) if name not in fields]


def single_precision(features: Mapping[str, Array]) -> Array:
    """Features (N,) by name as a network takes them, (N, C) float32."""
    for name, values in features.items():
        warn_of_rounding(name, values)
    return np.stack([real_numbers(values, f"feature '{name}'") for name, values in features.items()], axis=1)


def rounded_by_float32(dtype: np.dtype) -> bool:
    """Whether features of a type may be rounded when a network is given them."""
    return dtype.newbyteorder("=").name not in EXACT


def warn_of_rounding(name: str, values: Array) -> None:
    """Say it where float32 makes different values of a feature equal."""
    if values.dtype.kind not in "iuf" or not rounded_by_float32(values.dtype):
        return
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if np.isfinite(rounded).all() and len(np.unique(values)) > len(np.unique(rounded)):
        told = f"feature '{name}' is rounded to float32, which makes different values equal"
        warnings.warn(f"{told}; give the network differences, or a smaller unit", stacklevel=6)


def in_order(
    hits: HitBatch, ours: Mapping[str, Any], written: Callable[[Any], Any] = lambda values: values
) -> list[tuple[str, str, Any]]:
    """All columns of a table to be written, each where and under the name that it had when it was read.

    Args:
        hits: with the user's columns.
        ours: columns by our names; those that were not in the file follow. A feature that is one of the user's
            columns too is left to that: it has not been rounded.
        written: what becomes of the values of the user's.

    Returns:
        our word or :data:`~pointae.carried.USERS`, name and values of each.
    """
    carried, rest = hits.carried or Carried(), dict(ours)
    own = set(carried.names)
    for name in own & set(hits.feature_names):
        rest.pop(name, None)
    new = set(rest) - {field for field, _ in carried.layout}
    users, columns = iter(carried.values), []
    for field, name in carried.layout:
        if field == USERS:
            columns.append((USERS, f"user_{name}" if name in new else name, written(next(users))))
        elif field in rest:
            columns.append((field, name, rest.pop(field)))
    return columns + [(name, name, values) for name, values in rest.items()]


def constant_within(codes: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether all rows of an event (N,) ``codes`` have the same ``other`` (N,)."""
    order = np.argsort(codes, kind="stable")
    same = np.diff(codes[order]) == 0
    return not (np.diff(other[order])[same] != 0).any()


def numbered_labels(labels: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """(N,) number of each row's label by first appearance, and the labels."""
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(label, len(numbers)) for label in labels), np.int64)
    return codes, list(numbers)


def grouped_by_event(
    codes: NDArray[np.int64],
    event_id: Array | list[str],
    values: Mapping[str, Array],
    features: Mapping[str, Array],
    carried: Carried | None,
    instead: int | None = None,
) -> Columns:
    """Rows grouped by event, in the order in which events appear; rows of an event stay in order.

    Args:
        codes: (N,) number of the event of each row, 0..B-1 by first appearance.
        event_id: (B,) what the table calls them.
        values: (N,) columns by our names.
        features: (N,) by their names.
        carried: the user's columns, N rows.
        instead: put this where a bin number does not fit, rather than fail.

    Raises:
        DataError: a bin number that does not fit 32 bits.
    """
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        values = {name: column[order] for name, column in values.items()}
        features = {name: column[order] for name, column in features.items()}
        if carried is not None:
            carried = replace(carried.hits(torch.from_numpy(order)), places=order)
    counts = np.bincount(codes, minlength=len(event_id))
    offsets = checked_offsets(np.concatenate([[0], np.cumsum(counts)]), len(codes))
    coords = np.stack([values[name] for name in COORDS], axis=1)
    return Columns(
        coords=whole_numbers(coords, "coords", np.int32, place_of(offsets), instead),
        offsets=offsets,
        per_hit={name: values[name] for name in FIELD_DTYPES if name in values},
        features=single_precision(features) if features else None,
        feature_names=tuple(features),
        event_id=event_id,
        event_time_ns=values[TIME][offsets[:-1]] if TIME in values else None,
        carried=carried,
    )

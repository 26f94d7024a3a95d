"""The user's own arrays in native files, and columns of tables that are kept there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pointae.carried import USERS, Carried, texts_of
from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io.assembly import FIELD_DTYPES, Array, Columns, real_numbers
from pointae.io.native import OPTIONAL, REQUIRED
from pointae.io.options import ReadOptions
from pointae.io.table import COORDS, TIME, warn_of_rounding

COLUMNS, EVENT_COLUMNS = "columns", "event_columns"
"""Attributes: of each column of a table our word, its name and its array; of arrays a value an event name and array."""
PLAIN = re.compile(r"[^/\\:\0]+")
"""Names that HDF5 and zip archives hold as they are."""


class UserArrays:
    """Which arrays of a native file are the user's.

    Args:
        shapes, dtypes: of the arrays that are none of the format's, by name.
        hits, events: of the file.
        stated: its attributes.
        options: whether to carry them, and which are features.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, np.dtype],
        hits: int,
        events: int,
        stated: Mapping[str, Any],
        options: ReadOptions,
    ) -> None:
        self._options = options
        whole = [name for name in shapes if shapes[name] and name not in RESERVED and _is_plain_type(dtypes[name])]
        layout = _rows_of_texts(stated.get(COLUMNS), 3)
        apart = {array: name for name, array in _rows_of_texts(stated.get(EVENT_COLUMNS), 2)}
        known = {array for _, _, array in layout}
        self.per_event = {
            name: apart.get(name, name)
            for name in whole
            if shapes[name][0] == events and name not in known and (name in apart or events != hits)
        }
        of_hits = [name for name in whole if shapes[name][0] == hits and name not in self.per_event]
        ours = ("event", *COORDS, *FIELD_DTYPES, TIME)
        self.layout = [(field, name) for field, name, array in layout if field != USERS or array in of_hits]
        self.layout = self.layout or [(name, name) for name in ours]
        self.per_hit = [array for field, _, array in layout if field == USERS and array in of_hits]
        new = [name for name in of_hits if name not in known]
        self.layout += [(USERS, name) for name in new]
        self.per_hit += new
        if not options.carry:
            names = [name for field, name in self.layout if field == USERS]
            taken = [i for i, name in enumerate(names) if name in options.features]
            self.layout = [(USERS, names[i]) for i in taken]
            self.per_hit, self.per_event = [self.per_hit[i] for i in taken], {}

    @property
    def carries(self) -> bool:
        """Whether they are taken along."""
        return self._options.carry

    @property
    def names(self) -> list[str]:
        """What the user calls them."""
        return [*(name for field, name in self.layout if field == USERS), *self.per_event.values()]

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays to read."""
        return [*self.per_hit, *self.per_event]

    def into(self, columns: Columns, read: Callable[[str], Array], features: Array | None) -> Columns:
        """The columns with the user's, and those of them that are named as features.

        Args:
            columns: N hits of B events.
            read: the values of an array of the file for these hits or events.
            features: (N, C) as they are stored, where float32 may round them; else ``None``.
        """
        layout, values = list(self.layout), [read(name) for name in self.per_hit]
        names = [name for field, name in layout if field == USERS]
        for name in self._options.features:
            if name in names and name not in columns.feature_names:
                _add_feature(columns, name, values[names.index(name)])
        if features is not None:
            for i, name in enumerate(columns.feature_names[: features.shape[1]]):
                warn_of_rounding(name, features[:, i])
                if name not in names:
                    layout.append((USERS, name))
                    values.append(features[:, i])
        if self._options.carry:
            per_event = {name: read(array) for array, name in self.per_event.items()}
            columns.carried = Carried(tuple(layout), tuple(values), per_event)
        return columns


RESERVED = {*REQUIRED, *OPTIONAL, "attributes", "allow_pickle", "file"}
"""Names of arrays that are the format's, or that numpy takes for options."""


def in_native_order(values: Array) -> Array:
    """Numbers in this machine's order of bytes."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def stored_users(hits: HitBatch, arrays: dict[str, Array]) -> dict[str, Any]:
    """Add the user's columns to the arrays of a native file; the attributes that tell which is which.

    Features that are kept unrounded take the place of those in single precision.
    """
    carried = hits.carried
    if carried is None or not (carried.values or carried.per_event):
        return {}
    own = dict(carried.columns)
    numbers = [_storable(own[name]) for name in hits.feature_names if name in own]
    whole = len(numbers) == len(hits.feature_names) > 0 and all(a.dtype.kind in "biuf" and a.ndim == 1 for a in numbers)
    # Of different types there is no array; then each is kept apart.
    instead = set(hits.feature_names) if whole and len({a.dtype for a in numbers}) == 1 else set()
    if instead:
        arrays["features"] = np.stack(numbers, axis=1)
    columns, users = [], iter(carried.values)
    for field, name in carried.layout:
        values = next(users) if field == USERS else None
        if field == USERS and name not in instead:
            columns.append([field, name, _stored(name, values, arrays)])
        elif field != USERS:
            columns.append([field, name, ""])
    events = [[name, _stored(name, values, arrays)] for name, values in carried.per_event.items()]
    told = {COLUMNS: columns if any(field == USERS for field, *_ in columns) else [], EVENT_COLUMNS: events}
    return {name: value for name, value in told.items() if value}


def _stored(name: str, values: Any, arrays: dict[str, Array]) -> str:
    plain = PLAIN.fullmatch(name) and name not in RESERVED and name not in arrays and name not in (".", "..")
    called = name if plain else next(f"user_{i}" for i in range(len(arrays) + 1) if f"user_{i}" not in arrays)
    arrays[called] = _storable(values)
    return called


def _storable(values: Any) -> Array:
    """Numbers as they are; of other types, which these formats lack, the texts."""
    if not isinstance(values, np.ndarray) and not values.null_count:
        numbers = values.to_numpy()
        if numbers.dtype.kind in "biuf":
            return numbers
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values
    return np.array(texts_of(values) or [], object)


def _add_feature(columns: Columns, name: str, values: Array) -> None:
    if values.ndim != 1:
        raise DataError(f"feature '{name}' has {values.ndim} dimensions, a feature is one number a hit")
    column = real_numbers(values, f"feature '{name}'")[:, None]
    warn_of_rounding(name, values)
    columns.features = column if columns.features is None else np.concatenate([columns.features, column], axis=1)
    columns.feature_names = (*columns.feature_names, name)


def _is_plain_type(dtype: np.dtype) -> bool:
    return dtype.kind in "biufSUO" and dtype.names is None


def _rows_of_texts(stated: Any, length: int) -> list[list[str]]:
    """The rows of a table in an attribute; what is none is passed over."""
    rows = [row for row in stated if isinstance(row, list) and len(row) == length] if isinstance(stated, list) else []
    return [row for row in rows if all(isinstance(text, str) for text in row)]

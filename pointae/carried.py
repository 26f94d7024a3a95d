"""The user's own columns of a file: taken along as they are, never shown to a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pointae.optional import require

USERS = ""
"""Stands in a layout for our word where a column is the user's."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What a file holds beside hits, and where all of its columns stood.

    Args:
        layout: of each column of the file our word for it, :data:`USERS` where it is none of ours, and its name.
        values: (N, ...) of each of the user's columns, in their order: NumPy arrays of any dtype (texts as Python
            strings), or Arrow's, which keep types that NumPy lacks.
        per_event: (B, ...) arrays by name.
        places: (N,) rows of the file, where those of an event were scattered over it.
    """

    layout: tuple[tuple[str, str], ...] = ()
    values: tuple[Any, ...] = ()
    per_event: Mapping[str, Any] = field(default_factory=dict)
    places: NDArray[np.int64] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the user's columns, in their order."""
        return [name for ours, name in self.layout if ours == USERS]

    @property
    def columns(self) -> list[tuple[str, Any]]:
        """The user's columns: name and values; two may be called alike."""
        return list(zip(self.names, self.values, strict=True))

    def hits(self, rows: Tensor | slice) -> Carried:
        """Those of some hits, by their numbers (M,) or a slice of them."""
        index = rows if isinstance(rows, slice) else rows.cpu().numpy()
        places = None if self.places is None else self.places[index]
        return replace(self, values=tuple(_taken(values, index) for values in self.values), places=places)

    def events(self, index: Tensor | slice) -> Carried:
        """Those of some events, by their numbers (E,) or a slice of them; of their hits see :meth:`hits`."""
        chosen = index if isinstance(index, slice) else index.cpu().numpy()
        return replace(self, per_event={name: _taken(values, chosen) for name, values in self.per_event.items()})

    @classmethod
    def joined(cls, parts: Sequence[Carried]) -> Carried:
        """One after the other; of files with other columns those that all have, as they stand in the first."""
        first, columns = parts[0], [dict(part.columns) for part in parts]
        if any(part.layout != first.layout for part in parts):
            layout = [c for c in first.layout if c[0] != USERS or all(c[1] in own for own in columns)]
            values = [_joined([own[name] for own in columns]) for ours, name in layout if ours == USERS]
        else:
            layout = list(first.layout)
            values = [_joined(same) for same in zip(*(part.values for part in parts), strict=True)]
        shared = [name for name in first.per_event if all(name in part.per_event for part in parts)]
        events = {name: _joined([part.per_event[name] for part in parts]) for name in shared}
        places = [part.places for part in parts if part.places is not None]
        # Rows of one file, not of several.
        known = np.concatenate(places) if len(places) == len(parts) else None
        return cls(tuple(layout), tuple(values), events, known)


def texts_of(values: Any) -> list[str]:
    """Each value of a column (N, ...) as a cell of a table: text as it is, numbers so that they read back equal."""
    if not isinstance(values, np.ndarray):
        return _arrow_texts(values)
    if values.ndim > 1 or values.dtype.names:
        return [json.dumps(row, default=str) for row in values.tolist()]
    if values.dtype.kind == "S":
        return [text.decode("utf-8", "replace") for text in values.tolist()]
    if values.dtype.kind in "fM" and values.dtype != np.float64:
        return values.astype(np.str_).tolist()  # the shortest decimals of its own precision
    return ["" if value is None else str(value) for value in values.tolist()]


def _arrow_texts(values: Any) -> list[str]:
    arrow = require("pyarrow", extra="parquet")
    if arrow.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kinds = arrow.types
    if not (kinds.is_floating(values.type) or kinds.is_boolean(values.type) or kinds.is_nested(values.type)):
        try:
            return ["" if text is None else text for text in values.cast(arrow.string()).to_pylist()]
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            pass
    nested = kinds.is_nested(values.type)
    cells = values.to_pylist()
    return ["" if v is None else json.dumps(v, default=str) if nested else str(v) for v in cells]


def _taken(values: Any, index: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values[index]
    if isinstance(index, slice):
        start, stop, _ = index.indices(len(values))
        return values.slice(start, max(0, stop - start))
    return values.take(require("pyarrow", extra="parquet").array(index))


def _joined(parts: Sequence[Any]) -> Any:
    """Parts of a column, one after the other; as texts where they are of different types."""
    if all(isinstance(part, np.ndarray) for part in parts):
        if len({part.dtype for part in parts}) == 1 and len({part.shape[1:] for part in parts}) == 1:
            return np.concatenate(parts)
    elif not any(isinstance(part, np.ndarray) for part in parts) and len({str(part.type) for part in parts}) == 1:
        arrow = require("pyarrow", extra="parquet")
        chunks = [chunk for part in parts for chunk in getattr(part, "chunks", [part])]
        return arrow.chunked_array(chunks, parts[0].type)
    return np.array([text for part in parts for text in texts_of(part)] or [], object)

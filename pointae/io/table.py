"""What tables of hits have in common, one row a hit: names of columns, and rows grouped into events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pointae.errors import DataError
from pointae.io.assembly import FIELD_DTYPES, Array, Columns, checked_offsets, place_of, whole_numbers
from pointae.io.options import ReadOptions

COORDS = ("x", "y", "t")
TIME = "event_time_ns"


def our_names(header: Sequence[str], options: ReadOptions, advice: str = "") -> list[str]:
    """Names of columns by our words, where the reader was told that a file has others.

    Args:
        header: the file's own names.
        options: with ``columns``.
        advice: where the names are to be found.

    Raises:
        DataError: a column that every table has is missing, or two are called alike.
    """
    ours = {theirs: our for our, theirs in options.columns.items()}
    names = [ours.get(name, name) for name in header]
    missing = [name for name in ("event", *COORDS) if name not in names]
    if missing:
        found = ", ".join(names)[:200] or "nothing"
        fix = f"{advice}columns={{'{missing[0]}': ...}} takes another name"
        raise DataError(f"has no column {', '.join(missing)}; found {found}", fix=fix)
    if len(set(names)) < len(names):
        raise DataError(f"has two columns called '{next(n for n in names if names.count(n) > 1)}'")
    return names


def feature_columns(names: Sequence[str]) -> list[str]:
    """Those columns that are no field of hits."""
    return [name for name in names if name not in ("event", *COORDS, *FIELD_DTYPES, TIME)]


def grouped_by_event(
    codes: NDArray[np.int64],
    event_id: Array | list[str],
    values: Mapping[str, Array],
    features: Sequence[str],
    instead: int | None = None,
) -> Columns:
    """Rows grouped by event, in the order in which events appear; rows of an event stay in order.

    Args:
        codes: (N,) number of the event of each row, 0..B-1 by first appearance.
        event_id: (B,) what the table calls them.
        values: (N,) columns by our names.
        features: which of them are features.
        instead: put this where a bin number does not fit, rather than fail.

    Raises:
        DataError: a bin number that does not fit 32 bits.
    """
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        values = {name: column[order] for name, column in values.items()}
    counts = np.bincount(codes, minlength=len(event_id))
    offsets = checked_offsets(np.concatenate([[0], np.cumsum(counts)]), len(codes))
    coords = np.stack([values[name] for name in COORDS], axis=1)
    return Columns(
        coords=whole_numbers(coords, "coords", np.int32, place_of(offsets), instead),
        offsets=offsets,
        per_hit={name: values[name] for name in FIELD_DTYPES if name in values},
        features=np.stack([values[name] for name in features], axis=1) if features else None,
        feature_names=tuple(features),
        event_id=event_id,
        event_time_ns=values[TIME][offsets[:-1]] if TIME in values else None,
    )

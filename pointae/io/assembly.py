"""From the arrays that a file claims to be hits to a checked :class:`HitBatch`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from pointae.carried import Carried
from pointae.errors import DataError
from pointae.geometry import DetectorGeometry, even_geometry
from pointae.hits import PER_HIT, HitBatch
from pointae.io.advice import advice_on, said
from pointae.io.options import ReadOptions
from pointae.voxels import pack_keys, voxel_indices

Array = NDArray[Any]
Place = Callable[[int], str]

FIELD_DTYPES = {name: torch.zeros(0, dtype=dtype).numpy().dtype for name, dtype in PER_HIT.items()}
"""NumPy dtypes of the optional per-hit fields."""
MAX_BAD = 0.01
MAX_TEXT = 1000
"""Characters of an event's name."""
SKIP = f"correct it, or leave such events out with {said('on_bad', 'skip')}"


@dataclass
class Columns:
    """N hits of B events as a file has them: not yet believed.

    Args:
        coords: (N, 3) integer.
        offsets: (B + 1,) int64, already checked by :func:`checked_offsets`.
        per_hit: optional fields, (N,) each.
        features: (N, C) float32, or ``None``.
        feature_names: C names.
        event_id: (B,) integers or strings.
        event_time_ns: (B,) float64.
        geometry: the grid that the file states.
        carried: the user's own columns.
    """

    coords: Array
    offsets: NDArray[np.int64]
    per_hit: dict[str, Array] = field(default_factory=dict)
    features: Array | None = None
    feature_names: tuple[str, ...] = ()
    event_id: Array | Sequence[str] | None = None
    event_time_ns: Array | None = None
    geometry: DetectorGeometry | None = None
    carried: Carried | None = None


class Assembler:
    """Makes checked hits of a file's blocks, in order, and keeps count of bad events.

    Args:
        options: how to read.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self._events = 0
        self._skipped: list[int] = []
        self._first_problem = ""

    @property
    def instead(self) -> int | None:
        """What stands for a bin number that does not fit, which makes its event a bad one; ``None``: it is told."""
        return -1 if self.options.skips else None

    def hits(self, columns: Columns) -> HitBatch:
        """The hits of the next block of events.

        Raises:
            DataError: a value that cannot be, named with its event, hit and field.
        """
        first, events = self._events, len(columns.offsets) - 1
        self._events += events
        geometry = columns.geometry or self.options.geometry or grid_that_holds(columns.coords)
        _check_times(columns.event_time_ns, first)
        bad = self._bad_events(columns, geometry, first)
        if self.options.skips and columns.event_id is None:
            columns.event_id = np.arange(first, first + events)
        hits = _batch(columns, geometry, trusted=len(bad) > 0)
        if len(bad):
            good = np.setdiff1d(np.arange(events), bad)
            hits = hits.events(torch.from_numpy(good)).replace(trusted=False)
        return without_duplicates(hits, self.options.duplicates, first)

    def finish(self) -> None:
        """Report what was skipped, after the last block.

        Raises:
            DataError: more than 1 % of the events were bad.
        """
        if not self._skipped:
            return
        count, share = len(self._skipped), len(self._skipped) / self._events
        told = f"{count} of {self._events} events are bad, the first because {self._first_problem}"
        if share > MAX_BAD:
            raise DataError(f"{told}; at most {MAX_BAD:.0%} may be skipped", fix="correct the file")
        numbers = ", ".join(map(str, self._skipped))
        warnings.warn(f"skipped {told}; skipped events: {numbers}", stacklevel=4)

    def _bad_events(self, columns: Columns, geometry: DetectorGeometry, first: int) -> NDArray[np.int64]:
        problems = _problems(columns, geometry)
        if not problems:
            return np.empty(0, np.int64)
        row, what = min(problems)
        told = f"{what}: hit {place_of(columns.offsets, first)(row)}"
        if not self.options.skips:
            raise DataError(told, fix=SKIP)
        self._first_problem = self._first_problem or told
        rows = np.flatnonzero(_bad_rows(columns, geometry))
        events = np.unique(np.searchsorted(columns.offsets, rows, side="right") - 1)
        self._skipped += (events + first).tolist()
        return events


def _check_times(times: Array | None, first: int) -> None:
    if times is not None and not np.isfinite(times).all():
        event = first + int((~np.isfinite(times)).argmax())
        raise DataError(f"event_time_ns of event {event} is not finite", fix="0 where the time is unknown")


def _outside(column: Array, bins: int) -> NDArray[np.bool_]:
    return (column < 0) | (column >= bins)


def _bad_rows(columns: Columns, geometry: DetectorGeometry) -> NDArray[np.bool_]:
    bad = np.zeros(len(columns.coords), bool)
    for i, axis in enumerate(geometry.axes):
        bad |= _outside(columns.coords[:, i], axis.bins)
    if columns.features is not None:
        bad |= ~np.isfinite(columns.features).all(1)
    if "score" in columns.per_hit:
        bad |= ~np.isfinite(columns.per_hit["score"])
    return bad


def _problems(columns: Columns, geometry: DetectorGeometry) -> list[tuple[int, str]]:
    """First bad row of each field and what is wrong with it; without large temporaries while all is well."""
    found = []
    for i, (letter, axis) in enumerate(zip("xyt", geometry.axes, strict=True)):
        column = columns.coords[:, i]
        if len(column) and (column.min() < 0 or column.max() >= axis.bins):
            row = int(_outside(column, axis.bins).argmax())
            told = f"{letter} = {column[row]} is outside the grid, {letter} must be in 0..{axis.bins - 1}"
            found.append((row, told))
    numbers = {"score": columns.per_hit.get("score")}
    if columns.features is not None:
        numbers |= {f"feature '{name}'": columns.features[:, i] for i, name in enumerate(columns.feature_names)}
    for name, values in numbers.items():
        if values is not None and not np.isfinite(values).all():
            found.append((int((~np.isfinite(values)).argmax()), f"{name} is not finite"))
    return found


def place_of(offsets: NDArray[np.int64], first: int = 0) -> Place:
    """What to call row ``row``: its number in its event and the number of that event in the file."""

    def place(row: int) -> str:
        event = int(np.searchsorted(offsets, row, side="right")) - 1
        return f"{row - int(offsets[event])} of event {first + event}"

    return place


def _batch(columns: Columns, geometry: DetectorGeometry, trusted: bool) -> HitBatch:
    ids = columns.event_id
    numeric = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
    times = columns.event_time_ns
    return HitBatch(
        geometry,
        torch.from_numpy(columns.coords),
        torch.from_numpy(columns.offsets),
        None if columns.features is None else torch.from_numpy(columns.features),  # type: ignore[arg-type]
        columns.feature_names,
        **{name: torch.from_numpy(values) for name, values in columns.per_hit.items()},
        event_id=None if ids is None else torch.from_numpy(ids) if numeric else tuple(texts(ids)),
        event_time_ns=None if times is None else torch.from_numpy(times),
        carried=columns.carried,
        trusted=trusted,
    )


def grid_that_holds(coords: Array) -> DetectorGeometry:
    """The smallest grid with all of ``coords`` (N, 3): for files that state none; called ``"grid"``."""
    highest = (int(coords[:, i].max()) if len(coords) else 0 for i in range(3))
    return even_geometry(tuple(max(0, high) + 1 for high in highest))  # type: ignore[arg-type]


def without_duplicates(hits: HitBatch, policy: str, first: int = 0) -> HitBatch:
    """Hits with at most one in a cell of an event.

    Args:
        hits: N hits.
        policy: ``"keep"`` all; ``"merge"`` into the first signal hit of the cell, or the first
            hit where the cell has no signal; ``"error"``.
        first: number of the first event in its file, for the error.

    Raises:
        DataError: two hits share a cell and the policy is ``"error"``.
    """
    if policy == "keep" or not hits.num_hits:
        return hits
    keys = pack_keys(voxel_indices(hits), hits.geometry.spatial_shape)
    if policy == "merge" and hits.signal is not None:
        # Signal first inside a cell; both sorts are stable, so the rest stays in order.
        order = torch.argsort(hits.signal.logical_not(), stable=True)
        order = order[torch.argsort(keys[order], stable=True)]
    else:
        order = torch.argsort(keys, stable=True)
    ordered = keys[order]
    repeats = torch.zeros(hits.num_hits, dtype=torch.bool)
    repeats[order[1:]] = ordered[1:] == ordered[:-1]
    if policy == "error" and bool(repeats.any()):
        row = int(repeats.nonzero()[0, 0])
        x, y, t = hits.coords[row].tolist()
        place = place_of(hits.offsets.numpy(), first)(row)
        raise DataError(
            f"cell x = {x}, y = {y}, t = {t} is used twice: hit {place}; {int(repeats.sum())} such hits in all",
            fix=f"read with {said('duplicates', 'merge')}; or keep",
        )
    return hits.select(~repeats)


# ---- types ------------------------------------------------------------------------------------------


def whole_numbers(
    values: Array, name: str, dtype: DTypeLike, place: Place | None = None, instead: int | None = None
) -> Array:
    """Values of any integer type and byte order as ``dtype``.

    Args:
        values: integers.
        name: of the field, for the error.
        dtype: a signed integer type.
        place: what to call row ``row`` (see :func:`place_of`).
        instead: put this where a value does not fit, rather than fail.

    Raises:
        DataError: another type, or a value that does not fit.
    """
    wanted = np.dtype(dtype)
    if values.dtype == wanted:
        return values
    if values.dtype.kind not in "iu":
        told = f"{name} must be whole numbers of an integer type, got {_told(values.dtype)}"
        raise DataError(told, fix=advice_on(name, "of an integer type, e.g. int32"))
    if np.can_cast(values.dtype, wanted):
        return values.astype(wanted)
    limits = np.iinfo(wanted)
    outside = (values < limits.min) | (values > limits.max)
    if outside.any():
        if instead is None:
            row = int(np.argwhere(outside)[0, 0])
            where = f"hit {place(row)}" if place else f"row {row}"
            fix = f"numbers from {limits.min} to {limits.max} do; {SKIP}" if place else advice_on(name, f"of {wanted}")
            raise DataError(f"{name} = {values[outside][0]} does not fit {wanted}: {where}", fix=fix)
        return np.where(outside, instead, values).astype(wanted)
    return values.astype(wanted)


def as_field(values: Array, name: str, place: Place | None = None) -> Array:
    """An optional per-hit field in the dtype that :class:`HitBatch` wants.

    Raises:
        DataError: the values are of another kind.
    """
    wanted = FIELD_DTYPES[name]
    if wanted.kind == "i":
        return whole_numbers(values, name, wanted, place)
    if wanted.kind == "f":
        return real_numbers(values, name)
    if values.dtype.kind == "b":
        values = values.view(np.uint8)  # a file can hold other bytes than 0 and 1
    if values.dtype.kind not in "iu" or (len(values) and (values.min() < 0 or values.max() > 1)):
        told = f"{name} must be true or false (bool, or 0 and 1), got {_told(values.dtype)}"
        raise DataError(told, fix=advice_on(name, "bool, or 0 and 1 of an integer type"))
    return values.astype(bool)


def real_numbers(values: Array, name: str, dtype: DTypeLike = np.float32) -> Array:
    """Values of any real type and byte order as ``dtype``; whether they are finite is checked later."""
    if values.dtype.kind not in "fiu":
        raise DataError(
            f"{name} must be real numbers, got {_told(values.dtype)}", fix=advice_on(name, "of real numbers")
        )
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def texts(values: Iterable[str | bytes], name: str = "event_id") -> list[str]:
    """Texts that every format can hold.

    Raises:
        DataError: one that is no UTF-8, holds NUL or half a character, or is longer than :data:`MAX_TEXT`.
    """
    found = []
    for row, value in enumerate(values):
        try:
            text = value.decode() if isinstance(value, bytes) else str(value)
            text.encode()
        except UnicodeError:
            raise DataError(f"{name} of event {row} is not UTF-8 text", fix="write it as such, or as numbers") from None
        if len(text) > MAX_TEXT or "\0" in text:
            wrong = "holds NUL" if "\0" in text else f"has {len(text):,} characters, at most {MAX_TEXT:,} are read"
            raise DataError(f"{name} of event {row} {wrong}", fix="give events short names or numbers")
        found.append(text)
    return found


def checked_offsets(values: Array, num_hits: int) -> NDArray[np.int64]:
    """CSR offsets that run from 0 to ``num_hits``.

    Raises:
        DataError: another rank or type, or offsets that run backwards, too far or not far enough.
    """
    if values.ndim != 1 or not len(values):
        raise DataError(f"offsets must be (E + 1,) integers, got shape {values.shape}")
    offsets = whole_numbers(values, "offsets", np.int64)
    backwards = offsets[1:] < offsets[:-1]  # a difference could wrap
    if backwards.any():
        event = int(backwards.argmax())
        told = f"offsets run backwards at event {event}: {offsets[event]} then {offsets[event + 1]}"
        raise DataError(told, fix="event e owns the hits offsets[e]:offsets[e + 1]")
    if offsets[0] != 0 or offsets[-1] != num_hits:
        told = f"offsets must run from 0 to the {num_hits} rows of coords, got {offsets[0]} to {offsets[-1]}"
        raise DataError(told, fix="one more offset than events, the last is the number of hits")
    return offsets


def check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    """Raise unless ``shape`` is ``wanted``, where ``None`` stands for any length."""
    if len(shape) != len(wanted) or any(w is not None and s != w for s, w in zip(shape, wanted, strict=True)):
        lengths = ", ".join("any" if length is None else str(length) for length in wanted)
        raise DataError(f"{name} must have shape ({lengths}), got {str(tuple(shape))[:80]}")


def _told(dtype: np.dtype) -> str:
    return "objects" if dtype.kind == "O" else str(dtype)

"""The ragged set of hits of a batch of events: the one structure that travels through pointae."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pointae.carried import Carried
from pointae.errors import DataError
from pointae.geometry import DetectorGeometry
from pointae.hit_checks import check
from pointae.ordering import numbered

if TYPE_CHECKING:
    from torch_geometric.data import Batch

PER_HIT = {
    "signal": torch.bool,
    "track": torch.int32,
    "origin": torch.int8,
    "category": torch.int8,
    "score": torch.float32,
    "kept": torch.bool,
    "hit_id": torch.int64,
}
"""Optional fields with one value a hit, and their dtypes."""

ORIGINS = ("signal", "uniform", "track", "crossing", "hot", "edge", "cluster", "other")
"""Meaning of ``origin``: where a hit came from; 0 is signal, the rest kinds of noise."""

EventIds = Tensor | tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HitBatch:
    """N hits of B events as flat arrays with CSR offsets.

    A multiset: two hits may share a cell. Checked once on creation, then trusted.

    Args:
        geometry: the detector's grid.
        coords: (N, 3) int32 ``[x, y, t]``, bin numbers, 0-based, inside the grid.
        offsets: (B + 1,) int64; event b owns hits ``offsets[b]:offsets[b + 1]``. Events without
            hits and batches without events are legal.
        features: (N, C) float32, finite; C may be 0 (the default).
        feature_names: C names.
        signal: (N,) bool, truth: left by a particle.
        track: (N,) int32, which particle; -1 noise.
        origin: (N,) int8, index into :data:`ORIGINS`.
        category: (N,) int8, kind of an occupied voxel.
        score: (N,) float32, a model's probability of signal.
        kept: (N,) bool, a model's decision.
        hit_id: (N,) int64, the user's own number of the hit.
        event_id: (B,) int64, or B strings: the user's own number of the event.
        event_time_ns: (B,) float64, the time that an event's t counts from.
        carried: the user's own columns of a file, which stay with their hits and no network sees.
        trusted: skip the checks, for values derived from a checked batch.

    Raises:
        DataError: a field has the wrong shape or dtype, or a value that cannot be.
    """

    geometry: DetectorGeometry
    coords: Tensor
    offsets: Tensor
    features: Tensor = None  # type: ignore[assignment]  # (N, 0) is filled in below
    feature_names: tuple[str, ...] = ()
    signal: Tensor | None = None
    track: Tensor | None = None
    origin: Tensor | None = None
    category: Tensor | None = None
    score: Tensor | None = None
    kept: Tensor | None = None
    hit_id: Tensor | None = None
    event_id: EventIds | None = None
    event_time_ns: Tensor | None = None
    carried: Carried | None = None
    trusted: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self.features is None:
            object.__setattr__(self, "features", self.coords.new_zeros((len(self.coords), 0), dtype=torch.float32))
        if not self.trusted:
            check(self, PER_HIT)
            object.__setattr__(self, "trusted", True)

    # ---- what it holds -------------------------------------------------------------------------

    @property
    def num_hits(self) -> int:
        """N, hits of all events."""
        return len(self.coords)

    @property
    def batch_size(self) -> int:
        """B, events, counting those without hits."""
        return len(self.offsets) - 1

    @property
    def device(self) -> torch.device:
        """Where the arrays live."""
        return self.coords.device

    @property
    def counts(self) -> Tensor:
        """(B,) int64, hits of each event."""
        return self.offsets.diff()

    @cached_property
    def batch(self) -> Tensor:
        """(N,) int64, event of each hit."""
        return torch.repeat_interleave(self.counts, output_size=self.num_hits)

    @cached_property
    def pos(self) -> Tensor:
        """(N, 3) float32, physical positions of the hits' bin centres (mm, mm, ns)."""
        return self.geometry.positions(self.coords)

    @property
    def present(self) -> dict[str, Tensor]:
        """The optional per-hit fields that this batch has, by name."""
        return {name: value for name in PER_HIT if (value := getattr(self, name)) is not None}

    def local_index(self) -> Tensor:
        """(N,) int64, number of each hit inside its event."""
        return numbered(self.counts)[1]

    # ---- making new ones -----------------------------------------------------------------------

    def replace(self, **changes: Any) -> HitBatch:
        """A copy with some fields changed; the caller vouches for their shapes and values.

        Other numbers of hits (``offsets``) leave the user's columns behind unless they are given anew.
        """
        kept = {"trusted": True, "carried": None if "offsets" in changes else self.carried}
        return replace(self, **{**kept, **changes})

    def select(self, mask: Tensor) -> HitBatch:
        """The hits where ``mask`` (N,) is true; every event stays, if need be empty."""
        if mask.dtype != torch.bool or mask.shape != (self.num_hits,):
            raise DataError(f"mask must be ({self.num_hits},) bool, got {tuple(mask.shape)} {mask.dtype}")
        ends = torch.cat([mask.new_zeros(1, dtype=torch.int64), mask.cumsum(0)])[self.offsets]
        return self._take(mask.nonzero()[:, 0], offsets=ends)

    def events(self, index: Tensor | slice | Sequence[int]) -> HitBatch:
        """The events numbered ``index``, in that order, by slicing the CSR arrays.

        Args:
            index: (E,) int64, a sequence of numbers, or a slice: of a plain one the arrays are views.
        """
        if isinstance(index, slice):
            numbers = range(*index.indices(self.batch_size))
            if numbers.step == 1:
                return self._run(numbers.start, numbers.stop)
            index = list(numbers)
        index = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        counts = self.counts[index]
        offsets = _offsets_of(counts)
        shift = self.offsets[index] - offsets[:-1]
        rows = torch.repeat_interleave(shift, counts) + torch.arange(int(offsets[-1]), device=self.device)
        ids = self.event_id
        if isinstance(ids, tuple):
            ids = tuple(ids[i] for i in index.tolist())
        elif ids is not None:
            ids = ids[index]
        times = None if self.event_time_ns is None else self.event_time_ns[index]
        carried = None if self.carried is None else self.carried.events(index)
        return self.replace(carried=carried)._take(rows, offsets=offsets, event_id=ids, event_time_ns=times)

    def _run(self, first: int, last: int) -> HitBatch:
        """Consecutive events, ``last`` behind them: views of the arrays, nothing is copied."""
        last = max(first, last)
        offsets = self.offsets[first : last + 1]
        given = {name: value for name in ("event_id", "event_time_ns") if (value := getattr(self, name)) is not None}
        per_event: dict[str, Any] = {name: value[first:last] for name, value in given.items()}
        carried = None if self.carried is None else self.carried.events(slice(first, last))
        return self.replace(carried=carried)._take(
            slice(int(offsets[0]), int(offsets[-1])), offsets=offsets - offsets[0], **per_event
        )

    def in_blocks(self, events: int) -> Iterator[HitBatch]:
        """The events in order, ``events`` at a time; at least one block, if need be empty."""
        for first in range(0, max(self.batch_size, 1), events):
            yield self.events(slice(first, first + events))

    def reordered(self, rows: Tensor) -> HitBatch:
        """The hits in another order; ``rows`` (N,) must keep every hit in its event."""
        return self._take(rows)

    def to(self, device: torch.device | str) -> HitBatch:
        """The batch on another device."""
        moved = {
            spec.name: value.to(device)
            for spec in fields(self)
            if isinstance(value := getattr(self, spec.name), Tensor)
        }
        return self.replace(**moved)

    @classmethod
    def empty(cls, geometry: DetectorGeometry, batch_size: int = 0) -> HitBatch:
        """``batch_size`` events without hits."""
        coords = torch.zeros((0, 3), dtype=torch.int32)
        return cls(geometry, coords, torch.zeros(batch_size + 1, dtype=torch.int64))

    @classmethod
    def from_batch_index(
        cls, geometry: DetectorGeometry, coords: Tensor, batch: Tensor, batch_size: int, **per_hit: Any
    ) -> HitBatch:
        """A batch from hits in any order that each name their event; grouped stably.

        Args:
            geometry: the detector's grid.
            coords: (N, 3) int32.
            batch: (N,) int64, event of each hit, in [0, batch_size).
            batch_size: number of events B.
            per_hit: any of ``features`` and :data:`PER_HIT`; other fields pass through unsorted.

        Raises:
            DataError: a hit of an event that there is not, or as on creation.
        """
        order = torch.argsort(batch, stable=True)
        if len(batch) and (int(batch[order[0]]) < 0 or int(batch[order[-1]]) >= batch_size):
            raise DataError(f"batch must be in 0..{batch_size - 1}, got {int(batch.min())} to {int(batch.max())}")
        offsets = _offsets_of(torch.bincount(batch, minlength=batch_size))
        rows = {
            name: value[order] if name in PER_HIT or name == "features" else value
            for name, value in per_hit.items()
            if value is not None
        }
        return cls(geometry, coords[order], offsets, **rows)

    @classmethod
    def concat(cls, batches: Sequence[HitBatch]) -> HitBatch:
        """The events of several batches, one after the other.

        Optional fields and the user's columns survive where every batch has them; a missing ``event_id`` drops all.

        Raises:
            DataError: no batches, or batches of different grids or features.
        """
        if not batches:
            raise DataError("cannot join an empty list of batches: the grid would be unknown")
        first = batches[0]
        for other in batches[1:]:
            if other.geometry != first.geometry or other.feature_names != first.feature_names:
                raise DataError(
                    f"cannot join hits of {other.geometry.spatial_shape} and "
                    f"{first.geometry.spatial_shape} or of other features"
                )
        shared = [n for n in (*PER_HIT, "event_time_ns") if all(getattr(b, n) is not None for b in batches)]
        joined: dict[str, Any] = {name: torch.cat([getattr(b, name) for b in batches]) for name in shared}
        ids = [b.event_id for b in batches]
        if all(isinstance(i, Tensor) for i in ids):
            joined["event_id"] = torch.cat(ids)  # type: ignore[arg-type]
        elif all(i is not None for i in ids):
            joined["event_id"] = tuple(str(n) for i in ids for n in (i.tolist() if isinstance(i, Tensor) else i or ()))
        carried = [batch.carried for batch in batches if batch.carried is not None]
        if len(carried) == len(batches):
            joined["carried"] = Carried.joined(carried)
        return cls(
            first.geometry,
            torch.cat([b.coords for b in batches]),
            _offsets_of(torch.cat([b.counts for b in batches])),
            torch.cat([b.features for b in batches]),
            first.feature_names,
            trusted=True,
            **joined,
        )

    def _take(self, rows: Tensor | slice, **event_fields: Any) -> HitBatch:
        names = ("coords", "features", *self.present)
        if self.carried is not None:
            event_fields["carried"] = self.carried.hits(rows)
        if isinstance(rows, slice):
            return self.replace(**{name: getattr(self, name)[rows] for name in names}, **event_fields)
        return self.replace(**{name: getattr(self, name).index_select(0, rows) for name in names}, **event_fields)

    # ---- torch-geometric -----------------------------------------------------------------------

    def to_pyg(self) -> Batch:
        """The batch as a ``torch_geometric.data.Batch``.

        ``pos`` (N, 3) are physical positions, ``x`` the features, ``coords`` the bin numbers;
        optional fields keep their names. :meth:`from_pyg` is its inverse.
        """
        from torch_geometric.data import Batch, Data

        data = Batch(
            _base_cls=Data,
            x=self.features,
            pos=self.pos,
            coords=self.coords,
            batch=self.batch,
            ptr=self.offsets,
            feature_names=list(self.feature_names),
            **self.present,
        )
        for name in ("event_id", "event_time_ns"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        data._num_graphs = self.batch_size
        return data

    @classmethod
    def from_pyg(cls, data: Batch, geometry: DetectorGeometry) -> HitBatch:
        """A batch from a ``torch_geometric`` batch with ``coords`` and ``ptr`` (as of :meth:`to_pyg`)."""
        optional = {name: data[name] for name in (*PER_HIT, "event_id", "event_time_ns") if name in data}
        names = tuple(data["feature_names"]) if "feature_names" in data else ()
        return cls(geometry, data["coords"], data["ptr"], data.x, names, **optional)


def _offsets_of(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

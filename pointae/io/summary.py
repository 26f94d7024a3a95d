"""What is in a file of hits, in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import PER_HIT, HitBatch
from pointae.robots import KINDS, cleaned
from pointae.voxels import pack_keys, voxel_indices


class Summary:
    """Counts and ranges of hits that are told block by block.

    Example:
        >>> summary = Summary()
        >>> for hits in read_blocks("run_7.h5", 1000):  # doctest: +SKIP
        ...     summary.add(hits)
        >>> summary.as_dict()["events"]
        0
    """

    def __init__(self) -> None:
        self._counts: list[Tensor] = []
        self._signal: list[Tensor] = []
        self._ranges: list[Tensor] = []
        self._shared = {"cell": 0, "pixel": 0}
        self._robots = RobotSummary()
        self._last: HitBatch | None = None

    def add(self, hits: HitBatch) -> None:
        """Take the next events."""
        self._last = hits
        self._counts.append(hits.counts)
        if hits.signal is not None:
            per_event = torch.zeros(hits.batch_size, dtype=torch.int64)
            self._signal.append(per_event.index_add_(0, hits.batch, hits.signal.long()))
        if hits.category is not None and hits.geometry.name == "robots":
            self._robots.add(hits)
        if hits.num_hits:
            self._ranges.append(torch.stack([hits.coords.amin(0), hits.coords.amax(0)]))
            x, y, t = hits.geometry.spatial_shape
            cells = voxel_indices(hits)
            self._shared["cell"] += _repeats(cells, (x, y, t))
            self._shared["pixel"] += _repeats(cells * torch.tensor([1, 1, 1, 0], dtype=torch.int32), (x, y, 1))

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it.

        ``hits_sharing_a_cell`` and ``hits_sharing_a_pixel`` count the hits beyond the first of each;
        the latter are what a 2D image with embedded time of flight would lose.

        Raises:
            DataError: nothing was added.
        """
        counts = torch.cat([torch.zeros(0, dtype=torch.int64), *self._counts])
        told: dict[str, Any] = {
            "events": len(counts),
            "hits": int(counts.sum()),
            "empty_events": int((counts == 0).sum()),
            "hits_per_event": spread(counts),
            "hits_sharing_a_cell": self._shared["cell"],
            "hits_sharing_a_pixel": self._shared["pixel"],
        }
        if self._last is not None:
            told |= _kind(self._last)
            told["ranges"] = self._extent()
        if self._signal:
            signal = torch.cat(self._signal)
            told["signal_hits"] = int(signal.sum())
            told["signal_per_event"] = spread(signal)
        return told | self._robots.as_dict()

    def _extent(self) -> dict[str, list[int] | None]:
        if not self._ranges:
            return dict.fromkeys("xyt")
        low, high = torch.stack(self._ranges).amin(0)[0], torch.stack(self._ranges).amax(0)[1]
        return {axis: [int(low[i]), int(high[i])] for i, axis in enumerate("xyt")}


class RobotSummary:
    """What only robots have: kinds, duplicates, and how many cleaning leaves; told block by block."""

    def __init__(self) -> None:
        self._blocks: list[HitBatch] = []

    def add(self, robots: HitBatch) -> None:
        """Take the next robots."""
        self._blocks.append(HitBatch(robots.geometry, robots.coords, robots.offsets, category=robots.category))

    def as_dict(self) -> dict[str, Any]:
        """Counts and shares; empty where there were no robots. ``duplicate_events`` are not empty."""
        if not self._blocks:
            return {}
        robots = HitBatch.concat(self._blocks)
        assert robots.category is not None
        counts = torch.bincount(robots.category.long(), minlength=len(KINDS) + 1).tolist()
        cells, different = robots.batch_size * robots.geometry.num_cells, cleaned(robots).batch_size
        return {
            "single_hit_events": int((robots.counts == 1).sum()),
            "duplicate_events": int((robots.counts > 0).sum()) - different,
            "different_events": different,
            "hits_of_kind": dict(zip(KINDS, counts[1:], strict=True)),
            "share_of_kind": {
                kind: count / robots.num_hits if robots.num_hits else None
                for kind, count in zip(KINDS, counts[1:], strict=True)
            },
            "empty_cells": cells - robots.num_hits,
            "share_of_empty_cells": 1 - robots.num_hits / max(cells, 1),
        }


def summarise(blocks: Iterable[HitBatch]) -> dict[str, Any]:
    """The :class:`Summary` of blocks of events."""
    summary = Summary()
    for hits in blocks:
        summary.add(hits)
    return summary.as_dict()


def spread(values: Tensor) -> dict[str, float] | None:
    """Smallest, median, mean and largest of values (B,); ``None`` if there are none."""
    if not len(values):
        return None
    wide = values.double()
    middle = wide.quantile(0.5) if len(wide) < 1 << 24 else wide.median()  # quantile takes no more than that
    return {"min": float(wide.min()), "median": float(middle), "mean": float(wide.mean()), "max": float(wide.max())}


def _kind(hits: HitBatch) -> dict[str, Any]:
    fields = [name for name in (*PER_HIT, "event_id", "event_time_ns") if getattr(hits, name) is not None]
    return {
        "detector": hits.geometry.name,
        "spatial_shape": list(hits.geometry.spatial_shape),
        "features": list(hits.feature_names),
        "fields": fields,
    }


def _repeats(cells: Tensor, shape: tuple[int, int, int]) -> int:
    """Rows of ``cells`` (N, 4) beyond the first of each kind."""
    try:
        return len(cells) - len(pack_keys(cells, shape).unique())
    except DataError:  # a grid too large for one key a cell
        return len(cells) - len(cells.unique(dim=0))

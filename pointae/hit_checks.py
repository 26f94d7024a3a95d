"""What must hold of hits: shapes, dtypes, values that can be; checked once, when a batch is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.geometry import DetectorGeometry

if TYPE_CHECKING:
    from pointae.hits import HitBatch


def check(hits: HitBatch, per_hit: Mapping[str, torch.dtype]) -> None:
    """Raise unless every field of ``hits`` is what it must be.

    Args:
        hits: N hits of B events.
        per_hit: dtypes of the optional fields with one value a hit.

    Raises:
        DataError: a field has the wrong shape or dtype, or a value that cannot be.
    """
    coords, offsets = hits.coords, hits.offsets
    if coords.dtype != torch.int32 or coords.ndim != 2 or coords.shape[1] != 3:
        raise DataError(f"coords must be (N, 3) int32 [x, y, t], got {tuple(coords.shape)} {coords.dtype}")
    if offsets.dtype != torch.int64 or offsets.ndim != 1 or len(offsets) < 1:
        raise DataError(f"offsets must be (B + 1,) int64, got {tuple(offsets.shape)} {offsets.dtype}")
    _check_offsets(offsets, len(coords))
    _check_inside(coords, offsets, hits.geometry)
    features = hits.features
    if features.dtype != torch.float32 or features.ndim != 2 or len(features) != len(coords):
        raise DataError(f"features must be ({len(coords)}, C) float32, got {tuple(features.shape)} {features.dtype}")
    if len(hits.feature_names) != features.shape[1]:
        raise DataError(f"features has {features.shape[1]} columns but {len(hits.feature_names)} names")
    if features.numel() and not bool(torch.isfinite(features).all()):
        row = int((~torch.isfinite(features)).any(1).nonzero()[0, 0])
        raise DataError(f"features must be finite, hit {row} of event {_event_of(offsets, row)} is not")
    for name, value in hits.present.items():
        if value.dtype != per_hit[name] or value.shape != (len(coords),):
            raise DataError(f"{name} must be ({len(coords)},) {per_hit[name]}, got {tuple(value.shape)} {value.dtype}")
    for name, column in hits.carried.columns if hits.carried else ():
        if len(column) != len(coords):
            raise DataError(f"column '{name}' must have a value for each of {len(coords)} hits, got {len(column)}")
    for name in ("event_id", "event_time_ns"):
        value = getattr(hits, name)
        if value is not None and len(value) != len(offsets) - 1:
            raise DataError(f"{name} must have one value for each of {len(offsets) - 1} events, got {len(value)}")


def _check_offsets(offsets: Tensor, num_hits: int) -> None:
    backwards = offsets[1:] < offsets[:-1]  # a difference could wrap
    if bool(backwards.any()):
        event = int(backwards.nonzero()[0, 0])
        before, after = int(offsets[event]), int(offsets[event + 1])
        raise DataError(f"offsets run backwards at event {event}: {before} then {after}")
    if int(offsets[0]) != 0 or int(offsets[-1]) != num_hits:
        raise DataError(f"offsets must run from 0 to {num_hits} hits, got {int(offsets[0])} to {int(offsets[-1])}")


def _check_inside(coords: Tensor, offsets: Tensor, geometry: DetectorGeometry) -> None:
    if not len(coords):
        return
    for i, (letter, axis) in enumerate(zip("xyt", geometry.axes, strict=True)):
        column = coords[:, i]
        if int(column.min()) < 0 or int(column.max()) >= axis.bins:
            row = int(((column < 0) | (column >= axis.bins)).nonzero()[0, 0])
            raise DataError(
                f"{letter} = {int(column[row])} of hit {row} (event {_event_of(offsets, row)}) is outside "
                f"the grid, {letter} must be in 0..{axis.bins - 1}"
            )


def _event_of(offsets: Tensor, row: int) -> int:
    return int(torch.searchsorted(offsets, torch.tensor(row, device=offsets.device), right=True)) - 1

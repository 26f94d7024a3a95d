"""Hits to be written and read again, and their comparison."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import PER_HIT, HitBatch

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Few examples, any of which may use the same folder."""


def assert_same(got: HitBatch, wanted: HitBatch, but: tuple[str, ...] = ()) -> None:
    """Equal in every field, dtypes included."""
    assert got.geometry == wanted.geometry
    assert got.feature_names == wanted.feature_names
    for name in ("coords", "offsets", "features", "event_time_ns", "event_id", *PER_HIT):
        a, b = getattr(got, name), getattr(wanted, name)
        if name in but:
            continue
        if isinstance(b, torch.Tensor):
            assert isinstance(a, torch.Tensor), name
            assert a.dtype == b.dtype, name
            assert torch.equal(a, b), name
        else:
            assert a == b, name


def some_hits(counts=(3, 0, 2), shape=(5, 4, 9), seed=0, distinct=False, **fields) -> HitBatch:
    """Hits at random cells; ``distinct``: no two of an event in one pixel."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    coords = torch.stack([torch.randint(0, b, (int(offsets[-1]),), generator=generator) for b in shape], 1).int()
    if distinct:
        pixels = [torch.randperm(shape[0] * shape[1], generator=generator)[:n] for n in counts]
        flat = torch.cat(pixels)
        coords[:, 0], coords[:, 1] = flat % shape[0], flat // shape[0]
    return HitBatch(even_geometry(shape), coords, offsets, **fields)


@st.composite
def hit_batches(draw) -> HitBatch:
    counts = draw(st.lists(st.integers(0, 5), max_size=5))
    n = sum(counts)
    geometry = draw(st.sampled_from([even_geometry((3, 2, 40_000), (0.5, 1.0, 2.0)), torch_geometry()]))
    column = [draw(st.lists(st.integers(0, axis.bins - 1), min_size=n, max_size=n)) for axis in geometry.axes]
    coords = torch.tensor(list(zip(*column, strict=True)), dtype=torch.int32).view(n, 3)
    optional = draw(st.sets(st.sampled_from([*PER_HIT, "features", "event_time_ns"])))

    def values(kind: st.SearchStrategy, length: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(draw(st.lists(kind, min_size=length, max_size=length)), dtype=dtype)

    kinds = {torch.bool: st.booleans(), torch.float32: st.floats(width=32, allow_nan=False, allow_infinity=False)}
    fields = {}
    for name in sorted(optional & PER_HIT.keys()):
        size = {torch.int8: 7, torch.int32: 31, torch.int64: 63}.get(PER_HIT[name], 0)
        kind = kinds.get(PER_HIT[name], st.integers(-(1 << size), (1 << size) - 1))
        fields[name] = values(kind, n, PER_HIT[name])
    if "features" in optional:
        fields["features"] = values(kinds[torch.float32], 2 * n, torch.float32).view(n, 2)
        fields["feature_names"] = ("tot", 'µ, "q"')
    if "event_time_ns" in optional:
        fields["event_time_ns"] = values(st.floats(-1e12, 1e12), len(counts), torch.float64)
    letters = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
    ids = draw(st.sampled_from([None, st.integers(-(1 << 63), (1 << 63) - 1), letters]))
    if ids is not None:
        drawn = draw(st.lists(ids, min_size=len(counts), max_size=len(counts), unique=True))
        fields["event_id"] = tuple(drawn) if ids is letters else torch.tensor(drawn, dtype=torch.int64)
    return HitBatch(geometry, coords, torch.tensor([0, *counts]).cumsum(0), **fields)

"""Small events for tests: random ones, and drawn ones beside their slow description as Python lists."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from pointae.geometry import DetectorGeometry, even_geometry, torch_geometry
from pointae.hits import PER_HIT, HitBatch

NAMES = ("energy", "width")


def random_hits(sizes, seed=0, geometry: DetectorGeometry | None = None, features=0) -> HitBatch:
    """Events of the given numbers of hits, evenly over the grid, with random truth."""
    geometry, total = geometry or torch_geometry(), sum(sizes)
    draw = torch.Generator().manual_seed(seed)
    coords = [torch.randint(bins, (total,), generator=draw) for bins in geometry.spatial_shape]
    return HitBatch(
        geometry,
        torch.stack(coords, 1).int(),
        torch.tensor([0, *sizes]).cumsum(0),
        torch.randn(total, features, generator=draw),
        tuple(f"f{i}" for i in range(features)),
        signal=torch.rand(total, generator=draw) < 0.3,
    )


def shuffled_inside(hits: HitBatch, seed=0) -> Tensor:
    """(N,) rows of a random order of the hits inside each event."""
    draw = torch.Generator().manual_seed(seed)
    pieces = [torch.randperm(n, generator=draw) + start for n, start in zip(hits.counts, hits.offsets, strict=False)]
    return torch.cat([*pieces, torch.zeros(0, dtype=torch.int64)])


@st.composite
def batches(draw, shape=(3, 4, 5), max_events=5, max_hits=4) -> HitBatch:
    """0 to ``max_events`` events, often empty, with duplicates, and any of the optional fields."""
    sizes = draw(st.lists(st.integers(0, max_hits), max_size=max_events))
    total, numbers = sum(sizes), torch.Generator().manual_seed(draw(st.integers(0, 999)))

    def random(high: int, *size: int) -> Tensor:
        return torch.randint(high, size, generator=numbers)

    fields: dict[str, Any] = {
        name: random(2 if dtype == torch.bool else 9, total).to(dtype)
        for name, dtype in PER_HIT.items()
        if draw(st.booleans())
    }
    if draw(st.booleans()):
        fields |= {"features": random(99, total, 2).float(), "feature_names": NAMES}
    ids = draw(st.sampled_from(["none", "numbers", "words"]))
    if ids == "numbers":
        fields["event_id"] = random(99, len(sizes))
    if ids == "words":
        fields["event_id"] = tuple(f"e{int(i)}" for i in random(99, len(sizes)))
    if draw(st.booleans()):
        fields["event_time_ns"] = random(99, len(sizes)).double()
    coords = torch.stack([random(bins, total) for bins in shape], 1).int()
    return HitBatch(even_geometry(shape), coords, torch.tensor([0, *sizes]).cumsum(0), **fields)


def described(hits: HitBatch) -> list[dict[str, Any]]:
    """Each event as a dict of its own fields and a list of hits, each a dict: slow and obvious."""
    events = []
    for event in range(hits.batch_size):
        rows = range(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        own: dict[str, Any] = {
            "hits": [
                {"coords": hits.coords[row].tolist(), "features": hits.features[row].tolist()}
                | {name: value[row].item() for name, value in hits.present.items()}
                for row in rows
            ]
        }
        for name in ("event_id", "event_time_ns"):
            value = getattr(hits, name)
            if value is not None:
                own[name] = value[event].item() if isinstance(value, Tensor) else value[event]
        events.append(own)
    return events

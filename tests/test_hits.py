"""HitBatch against per-event Python lists: what it refuses, and that slicing, joining and conversion lose nothing."""

from __future__ import annotations

import pytest
import torch
from events import batches, described
from hypothesis import given, settings
from hypothesis import strategies as st

from pointae.errors import DataError
from pointae.geometry import even_geometry
from pointae.hits import PER_HIT, HitBatch

GRID = even_geometry((3, 4, 5))
COORDS = torch.tensor([[0, 0, 0], [2, 3, 4], [1, 1, 1]], dtype=torch.int32)
OFFSETS = torch.tensor([0, 2, 2, 3])


def hits_with(**changes) -> HitBatch:
    return HitBatch(**{"geometry": GRID, "coords": COORDS, "offsets": OFFSETS, **changes})


def edited(row: int, column: int, value: int) -> torch.Tensor:
    coords = COORDS.clone()
    coords[row, column] = value
    return coords


REFUSED = {
    "coords int64": ({"coords": COORDS.long()}, r"coords must be \(N, 3\) int32 \[x, y, t\], got \(3, 3\) torch.int64"),
    "coords of 4": ({"coords": torch.zeros(3, 4, dtype=torch.int32)}, r"coords must be .* got \(3, 4\)"),
    "coords flat": ({"coords": torch.zeros(9, dtype=torch.int32)}, r"coords must be .* got \(9,\)"),
    "offsets int32": ({"offsets": OFFSETS.int()}, r"offsets must be \(B \+ 1,\) int64, got \(4,\) torch.int32"),
    "offsets none": ({"offsets": OFFSETS[:0]}, r"offsets must be \(B \+ 1,\) int64, got \(0,\)"),
    "offsets 2-d": ({"offsets": OFFSETS[None]}, r"offsets must be .* got \(1, 4\)"),
    "backwards": ({"offsets": torch.tensor([0, 2, 1, 3])}, "offsets run backwards at event 1: 2 then 1"),
    "not from 0": ({"offsets": torch.tensor([1, 3])}, "offsets must run from 0 to 3 hits, got 1 to 3"),
    "not to N": ({"offsets": torch.tensor([0, 2])}, "offsets must run from 0 to 3 hits, got 0 to 2"),
    "x high": ({"coords": edited(1, 0, 3)}, r"x = 3 of hit 1 \(event 0\) is outside the grid, x must be in 0..2"),
    "y low": ({"coords": edited(2, 1, -1)}, r"y = -1 of hit 2 \(event 2\) is outside the grid, y must be in 0..3"),
    "t high": ({"coords": edited(0, 2, 5)}, r"t = 5 of hit 0 \(event 0\) is outside the grid, t must be in 0..4"),
    "features double": (
        {"features": torch.zeros(3, 1).double(), "feature_names": ("e",)},
        r"features must be \(3, C\) float32, got \(3, 1\) torch.float64",
    ),
    "features short": ({"features": torch.zeros(2, 1), "feature_names": ("e",)}, r"features must be \(3, C\)"),
    "features unnamed": ({"features": torch.zeros(3, 2), "feature_names": ("e",)}, "2 columns but 1 names"),
    "features nan": (
        {"features": torch.tensor([[0.0], [0.0], [torch.nan]]), "feature_names": ("e",)},
        "features must be finite, hit 2 of event 2 is not",
    ),
    "event_id": ({"event_id": torch.arange(2)}, "event_id must have one value for each of 3 events, got 2"),
    "event_time": ({"event_time_ns": torch.zeros(4)}, "event_time_ns must have one value for each of 3 events, got 4"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_creation_refuses(fields, message):
    with pytest.raises(DataError, match=message) as caught:
        hits_with(**fields)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("name", "dtype"), PER_HIT.items())
def test_creation_refuses_per_hit_fields_of_another_type_or_length(name, dtype):
    for wrong in (torch.zeros(3, dtype=torch.float16), torch.zeros(2, dtype=dtype), torch.zeros(3, 1, dtype=dtype)):
        with pytest.raises(DataError, match=rf"{name} must be \(3,\) {dtype}"):
            hits_with(**{name: wrong})


def test_trusted_skips_the_checks_and_a_checked_batch_is_trusted():
    assert hits_with(coords=edited(1, 0, 99), trusted=True).coords[1, 0] == 99
    assert hits_with().trusted
    with pytest.raises(DataError, match="outside the grid"):
        hits_with().replace(coords=edited(1, 0, 99), trusted=False)


def test_counts_batch_and_local_index():
    hits = hits_with()
    assert (hits.num_hits, hits.batch_size) == (3, 3)
    assert hits.counts.tolist() == [2, 0, 1]
    assert hits.batch.tolist() == [0, 0, 2]
    assert hits.local_index().tolist() == [0, 1, 0]
    assert hits.features.shape == (3, 0)
    assert torch.equal(hits.pos, GRID.positions(COORDS))


def test_hits_that_share_a_cell_are_all_kept():
    hits = HitBatch(GRID, COORDS[[0, 0, 0]], torch.tensor([0, 3]))
    assert HitBatch.concat([hits, hits]).num_hits == 6
    assert hits.events([0, 0]).counts.tolist() == [3, 3]


@given(batches(), st.data())
def test_select_keeps_every_event(hits, data):
    chosen = data.draw(st.lists(st.booleans(), min_size=hits.num_hits, max_size=hits.num_hits))
    expected = described(hits)
    for event, start in zip(expected, hits.offsets.tolist(), strict=False):
        event["hits"] = [hit for i, hit in enumerate(event["hits"]) if chosen[start + i]]
    result = hits.select(torch.tensor(chosen, dtype=torch.bool))
    assert described(result) == expected
    assert result.geometry == hits.geometry
    assert result.feature_names == hits.feature_names
    for mask in (torch.ones(hits.num_hits), torch.ones(hits.num_hits + 1, dtype=torch.bool)):
        with pytest.raises(DataError, match=rf"mask must be \({hits.num_hits},\) bool"):
            hits.select(mask)


@given(batches(), st.data())
def test_events_are_sliced_in_the_order_asked(hits, data):
    expected = described(hits)
    numbers = st.integers(0, hits.batch_size - 1) if hits.batch_size else st.nothing()
    index = data.draw(st.lists(numbers, max_size=6)) if hits.batch_size else []
    for asked in (index, torch.tensor(index, dtype=torch.int64)):
        assert described(hits.events(asked)) == [expected[i] for i in index]
    piece = data.draw(st.slices(hits.batch_size))
    for asked in (piece, slice(2, 1), slice(None, None, -1)):
        assert described(hits.events(asked)) == expected[asked]


@given(batches())
@settings(max_examples=40)
def test_concat_of_events_is_the_batch(hits):
    pieces = [hits.events([event]) for event in range(hits.batch_size)]
    if pieces:
        assert described(HitBatch.concat(pieces)) == described(hits)
    assert described(HitBatch.concat([hits, hits])) == described(hits) * 2


def test_concat_drops_what_not_every_batch_has_and_refuses_the_unlike():
    full = hits_with(signal=torch.ones(3, dtype=torch.bool), event_id=torch.arange(3), event_time_ns=torch.zeros(3))
    joined = HitBatch.concat([full, hits_with()])
    assert joined.signal is None
    assert joined.event_id is None
    assert joined.event_time_ns is None
    assert HitBatch.concat([full, full]).event_id.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(DataError, match="empty list"):
        HitBatch.concat([])
    other_grid = HitBatch(even_geometry((4, 4, 5)), COORDS, OFFSETS)
    other_features = hits_with(features=torch.zeros(3, 1), feature_names=("e",))
    for other in (other_grid, other_features):
        with pytest.raises(DataError, match="cannot join hits of"):
            HitBatch.concat([full, other])


@given(batches(), st.randoms(use_true_random=False))
def test_from_batch_index_groups_stably(hits, random):
    rows = list(range(hits.num_hits))
    random.shuffle(rows)
    order = torch.tensor(rows, dtype=torch.int64)
    per_hit = {name: value[order] for name, value in hits.present.items()}
    own = {"feature_names": hits.feature_names, "event_id": hits.event_id, "event_time_ns": hits.event_time_ns}
    grouped = HitBatch.from_batch_index(
        hits.geometry, hits.coords[order], hits.batch[order], hits.batch_size,
        features=hits.features[order], **per_hit, **own,
    )  # fmt: skip
    expected = described(hits)
    for event, found in zip(range(hits.batch_size), expected, strict=True):
        start = int(hits.offsets[event])
        found["hits"] = [found["hits"][row - start] for row in rows if int(hits.batch[row]) == event]
    assert described(grouped) == expected


@pytest.mark.parametrize(("batch", "found"), [([0, 2, 1], "0 to 2"), ([0, -1, 1], "-1 to 1")])
def test_from_batch_index_refuses_events_that_there_are_not(batch, found):
    with pytest.raises(DataError, match=rf"batch must be in 0..1, got {found}"):
        HitBatch.from_batch_index(GRID, COORDS, torch.tensor(batch), 2)


def test_replace_and_reordered_change_nothing_else():
    hits = hits_with(signal=torch.tensor([True, False, True]), hit_id=torch.arange(3))
    replaced = hits.replace(score=torch.tensor([0.5, 0.25, 1.0]))
    assert hits.score is None
    assert replaced.hit_id is hits.hit_id
    turned = replaced.reordered(torch.tensor([1, 0, 2]))
    assert turned.hit_id.tolist() == [1, 0, 2]
    assert turned.score.tolist() == [0.25, 0.5, 1.0]
    assert turned.signal.tolist() == [False, True, True]
    assert torch.equal(turned.offsets, hits.offsets)
    assert hits.to("cpu").hit_id.tolist() == [0, 1, 2]


@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_empty_batches_pass_through_everything(batch_size):
    empty = HitBatch.empty(GRID, batch_size)
    assert (empty.num_hits, empty.batch_size) == (0, batch_size)
    assert empty.pos.shape == (0, 3)
    assert empty.local_index().shape == (0,)
    none = torch.zeros(0, dtype=torch.bool)
    for same in (empty.select(none), empty.events(slice(None)), HitBatch.concat([empty]), empty.reordered(none.long())):
        assert (same.num_hits, same.batch_size) == (0, batch_size)
    assert HitBatch.from_pyg(empty.to_pyg(), GRID).batch_size == batch_size


@given(batches())
@settings(max_examples=25, deadline=None)
def test_torch_geometric_and_back(hits):
    data = hits.to_pyg()
    assert data.num_graphs == hits.batch_size
    assert torch.equal(data.pos, hits.pos)
    assert torch.equal(data.batch, hits.batch)
    back = HitBatch.from_pyg(data, hits.geometry)
    assert described(back) == described(hits)
    assert back.feature_names == hits.feature_names


def test_a_batch_made_by_torch_geometric_is_understood_without_features():
    from torch_geometric.data import Batch, Data

    singles = [Data(coords=COORDS[rows], num_nodes=len(rows)) for rows in ([0, 1], [], [2])]
    hits = HitBatch.from_pyg(Batch.from_data_list(singles), GRID)
    assert described(hits) == described(hits_with())

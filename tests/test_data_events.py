"""Events of a config: every one once an epoch, the same ones whatever the batches, and no split shares any."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from events import described, random_hits
from torch import Tensor

from pointae.config import (
    DataSettings,
    DegradationSettings,
    EventCounts,
    FileSource,
    PatternSource,
    SplitShares,
    TorchSource,
)
from pointae.data.events import SPLITS, EventData
from pointae.degrade import settings_at
from pointae.errors import ConfigError, DataError
from pointae.geometry import deepclean3d_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.simulate import simulate_events

COUNTS = EventCounts(train=23, validation=9, test=8)
SHARES = SplitShares(train=0.5, validation=0.3, test=0.2)
TORCH = TorchSource(signal=5, noise=10)
PATTERNS = PatternSource(mixture={"line": 1.0}, points=40, spread_px=1.0)
DEGRADED = DegradationSettings(thin=6, smear={"x": 10.0}, noise=7)


def simulated(seed=1, **settings) -> EventData:
    return EventData(DataSettings(**{"source": TORCH, "events": COUNTS, **settings}), seed)


def epoch_of(data: EventData, split="train", batch_size=5, epoch=1) -> tuple[list[dict], list[dict]]:
    """Inputs and targets of an epoch, event by event, in the order of its batches."""
    batches = list(data.batches(split, batch_size, epoch))
    return (
        [event for batch in batches for event in described(batch.hits)],
        [event for batch in batches for event in described(batch.target)],
    )


def frozen(events: list[dict]) -> Counter[str]:
    return Counter(map(repr, events))


@pytest.fixture
def stored(tmp_path):
    """``stored(**source)``: data of a file of 20 events, the event's number as ``event_id``, none empty."""

    def stored(seed=1, signal=True, **source) -> EventData:
        hits = random_hits([*range(1, 20), 3], seed=5).replace(event_id=torch.arange(20))
        path = tmp_path / f"{signal}.h5"
        if not path.exists():
            write_hits(path, hits if signal else hits.replace(signal=None))
        settings = {name: source.pop(name) for name in ("degradation", "schedule", "target") if name in source}
        return EventData(DataSettings(source=FileSource(paths=[str(path)], **source), shares=SHARES, **settings), seed)

    return stored


def numbers_of(data: EventData, split: str) -> list[int]:
    return data.source.numbers[split].tolist()


# ---- an epoch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 5, 23, 50])
def test_an_epoch_is_every_event_once_in_full_batches_and_a_rest(batch_size):
    data = simulated(fresh=False)
    sizes = [batch.hits.batch_size for batch in data.batches("train", batch_size)]
    full, rest = divmod(23, batch_size)
    assert sizes == [batch_size] * full + [rest] * (rest > 0)
    numbers = torch.cat([batch.hits.event_id for batch in data.batches("train", batch_size)])
    assert numbers.tolist() != list(range(23))
    assert sorted(numbers.tolist()) == list(range(23))
    assert data.num_events("train") == 23


@pytest.mark.parametrize(
    "settings",
    [{}, {"fresh": False}, {"source": PATTERNS, "degradation": DEGRADED}, {"degradation": DEGRADED}],
    ids=["fresh", "fixed", "patterns", "degraded"],
)
def test_batches_are_slices_of_one_epoch_whatever_their_size(settings, monkeypatch):
    data = simulated(**settings)
    for split in SPLITS:
        whole = epoch_of(data, split, 100, epoch=3)
        assert epoch_of(data, split, 4, epoch=3) == whole
        monkeypatch.setattr("pointae.data.events.CHUNK", 8)
        assert epoch_of(data, split, 3, epoch=3) == whole
        monkeypatch.undo()


def test_chunks_need_not_be_multiples_of_the_batch(monkeypatch):
    monkeypatch.setattr("pointae.data.events.CHUNK", 7)
    sizes = [batch.hits.batch_size for batch in simulated().batches("train", 4)]
    assert sizes == [4, 4, 4, 4, 4, 3]


def test_fresh_epochs_share_no_event_and_fixed_ones_only_change_their_order():
    fresh, fixed = simulated(), simulated(fresh=False)
    assert not frozen(epoch_of(fresh, epoch=1)[0]) & frozen(epoch_of(fresh, epoch=2)[0])
    first, second = (epoch_of(fixed, epoch=epoch)[0] for epoch in (1, 2))
    assert first != second
    assert frozen(first) == frozen(second)
    ids = torch.cat([batch.hits.event_id for batch in fresh.batches("train", 5, epoch=3)])
    assert sorted(ids.tolist()) == list(range(46, 69))


def test_an_epoch_is_a_function_of_seed_and_number():
    assert epoch_of(simulated(), epoch=2) == epoch_of(simulated(), epoch=2)
    assert not frozen(epoch_of(simulated(seed=1))[0]) & frozen(epoch_of(simulated(seed=2))[0])


@pytest.mark.parametrize("degradation", [DegradationSettings(), DEGRADED], ids=["clean", "degraded"])
def test_validation_and_test_are_the_same_every_time(degradation):
    data = simulated(degradation=degradation)
    for split in ("validation", "test"):
        first = epoch_of(data, split, epoch=1)
        assert epoch_of(data, split, epoch=7) == first
        whole = data.all_events(split)
        assert (described(whole.hits), described(whole.target)) == first
        assert whole.hits.event_id.tolist() == list(range(data.num_events(split)))


@pytest.mark.parametrize("source", [TORCH, PATTERNS], ids=["torch", "patterns"])
def test_simulated_splits_share_no_event(source):
    events = [frozen(epoch_of(simulated(source=source), split)[0]) for split in SPLITS]
    for event in (a & b for a, b in zip(events, events[1:] + events[:1], strict=True)):
        assert not event


# ---- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["random", "ordered"])
def test_file_splits_are_disjoint_and_complete(stored, split):
    data = stored(split=split)
    parts = [numbers_of(data, name) for name in SPLITS]
    assert [len(part) for part in parts] == [10, 6, 4] == [data.num_events(name) for name in SPLITS]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(20))
    if split == "ordered":
        assert [*parts[0], *parts[1], *parts[2]] == list(range(20))
    else:
        assert parts != [numbers_of(stored(split=split, seed=2), name) for name in SPLITS]
        assert parts == [numbers_of(stored(split=split), name) for name in SPLITS]
    for name, part in zip(SPLITS, parts, strict=True):
        seen = torch.cat([batch.hits.event_id for batch in data.batches(name, 3)])
        assert sorted(seen.tolist()) == part


def test_stored_events_are_those_of_the_file(stored):
    data = stored()
    original = random_hits([*range(1, 20), 3], seed=5)
    for batch in data.batches("train", 4):
        expected = original.events(batch.hits.event_id)
        assert torch.equal(batch.hits.coords, expected.coords)
        assert torch.equal(batch.hits.signal, expected.signal)
    assert data.geometry == torch_geometry()


def test_several_files_are_one_recording(tmp_path):
    for name, start in (("a.h5", 0), ("b.h5", 3)):
        write_hits(tmp_path / name, random_hits([2, 1, 4]).replace(event_id=torch.arange(3) + start))
    source = FileSource(paths=[str(tmp_path / name) for name in ("a.h5", "b.h5")], split="ordered")
    data = EventData(DataSettings(source=source, shares=SHARES), 1)
    assert [data.all_events(split).hits.event_id.tolist() for split in ("validation", "test")] == [[3, 4], [5]]


@pytest.mark.parametrize(
    ("sizes", "shares", "split"), [([2, 1], (0.6, 0.2, 0.2), "validation"), ([2, 1, 3], (0.0, 0.5, 0.5), "train")]
)
def test_files_with_too_few_events_to_train_are_refused_at_once(tmp_path, sizes, shares, split):
    write_hits(tmp_path / "a.h5", random_hits(sizes))
    settings = DataSettings(
        source=FileSource(paths=[str(tmp_path / "a.h5")]),
        shares=SplitShares(train=shares[0], validation=shares[1], test=shares[2]),
    )
    with pytest.raises(DataError, match=rf"no events of {len(sizes)} are left for {split} \(raise its share"):
        EventData(settings, 1)


def test_a_run_may_do_without_test_events_until_they_are_asked_for(tmp_path):
    write_hits(tmp_path / "a.h5", random_hits([2, 1, 3]))
    source, shares = FileSource(paths=[str(tmp_path / "a.h5")]), SplitShares(train=0.5, validation=0.5, test=0.0)
    data = EventData(DataSettings(source=source, shares=shares), 1)
    assert data.num_events("test") == 0
    assert list(data.batches("test", 5)) == []
    with pytest.raises(DataError, match="no events are left for test"):
        data.all_events("test")


def test_files_without_truth_are_refused_unless_all_is_signal(stored):
    with pytest.raises(ConfigError, match=r"carry no truth to train on .*all_signal: true and add noise"):
        next(stored(signal=False).batches("train", 4))
    data = stored(signal=False, all_signal=True, degradation=DegradationSettings(noise=7))
    for batch in data.batches("train", 4):
        assert (batch.hits.counts - batch.target.counts).tolist() == [7] * batch.hits.batch_size
        assert batch.target.signal.all()


# ---- targets and degradation ---------------------------------------------------------------------------


def cells(hits: HitBatch) -> set[tuple[int, ...]]:
    return set(map(tuple, torch.cat([hits.batch[:, None], hits.coords], dim=1).tolist()))


def test_the_target_is_the_signal_of_the_input():
    for batch in simulated().batches("train", 6):
        assert torch.equal(batch.target.coords, batch.hits.coords[batch.hits.signal])
        assert batch.target.counts.tolist() == [5] * batch.hits.batch_size


@pytest.mark.parametrize("target", ["signal", "full"])
def test_degraded_inputs_have_the_signal_left_or_the_full_pattern_as_target(target):
    clean = simulated(source=PATTERNS)
    data = simulated(source=PATTERNS, degradation=DegradationSettings(thin=6, noise=7), target=target)
    assert data.geometry == deepclean3d_geometry()
    for before, batch in zip(clean.batches("train", 6), data.batches("train", 6), strict=True):
        assert batch.hits.counts.tolist() == [13] * batch.hits.batch_size
        signal = batch.hits.select(batch.hits.signal)
        assert signal.counts.tolist() == [6] * batch.hits.batch_size
        assert cells(signal) <= cells(before.hits)
        expected = before.hits if target == "full" else signal
        assert torch.equal(batch.target.coords, expected.coords)
        assert torch.equal(batch.target.offsets, expected.offsets)


def test_degradation_is_drawn_anew_for_training_epochs_of_the_same_events():
    data = simulated(source=PATTERNS, fresh=False, degradation=DEGRADED)

    def by_number(epoch: int) -> dict[int, str]:
        return {event["event_id"]: repr(event) for event in epoch_of(data, epoch=epoch)[0]}

    first, second = by_number(1), by_number(2)
    assert first.keys() == second.keys()
    assert all(first[number] != second[number] for number in first)


def noise_of(data: EventData, split: str, epoch: int) -> Tensor:
    return torch.cat([(~batch.hits.signal).sum()[None] for batch in data.batches(split, 100, epoch)])


def test_the_schedule_hardens_training_and_evaluates_at_its_end():
    schedule = {3: DegradationSettings(noise=20), 5: DegradationSettings(noise=40)}
    data = simulated(source=PATTERNS, degradation=DegradationSettings(noise=1), schedule=schedule)
    noise = [int(noise_of(data, "train", epoch)) / 23 for epoch in range(1, 7)]
    assert noise == [1, 1, 20, 20, 40, 40]
    assert {int(noise_of(data, "validation", epoch)) / 9 for epoch in (1, 4, 6)} == {40}
    assert settings_at(4, data.settings).noise == 20


def test_torch_events_can_be_made_again_from_their_origin(stored):
    data = simulated()
    source, seed = data.torch_origin("test")
    hits = data.all_events("test").hits
    assert torch.equal(simulate_events(source, seed, hits.event_id).coords, hits.coords)
    late = {3: DEGRADED}
    others = simulated(source=PATTERNS), simulated(degradation=DEGRADED), simulated(schedule=late), stored()
    assert [other.torch_origin("test") for other in others] == [None] * 4

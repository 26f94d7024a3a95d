"""Training events of several settings, and the true tracks that come with them."""

from __future__ import annotations

import pytest
import torch

from pointae.config import (
    DataSettings,
    EventCounts,
    PatternSource,
    TorchSource,
    TrainingPart,
)
from pointae.data.events import EventData
from pointae.data.simulated import split_seed
from pointae.errors import ConfigError
from pointae.simulate import simulate_events
from pointae.simulate.torch_detector import torch_truth

THREE, MANY = TorchSource(tracks=3, signal=20, noise=40), TorchSource(tracks=1, signal=10, noise=(300, 400))


def varied(**settings) -> EventData:
    parts = [TrainingPart(share=0.3, source=THREE), TrainingPart(share=0.2, from_epoch=2, source=MANY)]
    counts = EventCounts(train=600, validation=20, test=20)
    return EventData(DataSettings(source=TorchSource(noise=40), events=counts, variety=parts, **settings), 3)


def tracks_of(batch) -> list[int]:
    return torch.bincount(batch.tracks.event, minlength=batch.hits.batch_size).tolist()


@pytest.mark.parametrize("epoch", [1, 2])
def test_training_events_come_in_the_shares_asked_for(epoch):
    batches = list(varied().batches("train", 50, epoch))
    tracks = [count for batch in batches for count in tracks_of(batch)]
    hits = torch.cat([batch.hits.counts for batch in batches])
    assert tracks.count(3) / 600 == pytest.approx(0.3, abs=0.06)
    assert float((hits > 250).float().mean()) == pytest.approx(0.2 if epoch == 2 else 0.0, abs=0.06)
    assert set(tracks) == {1, 3}


def test_validation_and_test_are_not_varied():
    data = varied()
    plain = EventData(DataSettings(source=TorchSource(noise=40), events=data.settings.events), 3)
    for split in ("validation", "test"):
        assert torch.equal(data.all_events(split).hits.coords, plain.all_events(split).hits.coords)
        assert data.torch_origin(split) == plain.torch_origin(split)
    assert data.torch_origin("train") is None
    assert plain.torch_origin("train") is not None


@pytest.mark.parametrize("grouped", [False, True])
def test_each_event_is_the_simulators_with_its_own_tracks(grouped):
    """Against the simulator, called for one event at a time with each of the settings."""
    data = varied(group_by_size=grouped)
    seed, seen = split_seed(3, "train"), []
    for batch in data.batches("train", 64, epoch=2):
        first = batch.tracks.event.tolist()
        assert first == sorted(first)
        for row in range(0, batch.hits.batch_size, 16):
            number = batch.hits.event_id[row : row + 1]
            hits, here = batch.hits.events([row]), batch.tracks.event == row
            made = [simulate_events(source, seed, number) for source in (TorchSource(noise=40), THREE, MANY)]
            which = [torch.equal(hits.coords, one.coords) for one in made]
            assert sum(which) == 1
            source = (TorchSource(noise=40), THREE, MANY)[which.index(True)]
            assert torch.equal(batch.tracks.x[here], torch_truth(source, seed, number).tracks.x)
        seen.append(batch.hits.event_id)
    assert sorted(torch.cat(seen).tolist()) == list(range(600, 1200))


def test_grouped_batches_pad_little_and_come_in_any_order():
    def padded(batches) -> float:
        slots = sum(int(batch.hits.counts.max()) * batch.hits.batch_size for batch in batches)
        return slots / sum(batch.hits.num_hits for batch in batches)

    grouped, mixed = (list(varied(group_by_size=on).batches("train", 32, epoch=2)) for on in (True, False))
    assert padded(grouped) < 1.15 < 2 < padded(mixed)
    largest = [int(batch.hits.counts.max()) for batch in grouped]
    assert largest != sorted(largest)


def test_tracks_of_a_whole_split_are_those_of_its_events():
    source = TorchSource(tracks=(1, 3), signal=5, noise=5)
    counts = EventCounts(train=10, validation=1500, test=10)  # more than a chunk
    data = EventData(DataSettings(source=source, events=counts), 3)
    batch = data.all_events("validation")
    true = torch_truth(source, split_seed(3, "validation"), torch.arange(1500)).tracks
    assert torch.equal(batch.tracks.event, true.event)
    assert torch.equal(batch.tracks.time, true.time)


def test_varieties_that_cannot_be():
    parts = [TrainingPart(share=0.6, source=THREE), TrainingPart(share=0.6, source=MANY)]
    with pytest.raises(ConfigError, match="more than 1"):
        EventData(DataSettings(variety=parts), 1)
    with pytest.raises(ConfigError, match="only TORCH"):
        EventData(DataSettings(source=PatternSource(mixture={"line": 1.0}), variety=parts[:1]), 1)

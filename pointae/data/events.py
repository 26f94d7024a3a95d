"""The events of a config, split by split, batch by batch.

Every event is a function of (seed, split, number): neither the batch size nor the order of access
changes it. Simulated events are made in chunks just before they are needed; a set from files is
held once as flat arrays and sliced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from pointae import draws
from pointae.config import DataSettings, DegradationSettings, FileSource, RobotSource, TorchSource
from pointae.data.robots import different_robots, split_robots
from pointae.data.simulated import SimulatedEvents, split_seed
from pointae.degrade import Views, degrade, settings_at, with_truth
from pointae.errors import ConfigError, DataError
from pointae.geometry import DetectorGeometry, differences_of
from pointae.hits import HitBatch
from pointae.io import check_features, read_hits
from pointae.io.options import ReadOptions
from pointae.robots import KINDS, turned_robots
from pointae.simulate.tracks import Tracks

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CHUNK = 1024
"""Events made or sliced at once; larger does not pay, smaller calls more often."""


@dataclass(frozen=True)
class Batch:
    """What a network is given and what it should say.

    Args:
        hits: the input, with ``signal`` truth.
        target: hits that a generating decoder should produce: the input's signal, or the full pattern.
        tracks: true tracks of simulated TORCH events, ``event`` being their row in the batch; else ``None``.
    """

    hits: HitBatch
    target: HitBatch
    tracks: Tracks | None = None


class EventSource(Protocol):
    """Where the clean events of a split come from."""

    @property
    def geometry(self) -> DetectorGeometry:
        """The detector's grid."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the hits' features."""

    def num_events(self, split: Split) -> int:
        """Events of one epoch of a split."""

    def events(self, split: Split, numbers: Tensor, epoch: int) -> HitBatch:
        """The events numbered ``numbers`` (E,) of a split; ``epoch`` matters to made or turned training events."""

    def tracks(self, split: Split, numbers: Tensor, epoch: int) -> Tracks | None:
        """Their true tracks, where they are known."""


@dataclass(frozen=True)
class StoredEvents:
    """Events held once as flat arrays, and split once.

    Args:
        hits: all of them.
        numbers: of the events of each split, (E,) int64.
        turn: whether training robots are turned, another way in each epoch (:func:`~pointae.robots.turned_robots`).
        seed: of the run.
    """

    hits: HitBatch
    numbers: dict[Split, Tensor]
    turn: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for split in ("train", "validation"):  # told now, not after an hour of training; a run may do without a test
            if not len(self.numbers[split]):
                raise _no_events(split, f" of {self.hits.batch_size}")

    @property
    def geometry(self) -> DetectorGeometry:
        return self.hits.geometry

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.hits.feature_names

    def num_events(self, split: Split) -> int:
        return len(self.numbers[split])

    def events(self, split: Split, numbers: Tensor, epoch: int) -> HitBatch:
        hits = self.hits.events(self.numbers[split][numbers])
        if not self.turn or split != "train":
            return hits
        return turned_robots(hits, draws.integers(draws.event_keys(self.seed, epoch, numbers, "turn"), 0, 0, 16))

    def tracks(self, split: Split, numbers: Tensor, epoch: int) -> None:
        return None


class EventData:
    """All events of a config.

    Args:
        settings: the data section.
        seed: the run's.
    """

    def __init__(self, settings: DataSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.source = _source_of(settings, seed)

    @property
    def geometry(self) -> DetectorGeometry:
        """The detector's grid."""
        return self.source.geometry

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the hits' features."""
        return self.source.feature_names

    @property
    def robots(self) -> bool:
        """Whether the events are robots: sets of voxels to make again, not hits to tell from noise."""
        return isinstance(self.settings.source, RobotSource)

    def category_counts(self) -> Tensor | None:
        """(1 + Q,) int64, empty cells and hits of each kind in the training robots; ``None`` for other events."""
        if not self.robots:
            return None
        robots = self.source.events("train", torch.arange(self.num_events("train")), epoch=1)
        assert robots.category is not None
        counts = torch.bincount(robots.category.long(), minlength=len(KINDS) + 1)
        counts[0] = robots.batch_size * robots.geometry.num_cells - robots.num_hits
        return counts

    def num_events(self, split: Split) -> int:
        """Events of one epoch of a split."""
        return self.source.num_events(split)

    def batches(self, split: Split, batch_size: int, epoch: int = 1) -> Iterator[Batch]:
        """One epoch: every event once, batches of ``batch_size`` and a rest.

        Training events come in an order drawn for (seed, epoch), if asked grouped by size; others in their own.
        """
        order = torch.arange(self.num_events(split))
        if split == "train":
            keys = draws.event_keys(self.seed, epoch, torch.zeros(1, dtype=torch.int64), "order")
            order = order[draws.shuffled_ranks(keys, torch.tensor([0, len(order)]))]
        per_chunk = max(1, CHUNK // batch_size) * batch_size
        for numbers in order.split(per_chunk):
            hits, target = self._prepare(split, numbers, epoch)
            tracks = self.source.tracks(split, numbers, epoch)
            for rows in self._groups(split, hits, batch_size):
                chosen = None if tracks is None else tracks.at_events(rows)
                yield Batch(hits.events(rows), target.events(rows), chosen)

    def _groups(self, split: Split, hits: HitBatch, batch_size: int) -> list[Tensor]:
        """Rows of each batch of a chunk; events of similar size together, the batches in any order."""
        rows = torch.arange(hits.batch_size)
        if split != "train" or not self.settings.group_by_size:
            return [group for group in rows.split(batch_size) if len(group)]
        # The chunk's events are in random order, so its first batch of them says which comes first.
        groups = list(torch.argsort(hits.counts, stable=True).split(batch_size))
        return sorted(groups, key=lambda group: int(group.min()))

    def all_events(self, split: Split) -> Batch:
        """A whole split as one batch, in the order of its batches.

        Raises:
            DataError: the split has no events.
        """
        chunks = list(self.batches(split, CHUNK))
        if not chunks:
            raise _no_events(split)
        hits, target = (HitBatch.concat([getattr(c, name) for c in chunks]) for name in ("hits", "target"))
        tracks, first = [], 0
        for chunk in chunks:
            if chunk.tracks is not None:
                tracks.append(chunk.tracks.of_events(chunk.tracks.event + first))
            first += chunk.hits.batch_size
        return Batch(hits, target, Tracks.concat(tracks) if tracks else None)

    def torch_origin(self, split: Split) -> tuple[TorchSource, int] | None:
        """Settings and seed of a split's events where they are TORCH events just as the simulator makes them.

        ``event_id`` is then their number; ``None`` for other events, for degraded ones (of training: in its
        first epoch), and for training events of several settings.
        """
        source = self.settings.source
        untouched = self._degradation(split, epoch=1) == DegradationSettings()
        untouched &= split != "train" or not self.settings.variety
        return (source, split_seed(self.seed, split)) if isinstance(source, TorchSource) and untouched else None

    def _degradation(self, split: Split, epoch: int) -> DegradationSettings:
        # Validation and test are degraded the same way in every epoch, as at the end of a curriculum.
        return settings_at(epoch if split == "train" else max([1, *self.settings.schedule]), self.settings)

    def views(self, split: Split, numbers: Tensor, epoch: int = 1) -> Views:
        """Events of a split on their way to the network; one and the same batch where nothing degrades them.

        Args:
            split: which.
            numbers: (E,) int64, of the events.
            epoch: of a training; matters to training events only.
        """
        clean = self.source.events(split, numbers, epoch)
        settings = self._degradation(split, epoch)
        if settings == DegradationSettings():
            none = torch.zeros_like(clean.counts)
            return Views(clean, clean, clean, clean, none, none)
        draw_epoch = epoch if split == "train" else 0
        return degrade(clean, settings, split_seed(self.seed, split), draw_epoch, numbers)

    def _prepare(self, split: Split, numbers: Tensor, epoch: int) -> tuple[HitBatch, HitBatch]:
        views = self.views(split, numbers, epoch)
        return views.noised, _target(views.full, views.noised, self.settings.target)


def _source_of(data: DataSettings, seed: int) -> EventSource:
    source = data.source
    if isinstance(source, FileSource):
        hits = _with_features(read_source_files(source), source.features or ())
        return StoredEvents(hits, _split_numbers(hits.batch_size, source, data, seed))
    if isinstance(source, RobotSource):
        robots = different_robots(source, seed)
        train, validation, test = split_robots(robots.batch_size, data.shares, source.subset, seed)
        return StoredEvents(robots, {"train": train, "validation": validation, "test": test}, source.turn, seed)
    return SimulatedEvents(source, data, seed)


def _target(full: HitBatch, hits: HitBatch, which: str) -> HitBatch:
    if which == "full":
        return full if full.signal is None else full.select(full.signal)
    if hits.signal is None:
        raise ConfigError(
            "the events carry no truth to train on",
            where="data",
            fix="set data.source.all_signal: true and add noise, or use files with a signal column",
        )
    return hits.select(hits.signal)


def read_source_files(source: FileSource, carry: bool = False) -> HitBatch:
    """All events of a source's files, one file after the other; all signal where the source says so.

    Args:
        source: with at least one file.
        carry: take the user's own columns along.

    Raises:
        ConfigError: a file lacks a feature that is asked for, or has another grid, other features or no truth where
            others have it.
    """
    options = {**vars(ReadOptions.of_source(source)), "carry": carry}
    parts: list[HitBatch] = []
    for path in source.paths:
        parts.append(read_hits(path, **options))
        check_features(path, parts[-1].feature_names, **options)
        _check_joins(path, parts[-1], source.paths[0], parts[0], source)
    hits = HitBatch.concat(parts)
    if hits.carried is not None and len(parts) > 1:  # the rows of several files have no order of their own
        hits = hits.replace(carried=replace(hits.carried, places=None))
    return with_truth(hits.replace(signal=None, track=None, origin=None)) if source.all_signal else hits


def _check_joins(path: str, hits: HitBatch, other_path: str, other: HitBatch, source: FileSource) -> None:
    """Raise where the hits of a file cannot follow those of another."""
    mine, theirs = (_shape(each) for each in (hits, other))
    if hits.geometry != other.geometry:
        unnamed = "grid" in (hits.geometry.name, other.geometry.name)
        guessed = mine != theirs and source.geometry is None and unnamed  # hits of one detector end at other bins
        found = [f"{what} {here}, not {there}" for what, here, there in differences_of(hits.geometry, other.geometry)]
        differ = "; ".join(found) or "names of detectors or axes differ"
        how = "no file states its grid: each was guessed from the hits" if guessed else differ
        raise ConfigError(
            f"has a grid of {mine}, {other_path} one of {theirs}: {how}",
            where=path,
            fix="state the detector: data.source.geometry, by name or as {spatial_shape: [X, Y, T]}",
        )
    if hits.feature_names != other.feature_names:
        listed = [", ".join(each.feature_names) or "no features" for each in (hits, other)]
        raise ConfigError(f"has {listed[0]}, {other_path} has {listed[1]}", where=path, fix="name data.source.features")
    if (hits.signal is None) != (other.signal is None) and not source.all_signal:
        lacks, has = (path, other_path) if hits.signal is None else (other_path, path)
        raise ConfigError(f"has no column signal, {has} has one", where=lacks, fix="label its hits, or leave it out")


def _shape(hits: HitBatch) -> str:
    return " x ".join(map(str, hits.geometry.spatial_shape))


def _with_features(hits: HitBatch, names: Sequence[str]) -> HitBatch:
    columns = [hits.feature_names.index(name) for name in names]
    return hits.replace(features=hits.features[:, columns], feature_names=tuple(names))


def _split_numbers(num_events: int, source: FileSource, data: DataSettings, seed: int) -> dict[Split, Tensor]:
    numbers = torch.arange(num_events)
    if source.split == "random":
        keys = draws.event_keys(seed, 0, torch.zeros(1, dtype=torch.int64), "split")
        numbers = torch.argsort(draws.shuffled_ranks(keys, torch.tensor([0, num_events])))
    first = round(num_events * data.shares.train)
    second = first + round(num_events * data.shares.validation)
    parts = (numbers[:first], numbers[first:second], numbers[second:])
    return {split: part.sort().values for split, part in zip(SPLITS, parts, strict=True)}


def _no_events(split: str, of: str = "") -> DataError:
    return DataError(
        f"no events{of} are left for {split}", where="data", fix="raise its share in data.shares, or use more events"
    )

"""Robots for training: generated or read, all different, none empty, split as scikit-learn splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pointae import draws
from pointae.config import RobotSource, SplitShares
from pointae.errors import ConfigError, DataError
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.io import read_attributes, read_hits, write_hits
from pointae.robots import cleaned
from pointae.simulate import simulate_events
from pointae.storage import checksum, digest

CHUNK = 4096
"""Robots generated at a time."""
CLEANED = "cleaned_robots_of"
"""Attribute of a cache: names and SHA-256 of the files that it was made of."""
DIGEST = "cleaned_robots_sha256"
"""Attribute of a cache: SHA-256 of its robots."""


def different_robots(source: RobotSource, seed: int) -> HitBatch:
    """The robots of a source without duplicates and empty ones; the first of equal ones is kept, the order stays.

    Args:
        source: files, which are read whole, or how many robots to generate.
        seed: of those generated.

    Raises:
        DataError: a file is not what it claims to be, or no robot is left.
        ConfigError: the cache is a file of something else.
    """
    if source.paths:
        return _cached(source) if source.cache else _read(source.paths)
    robots, first = _generated(source, seed, 0), CHUNK
    while robots.batch_size < source.robots:
        robots, first = cleaned(HitBatch.concat([robots, _generated(source, seed, first)])), first + CHUNK
    return robots.events(slice(0, source.robots))


def read_robots(paths: Sequence[str | Path]) -> HitBatch:
    """All robots of files, one file after the other, as they are.

    Raises:
        DataError: a file is not what it claims to be, or holds other events.
    """
    parts = []
    for path in paths:
        robots = read_hits(path, geometry=robot_geometry())
        if robots.category is None or robots.geometry != robot_geometry():
            raise DataError("holds no robots: voxels with a category on a grid of 11 x 11 x 11", where=path)
        parts.append(
            HitBatch(robots.geometry, robots.coords, robots.offsets, category=robots.category, event_id=_ids(robots))
        )
    return HitBatch.concat(parts)


def _generated(source: RobotSource, seed: int, first: int) -> HitBatch:
    return cleaned(simulate_events(source, seed, torch.arange(first, first + CHUNK)))


def _read(paths: Sequence[str]) -> HitBatch:
    everything = read_robots(paths)
    robots = cleaned(everything)
    if not robots.batch_size:
        raise DataError(
            f"no robot is left of {everything.batch_size:,} rows: all are empty",
            where=", ".join(paths),
            fix="a cell of a robot is 1 to 4",
        )
    return robots


def _cached(source: RobotSource) -> HitBatch:
    assert source.cache is not None
    cache = Path(source.cache)
    files = [f"{Path(path).name} {checksum(Path(path))}" if Path(path).is_file() else path for path in source.paths]
    if cache.is_file():
        about = read_attributes(cache)
        if CLEANED not in about:
            raise ConfigError(
                "is no cache of robots, and is left alone", where=cache, fix="name another data.source.cache"
            )
        if about[CLEANED] == files and DIGEST in about:  # caches without one are older, and made anew
            robots = read_hits(cache)
            if about[DIGEST] != _digest(robots):
                raise DataError("was changed after it was written", where=cache, fix="remove it: it is made anew")
            return robots
    robots = _read(source.paths)
    write_hits(cache, robots, {CLEANED: files, DIGEST: _digest(robots)})
    return robots


def _digest(robots: HitBatch) -> str | None:
    """SHA-256 of what robots are; ``None`` of other hits."""
    if robots.category is None or robots.geometry != robot_geometry():
        return None
    parts = (robots.coords, robots.offsets, robots.category)
    return digest(b"".join(part.long().numpy().tobytes() for part in parts))


def _ids(robots: HitBatch) -> tuple[str, ...]:
    ids = range(robots.batch_size) if robots.event_id is None else robots.event_id
    return tuple(map(str, ids.tolist() if isinstance(ids, Tensor) else ids))


def split_robots(robots: int, shares: SplitShares, subset: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of the robots of training, validation and test, at random.

    The sizes are those of two calls of scikit-learn's ``train_test_split``: ceil(test n) for the test, then
    ceil(validation / (1 - test) of the rest) for validation; 0.7, 0.1 and 0.2 of 27,017 give 18,911, 2,702 and 5,404.

    Args:
        robots: n.
        shares: of the splits.
        subset: share of the training robots that is used.
        seed: of the run.

    Returns:
        three int64 tensors, each ascending, without a number in common.
    """
    keys = draws.event_keys(seed, 0, torch.zeros(1, dtype=torch.int64), "split")
    numbers = torch.argsort(draws.shuffled_ranks(keys, torch.tensor([0, robots])))
    test = _ceil(shares.test * robots)
    validation = _ceil(shares.validation / (1 - shares.test) * (robots - test)) if shares.test < 1 else 0
    train = max(1, round(subset * (robots - test - validation)))
    parts = (numbers[test + validation :][:train], numbers[test : test + validation], numbers[:test])
    return tuple(part.sort().values for part in parts)  # type: ignore[return-value]


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))  # 0.1 / (1 - 0.2) of 800 is 100, not a little more

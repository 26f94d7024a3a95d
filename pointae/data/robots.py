"""Robots for training: generated, all different, none empty, split as scikit-learn splits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pointae import draws
from pointae.config import RobotSource, SplitShares
from pointae.hits import HitBatch
from pointae.robots import cleaned
from pointae.simulate import simulate_events

CHUNK = 4096
"""Robots generated at a time."""


def different_robots(source: RobotSource, seed: int) -> HitBatch:
    """The robots of a source without duplicates and empty ones; the first of equal ones is kept, the order stays.

    Args:
        source: how many robots, and of what make.
        seed: of the run.
    """
    robots = HitBatch.concat([simulate_events(source, seed, torch.zeros(0, dtype=torch.int64))])
    first = 0
    while robots.batch_size < source.robots:
        more = simulate_events(source, seed, torch.arange(first, first + CHUNK))
        robots, first = cleaned(HitBatch.concat([robots, more])), first + CHUNK
    return robots.events(slice(0, source.robots))


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

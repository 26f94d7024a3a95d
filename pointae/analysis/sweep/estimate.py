"""How long a sweep will take, before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from pointae.config import Config
from pointae.data.events import EventData, Split
from pointae.precision import choose_precision
from pointae.training.objective import make_loss
from pointae.training.session import build_model
from pointae.training.stepper import to_device

PROBE_EVENTS = 1024
PROBE_SECONDS = 5.0
"""Events of each split that are timed, at most for so long."""


def epoch_seconds(config: Config) -> float:
    """Seconds of one epoch, training and validation, from the first events of each.

    Args:
        config: of a trial.

    Raises:
        ConfigError, DataError: the config cannot be trained.
    """
    precision = choose_precision(config.train.device, config.train.precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    data = EventData(config.data, config.seed)
    model = build_model(config, data).to(precision.device, precision.dtype)
    loss = make_loss(config.train, validation=False)
    optimiser = torch.optim.AdamW(model.parameters(), config.train.learning_rate)

    def value(batch: Any) -> torch.Tensor:
        batch = to_device(batch, precision)
        with precision.autocast():
            prediction = model(batch.hits)
        return loss(prediction, batch)

    def step(batch: Any) -> None:
        optimiser.zero_grad(set_to_none=True)
        value(batch).backward()
        optimiser.step()

    model.train()
    seconds = _split_seconds(data, "train", config.train.batch_size, step)
    model.eval()
    with torch.no_grad():
        return seconds + _split_seconds(data, "validation", config.train.batch_size, value)


def _split_seconds(data: EventData, split: Split, batch_size: int, work: Callable[[Any], Any]) -> float:
    work(next(data.batches(split, batch_size)))  # what is slow the first time is not timed
    begin, done = time.perf_counter(), 0
    for batch in data.batches(split, batch_size):
        work(batch)
        done += batch.hits.batch_size
        if done >= PROBE_EVENTS or time.perf_counter() - begin > PROBE_SECONDS:
            break
    return (time.perf_counter() - begin) / done * data.num_events(split)


def clock(seconds: float) -> str:
    """``h:mm:ss``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

"""From events to their codes, and from codes to patterns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointae.errors import CheckpointError
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.recover import generated_pattern
from pointae.robots import KINDS, symmetric_robots

Codes = NDArray[np.float64]
NO_CATEGORY = "none"


@dataclass(frozen=True)
class Meaning:
    """What is known of an event without the network, to colour it by.

    Args:
        name: what it is.
        values: (E,) numbers or texts.
        labels: all values that there can be, in order; empty for numbers.
    """

    name: str
    values: NDArray
    labels: tuple[str, ...] = ()


def posterior_means(denoiser: Denoiser, hits: HitBatch) -> Codes:
    """Where the events lie: the posterior's mean, or the code itself of a plain latent; nothing is drawn.

    Args:
        denoiser: a run's network.
        hits: N hits of E events on its grid.

    Returns:
        (E, D).
    """
    means = [
        (prediction.latent.z if prediction.latent.mean is None else prediction.latent.mean).double().cpu()
        for _, prediction in denoiser.predictions(hits)
    ]
    size = denoiser.config.model.latent.size
    return (torch.cat(means) if means else torch.zeros(0, size)).numpy().astype(np.float64)


@torch.no_grad()
def decode(denoiser: Denoiser, codes: Codes) -> HitBatch:
    """The patterns of codes: hits of E events, in order.

    Args:
        denoiser: a run's network.
        codes: (E, D).

    Raises:
        CheckpointError: its decoder masks measured hits, and makes nothing of a code alone.
    """
    if not makes_patterns(denoiser):
        raise CheckpointError(
            "its decoder masks measured hits and makes none of a code",
            where=denoiser.source,
            fix="use a run whose model.decoder makes patterns",
        )
    parts = []
    for block in torch.from_numpy(np.atleast_2d(codes)).split(denoiser.config.evaluate.batch_size):
        z = block.to(denoiser.precision.device, denoiser.precision.dtype)
        nothing = HitBatch(
            denoiser.geometry,
            torch.zeros(0, 3, dtype=torch.int32),
            torch.zeros(len(z) + 1, dtype=torch.int64),
            torch.zeros(0, len(denoiser.feature_names)),
            denoiser.feature_names,
            signal=torch.zeros(0, dtype=torch.bool),
            category=torch.zeros(0, dtype=torch.int8),
        ).to(denoiser.precision.device)
        with denoiser.precision.autocast():
            output = denoiser.model.decoder(z, None, nothing)
        made = generated_pattern(output, denoiser.geometry)
        assert made is not None  # no mask, as was checked
        parts.append(made.to("cpu"))
    return HitBatch.concat(parts)


def makes_patterns(denoiser: Denoiser) -> bool:
    """Whether the decoder makes patterns of codes alone."""
    return denoiser.config.model.decoder.name != "per_hit"


def meanings(hits: HitBatch, robots: bool) -> list[Meaning]:
    """What colours can mean: the commonest category, the size, whether a robot is mirror-symmetric.

    Args:
        hits: N hits of E events.
        robots: whether they are robots.
    """
    found = []
    if hits.category is not None:
        names = KINDS if robots else tuple(f"category {kind}" for kind in range(1, int(hits.category.max()) + 1))
        found.append(Meaning("category", _commonest(hits, names), (*names, NO_CATEGORY)))
    found.append(Meaning("size", hits.counts.numpy()))
    if robots:
        texts = ("symmetric", "not symmetric")
        found.append(Meaning("symmetry", np.where(symmetric_robots(hits).numpy(), *texts), texts))
    return found


def _commonest(hits: HitBatch, names: tuple[str, ...]) -> NDArray:
    """(E,) name of the category that most hits of an event have, of equal ones the first; empty events have none."""
    assert hits.category is not None
    counts = torch.zeros(hits.batch_size, len(names) + 1, dtype=torch.int64)
    counts.index_put_((hits.batch, hits.category.long()), torch.ones_like(hits.batch), accumulate=True)
    kinds = counts[:, 1:].argmax(1)  # argmax takes the first of equal ones on the CPU
    return np.where(counts[:, 1:].sum(1) > 0, np.array(names)[kinds], NO_CATEGORY)


def event_names(hits: HitBatch) -> list[str]:
    """The user's own names of events, or their numbers."""
    if hits.event_id is None:
        return [str(number) for number in range(hits.batch_size)]
    ids = hits.event_id.tolist() if isinstance(hits.event_id, Tensor) else hits.event_id
    repeated = {name for name, count in Counter(ids).items() if count > 1}
    return [f"{name} ({place})" if name in repeated else str(name) for place, name in enumerate(ids)]

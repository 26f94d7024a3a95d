"""Places in a latent space: beside an event, between two, and drawn from the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pointae import draws
from pointae.analysis.latent.codes import Codes
from pointae.hits import HitBatch
from pointae.robots import first_of_each, robot_codes, valid_robots


@dataclass(frozen=True)
class Samples:
    """Patterns of drawn codes.

    Args:
        hits: E events.
        valid: (E,) bool, robots that can be (:func:`pointae.robots.valid_robots`).
        novel: (E,) bool, not among the known ones.
        first: (E,) bool, not equal to a sample before.
    """

    hits: HitBatch
    valid: NDArray[np.bool_]
    novel: NDArray[np.bool_]
    first: NDArray[np.bool_]

    def shares(self) -> dict[str, float]:
        """Of all samples those that are valid, and of the valid ones those that are novel, and different."""
        count = max(1, len(self.valid))
        valid = max(1, int(self.valid.sum()))
        return {
            "samples": len(self.valid),
            "valid": float(self.valid.sum() / count),
            "novel_of_valid": float((self.novel & self.valid).sum() / valid),
            "different_of_valid": float((self.first & self.valid).sum() / valid),
        }


def nearest(codes: Codes, place: NDArray[np.float64], number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The events nearest to a place, nearest first, of equal ones the earlier, and their Euclidean distances.

    Args:
        codes: (E, D).
        place: (D,).
        number: how many, fewer if there are fewer.
    """
    distance = np.linalg.norm(codes - place, axis=1)
    order = np.argsort(distance, kind="stable")[:number]
    return order, distance[order]


def between(first: NDArray[np.float64], last: NDArray[np.float64], steps: int) -> Codes:
    """``steps`` codes evenly from one to the other; the ends are the two, to the bit.

    Args:
        first, last: (D,).
        steps: at least 2.
    """
    share = np.linspace(0.0, 1.0, steps)[:, None]
    return first * (1 - share) + last * share


def prior_codes(number: int, size: int, seed: int) -> Codes:
    """(E, D) codes of the prior, standard normal, a function of (seed, sample)."""
    keys = draws.event_keys(seed, 0, torch.arange(number), "prior")
    return draws.normal(keys[:, None], torch.arange(size)).double().numpy()


def judged_samples(samples: HitBatch, known: HitBatch) -> Samples:
    """Which samples are robots that can be, and which were not known before.

    Args:
        samples: E robots.
        known: those trained on.
    """
    familiar = {_key(row) for row in robot_codes(known).tolist()}
    own = [_key(row) for row in robot_codes(samples).tolist()]
    novel = np.array([key not in familiar for key in own], bool)
    return Samples(samples, valid_robots(samples).numpy(), novel, first_of_each(samples).numpy())


def _key(codes: list[int]) -> tuple[int, ...]:
    return tuple(code for code in codes if code >= 0)

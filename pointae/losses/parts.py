"""What a loss is made of: named parts, each raw and scaled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Part:
    """A part of a loss.

    Args:
        raw: 0-d, before its weight.
        weight: what it counts in the loss.
    """

    raw: Tensor
    weight: float = 1.0

    @property
    def scaled(self) -> Tensor:
        """0-d, as it enters the loss."""
        return self.weight * self.raw


Parts = dict[str, Part]


def total(parts: Parts) -> Tensor:
    """The loss that parts make, 0-d: the sum of what they are when scaled."""
    return sum(part.scaled for part in parts.values())  # type: ignore[return-value]


def summed(parts: Callable[..., Parts]) -> Callable[..., Tensor]:
    """A loss from a function that gives its parts; the function stays, as ``parts``."""

    @functools.wraps(parts)
    def loss(*args: object, **options: object) -> Tensor:
        return total(parts(*args, **options))

    loss.parts = parts  # type: ignore[attr-defined]
    return loss

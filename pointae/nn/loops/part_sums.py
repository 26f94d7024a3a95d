"""Gradients of weights where parts of the work have sums of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor


class PartSums:
    """A sum of each part for each weight, added in the parts' order: so results repeat with the same number of parts.

    Args:
        weights: float32 or float64, all of one.
        parts: number of parts.
    """

    def __init__(self, weights: Sequence[Tensor], parts: int) -> None:
        self.shapes = [weight.shape for weight in weights]
        self.sizes = [weight.numel() for weight in weights]
        self.sums = weights[0].new_zeros(parts, sum(self.sizes))

    def of(self, part: int) -> tuple[Any, ...]:
        """Arrays of the weights' shapes, zeros at first, in which a part of the work adds up."""
        own = self.sums[part].numpy()
        edges = pairwise([0, *accumulate(self.sizes)])
        return tuple(own[first:last].reshape(shape) for (first, last), shape in zip(edges, self.shapes, strict=True))

    def gradients(self) -> tuple[Tensor, ...]:
        """The sum of all parts for each weight."""
        total = torch.sum(self.sums, 0) if len(self.sums) > 1 else self.sums[0]
        pieces = zip(total.split(self.sizes), self.shapes, strict=True)
        return tuple(piece.view(shape) if len(shape) != 1 else piece for piece, shape in pieces)

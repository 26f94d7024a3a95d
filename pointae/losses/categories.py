"""The kinds of hits in a loss, rare ones weighing more."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pointae.errors import DataError
from pointae.losses.elementwise import Weight

CategoryWeights = tuple[Weight, ...] | Literal["log"] | None
"""Of the kinds 1..Q; ``"log"``: :func:`log_class_weights` of the training events; ``None``: all 1."""


def log_class_weights(counts: Tensor) -> Tensor:
    """Weights that grow with the logarithm of rarity: ``log(1 + N / max(n_c, 1))``, N the sum of n_c, scaled to mean 1.

    Args:
        counts: (Q,) how often each class occurs in the whole data set.

    Returns:
        (Q,) float64.
    """
    counts = counts.double()
    weights = torch.log1p(counts.sum() / counts.clamp(min=1))
    return weights / weights.mean() if counts.sum() > 0 else torch.ones_like(weights)


def category_error(logits: Tensor, category: Tensor, weights: CategoryWeights) -> Tensor:
    """Weighted cross-entropy of each hit's kind.

    Args:
        logits: (T, Q).
        category: (T,) integer, 1..Q.
        weights: Q of them, or ``None``.

    Returns:
        (T,).

    Raises:
        DataError: a category outside 1..Q, or weights that are not Q.
    """
    kinds, kind = logits.shape[1], category.long() - 1
    if bool(((kind < 0) | (kind >= kinds)).any()):
        raise DataError(f"categories of the target must be in 1..{kinds}, as the points have {kinds}")
    assert weights != "log", "build_loss puts numbers in its place"
    if weights is not None and len(weights) != kinds:
        raise DataError(f"category_weights are {len(weights)}, the points have {kinds} categories")
    table = None if weights is None else logits.new_tensor(weights)
    return functional.cross_entropy(logits, kind, table, reduction="none")

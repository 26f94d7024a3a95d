"""Measured features in numbers of the order of 1, whatever their unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureScale(nn.Module):
    """Each feature less its mean, divided by its standard deviation, both of training hits.

    A norm of one hit's features would compare an energy with a chip's number and lose both; one of a
    batch would make a hit's score depend on the others. Until :func:`measure_features` nothing is scaled.

    Args:
        features: C > 0, columns.

    Shapes:
        (N, C) -> (N, C), no unit.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.mean: Tensor
        self.spread: Tensor

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.spread


def feature_scale(features: int) -> nn.Module:
    """The scale of C features; of none there is nothing to keep."""
    return FeatureScale(features) if features else nn.Identity()


def measure_features(model: nn.Module, features: Tensor) -> None:
    """Tell every :class:`FeatureScale` of a model what features are like.

    Args:
        model: not trained yet.
        features: (N, C) of training hits, in their own units; a column that does not vary is only centred.
    """
    if not len(features):
        return
    values = features.double()
    spread = values.std(0, unbiased=False)
    for module in model.modules():
        if isinstance(module, FeatureScale):
            module.mean.copy_(values.mean(0))
            module.spread.copy_(torch.where(spread > 0, spread, 1.0))

"""Batch normalisation that can do with a batch of one event, or of none."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _RunningWhereAlone(nn.modules.batchnorm._BatchNorm):
    """Normalises by its running statistics, and leaves them, where a batch has one value a channel, or none.

    One value has no variance. It happens to a layer of vectors with a training's last batch, if that has one event:
    which events come together is drawn for the epoch, so none of them is left out for it.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() <= input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        result: Tensor = super().forward(input)
        return result


class BatchNorm1d(_RunningWhereAlone, nn.BatchNorm1d):
    """Of vectors (B, C)."""


class BatchNorm2d(_RunningWhereAlone, nn.BatchNorm2d):
    """Of images (B, C, Y, X)."""


class BatchNorm3d(_RunningWhereAlone, nn.BatchNorm3d):
    """Of volumes (B, C, X, Y, Z)."""

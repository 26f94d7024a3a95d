"""What keeps the code of a variational latent near a standard normal, and how much of it is used."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from pointae.losses.cells import widen


def kl_per_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, exp(log_var)) from N(0, 1), of each dimension, mean over events.

    ``-1/2 (1 + log_var - mean^2 - exp(log_var))``, as in Kingma and Welling, `Auto-Encoding
    Variational Bayes <https://arxiv.org/abs/1312.6114>`_.

    Args:
        mean, log_var: (B, D) of the posterior.

    Returns:
        (D,), at least float32, in nats; 0 for a batch without events.
    """
    mean, log_var = widen(mean), widen(log_var)
    divergence = -0.5 * (1 + log_var - mean.square() - log_var.exp())  # (B, D)
    return divergence.sum(0) / max(len(mean), 1)


def kl_divergence(mean: Tensor, log_var: Tensor, free_bits: float = 0.0) -> Tensor:
    """Kullback-Leibler divergence of the posterior from N(0, 1): the sum over dimensions, mean over events.

    With ``free_bits`` a dimension costs nothing below so many nats, as in Kingma et al. 2016,
    `arXiv:1606.04934 <https://arxiv.org/abs/1606.04934>`_: without a reason to empty it, it does not collapse.

    Args:
        mean, log_var: (B, D) of the posterior.
        free_bits: nats of each dimension, averaged over the batch, that are free; the excess counts.

    Returns:
        0-d, at least float32, in nats; 0 for a batch without events.
    """
    return (kl_per_dimension(mean, log_var) - free_bits).clamp(min=0).sum()


def active_units(mean: Tensor, least: float = 0.01) -> Tensor:
    """() int64, dimensions whose posterior mean varies over events: variance above ``least``.

    As in Burda et al. 2016, `Importance Weighted Autoencoders <https://arxiv.org/abs/1509.00519>`_.

    Args:
        mean: (B, D) of the posterior; 0 dimensions are active for fewer than two events.
        least: variance.
    """
    return (mean.var(0, correction=0) > least).sum() if len(mean) > 1 else mean.new_zeros((), dtype=torch.int64)


def kl_weight_at(epoch: int, weight: float, schedule: Literal["constant", "warm_up", "cyclical"], period: int) -> float:
    """Beta of an epoch.

    ``warm_up``: rises in a straight line to ``weight`` over ``period`` epochs (Bowman et al. 2016, arXiv:1511.06349).
    ``cyclical``: in each ``period`` epochs it rises so over the first half, then stays (Fu et al. 2019,
    arXiv:1903.10145).

    Args:
        epoch: counted from 1.
        weight: beta in the end.
        schedule: how it gets there.
        period: epochs.
    """
    if schedule == "constant":
        return weight
    if schedule == "warm_up":
        return weight * min(1.0, epoch / period)
    rise = math.ceil(period / 2)
    return weight * min(1.0, ((epoch - 1) % period + 1) / rise)
